/** By how much a line led, as a histogram over powers of two of nanoseconds: line A up, line B down. */

import type { JSX } from "preact";
import type { Lead } from "../core/model";
import { compact, nanoseconds, percent } from "../core/format";

const WIDTH = 560;
const HALF = 62;
const LEFT = 8;
const FIRST = 6; // 64 ns
const LAST = 26; // 67 ms

/** Counts by power of two, from 64 ns to 67 ms; what is outside goes into the first or last. */
export function byPower(lead: Lead): number[] {
  const bins = Array.from({ length: LAST - FIRST + 1 }, () => 0);
  for (const [upper, count] of lead.buckets) {
    const power = Math.min(LAST, Math.max(FIRST, Math.ceil(Math.log2(Math.max(1, upper)))));
    bins[power - FIRST] = (bins[power - FIRST] ?? 0) + count;
  }
  return bins;
}

export function LeadHistogram({ a, b, channel }: { a: Lead; b: Lead; channel: string }): JSX.Element {
  const sides = [byPower(a), byPower(b)] as const;
  const total = Math.max(1, a.count + b.count);
  const most = Math.max(1, ...sides[0], ...sides[1]);
  const step = (WIDTH - LEFT * 2) / sides[0].length;
  const x = (ns: number): number => LEFT + (Math.min(LAST + 1, Math.max(FIRST, Math.log2(Math.max(1, ns)))) - FIRST) * step;
  const bars = sides[0].some((count) => count > 0) || sides[1].some((count) => count > 0);
  const label = `${channel}: A led ${compact(a.count)} times, half of them by ${nanoseconds(a.p50)} or more; B led ${compact(b.count)} times, half by ${nanoseconds(b.p50)} or more`;
  const axis = HALF + 12;
  return (
    <figure class="lead">
      <svg viewBox={`0 0 ${WIDTH} ${HALF * 2 + 44}`} role="img" aria-label={label}>
        {[1e2, 1e3, 1e4, 1e5, 1e6, 1e7].map((ns) => (
          <g key={ns} class="lead-tick">
            <line x1={x(ns)} y1="6" x2={x(ns)} y2={HALF * 2 + 18} />
            <text x={x(ns)} y={HALF * 2 + 36} text-anchor="middle">
              {nanoseconds(ns).replace(/\.\d+/, "")}
            </text>
          </g>
        ))}
        <line class="lead-axis" x1={LEFT} x2={WIDTH - LEFT} y1={axis} y2={axis} />
        {bars
          ? sides.map((bins, side) =>
              bins.map((count, index) => {
                const height = count === 0 ? 0 : Math.max(1.5, (count / most) * (HALF - 4));
                return (
                  <rect
                    key={`${side} ${index}`}
                    class={side === 0 ? "bar-a" : "bar-b"}
                    x={LEFT + index * step + 1.5}
                    width={step - 3}
                    y={side === 0 ? axis - height - 1 : axis + 1}
                    height={height}
                  />
                );
              }),
            )
          : [a, b].map((lead, side) => (
              <g key={side} class={side === 0 ? "bar-a" : "bar-b"}>
                {lead.count > 0 && (
                  <>
                    <rect x={x(lead.p50)} width={Math.max(2, x(lead.p99) - x(lead.p50))} y={side === 0 ? axis - 34 : axis + 14} height="20" opacity="0.55" />
                    <rect x={x(lead.p50) - 2} width="4" y={side === 0 ? axis - 44 : axis + 4} height="40" />
                    <rect x={x(lead.max) - 1} width="2" y={side === 0 ? axis - 34 : axis + 14} height="20" />
                  </>
                )}
              </g>
            ))}
        <text class="lead-name a" x={LEFT} y="18">
          A led {percent(a.count / total)}
        </text>
        <text class="lead-name b" x={LEFT} y={HALF * 2 + 18}>
          B led {percent(b.count / total)}
        </text>
      </svg>
    </figure>
  );
}
