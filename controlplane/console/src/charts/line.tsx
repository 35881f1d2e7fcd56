/** Values over time, drawn by uPlot on a canvas. The numbers are beside it as text, for whoever cannot see a canvas. */

import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { clockTime, compact } from "../core/format";
import { colour, painted } from "../core/theme";

export interface Line {
  name: string;
  /** Name of a colour of the design. */
  colour: string;
  dash?: number[];
}

interface ChartProps {
  label: string;
  lines: Line[];
  data: [number[], ...(number | null)[][]];
  height?: number;
  /** How a value is written; digits as the axis needs them when left out. */
  format?: (value: number) => string;
  /** The axis begins at 0. */
  fromZero?: boolean;
}

const AXIS_FONT = "12px system-ui, sans-serif";

export function Chart({ label, lines, data, height = 180, format, fromZero = false }: ChartProps): JSX.Element {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | undefined>(undefined);
  const latest = useRef(data);
  latest.current = data;
  const names = lines.map((line) => line.name).join("|");
  const paint = painted.value;
  useEffect(() => {
    const element = box.current;
    if (element === null) return;
    const grid = colour("--line");
    const ink = colour("--muted");
    const axis: uPlot.Axis = { stroke: ink, font: AXIS_FONT, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1, size: 4 } };
    const made = new uPlot(
      {
        width: Math.max(200, element.clientWidth),
        height,
        legend: { show: false },
        cursor: { y: false, points: { size: 7 } },
        padding: [10, 10, 0, 0],
        scales: {
          x: { time: true },
          y: { range: (_, low, high) => range(low, high, fromZero) },
        },
        axes: [
          { ...axis, space: 90, size: 30, values: (_, seconds) => seconds.map((second) => clockTime(second * 1e9, false)) },
          { ...axis, size: 66, values: (_, values, _axis, _space, step) => values.map(format ?? ((value) => plain(value, step))) },
        ],
        series: [
          {},
          ...lines.map((line) => ({
            label: line.name,
            stroke: colour(line.colour),
            width: 2,
            ...(line.dash === undefined ? {} : { dash: line.dash }),
            points: { show: false },
            spanGaps: false,
          })),
        ],
      },
      latest.current,
      element,
    );
    plot.current = made;
    const watch = new ResizeObserver(() => made.setSize({ width: Math.max(200, element.clientWidth), height }));
    watch.observe(element);
    return () => {
      watch.disconnect();
      made.destroy();
      plot.current = undefined;
    };
  }, [names, height, fromZero, paint]);
  useEffect(() => {
    plot.current?.setData(data);
  }, [data]);
  return (
    <figure class="chart">
      <div ref={box} class="chart-box" style={{ height: `${height}px` }} role="img" aria-label={label} />
      <figcaption>
        {lines.map((line, index) => {
          const last = data[index + 1]?.at(-1);
          return (
            <span key={line.name}>
              <svg width="22" height="8" aria-hidden="true">
                <line x1="0" y1="4" x2="22" y2="4" class={`ink ${line.colour.slice(2)}`} stroke-width="3" stroke-dasharray={line.dash?.join(" ")} />
              </svg>
              {line.name} <strong>{last === undefined || last === null ? "–" : (format ?? significant)(last)}</strong>
            </span>
          );
        })}
      </figcaption>
    </figure>
  );
}

function plain(value: number, step: number): string {
  if (step >= 1_000) return compact(value);
  return value.toFixed(Math.min(9, Math.max(0, Math.ceil(-Math.log10(step) - 1e-9))));
}

/** Six digits that matter. */
export function significant(value: number): string {
  return Math.abs(value) >= 1e6 ? compact(value) : String(Number(value.toPrecision(6)));
}

function range(low: number | null, high: number | null, fromZero: boolean): [number, number] {
  if (low === null || high === null || !Number.isFinite(low) || !Number.isFinite(high)) return [0, 1];
  const bottom = fromZero ? Math.min(0, low) : low;
  const room = (high - bottom) * 0.08 || Math.abs(high) * 0.1 || 1;
  return [fromZero && bottom === 0 ? 0 : bottom - room, high + room];
}
