/** The pipeline as a picture: wire to Redis above, Redis to venue and database below. Lines move where data flows. */

import type { JSX } from "preact";
import type { Stage } from "./pipeline";
import type { Tone } from "../ui/parts";

const W = 1200;
const H = 458;
const BOX = { w: 172, h: 126 };
const GAP = (W - BOX.w * 6) / 5;
const column = (index: number): number => index * (BOX.w + GAP);
const TOP = 8;
const BUS_Y = 186;
const BUS_H = 58;
const LOW = 302;

interface Placed {
  x: number;
  y: number;
  h: number;
}

const PLACES: Record<string, Placed> = {
  "line-a": { x: column(0), y: TOP - 8, h: 72 },
  "line-b": { x: column(0), y: TOP + 70, h: 72 },
  nic: { x: column(1), y: TOP, h: BOX.h },
  worker: { x: column(2), y: TOP, h: BOX.h },
  publisher: { x: column(3), y: TOP, h: BOX.h },
  latency: { x: column(4), y: TOP, h: BOX.h },
  control: { x: column(5), y: TOP, h: BOX.h },
  features: { x: column(0), y: LOW, h: BOX.h },
  strategy: { x: column(1), y: LOW, h: BOX.h },
  gateway: { x: column(2), y: LOW, h: BOX.h },
  venue: { x: column(3), y: LOW, h: BOX.h },
  archiver: { x: column(4), y: LOW, h: BOX.h },
  database: { x: column(5), y: LOW, h: BOX.h },
};

const middle = (id: string): number => (PLACES[id]?.x ?? 0) + BOX.w / 2;
const right = (id: string): number => (PLACES[id]?.x ?? 0) + BOX.w;
const left = (id: string): number => PLACES[id]?.x ?? 0;
const MID_TOP = TOP + BOX.h / 2;
const MID_LOW = LOW + BOX.h / 2;

function curve(x: number, y: number, toX: number, toY: number): string {
  const half = (x + toX) / 2;
  return `M${x} ${y}C${half} ${y} ${half} ${toY} ${toX} ${toY}`;
}

/** Way of each edge, the stage whose rate moves it, and its colour. */
const EDGES: { d: string; of: string; class: string }[] = [
  { d: curve(right("line-a"), TOP + 28, left("nic") - 7, MID_TOP - 12), of: "line-a", class: "edge a" },
  { d: curve(right("line-b"), TOP + 106, left("nic") - 7, MID_TOP + 12), of: "line-b", class: "edge b" },
  { d: `M${right("nic")} ${MID_TOP}h${GAP - 6}`, of: "nic", class: "edge" },
  { d: `M${right("worker")} ${MID_TOP}h${GAP - 6}`, of: "worker", class: "edge" },
  { d: `M${middle("publisher")} ${TOP + BOX.h}V${BUS_Y - 6}`, of: "publisher", class: "edge" },
  { d: `M${middle("features") - 26} ${BUS_Y + BUS_H}V${LOW - 6}`, of: "features", class: "edge" },
  { d: `M${middle("features") + 26} ${LOW}V${BUS_Y + BUS_H + 6}`, of: "features", class: "edge" },
  { d: `M${middle("strategy") - 26} ${BUS_Y + BUS_H}V${LOW - 6}`, of: "strategy", class: "edge" },
  { d: `M${middle("strategy") + 26} ${LOW}V${BUS_Y + BUS_H + 6}`, of: "strategy", class: "edge" },
  { d: `M${middle("gateway") - 26} ${BUS_Y + BUS_H}V${LOW - 6}`, of: "gateway", class: "edge" },
  { d: `M${middle("gateway") + 26} ${LOW}V${BUS_Y + BUS_H + 6}`, of: "gateway", class: "edge" },
  { d: `M${right("gateway")} ${MID_LOW - 14}h${GAP - 6}`, of: "gateway", class: "edge" },
  { d: `M${left("venue")} ${MID_LOW + 14}h-${GAP - 6}`, of: "gateway", class: "edge" },
  { d: `M${middle("archiver")} ${BUS_Y + BUS_H}V${LOW - 6}`, of: "archiver", class: "edge" },
  { d: `M${right("archiver")} ${MID_LOW}h${GAP - 6}`, of: "archiver", class: "edge" },
];

const SHAPES: Record<Tone, (x: number, y: number) => JSX.Element> = {
  good: (x, y) => <circle cx={x + 6} cy={y} r="6" fill="currentColor" />,
  warn: (x, y) => <path d={`M${x + 6} ${y - 7}l7 13h-14z`} fill="currentColor" />,
  bad: (x, y) => <rect x={x} y={y - 6} width="12" height="12" fill="currentColor" />,
  calm: (x, y) => <circle cx={x + 6} cy={y} r="5" fill="none" stroke="currentColor" stroke-width="2" stroke-dasharray="3 2" />,
};

export function Picture({ stages }: { stages: Stage[] }): JSX.Element {
  const byId = new Map(stages.map((stage) => [stage.id, stage]));
  const redis = byId.get("redis");
  return (
    <svg class="picture" viewBox={`-3 -6 ${W + 6} ${H - 20}`} role="group" aria-label="Pipeline: from the lines to the venue">
      <defs>
        {["plain", "a", "b"].map((name) => (
          <marker key={name} id={`tip-${name}`} viewBox="0 0 8 8" refX="3" refY="4" markerWidth="4.5" markerHeight="4.5" orient="auto">
            <path class={`tip ${name}`} d="M0 0l8 4l-8 4z" />
          </marker>
        ))}
      </defs>
      {EDGES.map((edge) => {
        const flows = moves(byId.get(edge.of));
        const tip = edge.class === "edge a" ? "a" : edge.class === "edge b" ? "b" : "plain";
        return (
          <g key={edge.d} class={`${edge.class} ${flows ? "flows" : ""}`}>
            <path class="way" d={edge.d} marker-end={`url(#tip-${tip})`} />
            {flows && <path class="drops" d={edge.d} />}
          </g>
        );
      })}
      {redis !== undefined && (
        <a href={redis.href} class={`node bus ${redis.tone}`}>
          <rect x="0" y={BUS_Y} width={W} height={BUS_H} rx="12" />
          <text class="node-title" x="20" y={BUS_Y + 36}>
            Redis
          </text>
          <g class="node-state">
            {SHAPES[redis.tone](96, BUS_Y + 30)}
            <text x="116" y={BUS_Y + 36}>
              {redis.word}
            </text>
          </g>
          <text class="node-fact" x={W - 20} y={BUS_Y + 35} text-anchor="end">
            ticks · features · orders · reports
          </text>
        </a>
      )}
      {stages.filter((stage) => PLACES[stage.id] !== undefined).map((stage) => (
        <Node key={stage.id} stage={stage} />
      ))}
    </svg>
  );
}

function moves(stage: Stage | undefined): boolean {
  return stage !== undefined && stage.main !== "" && stage.main !== "0" && stage.main !== "–";
}

function Node({ stage }: { stage: Stage }): JSX.Element {
  const { x, y, h } = PLACES[stage.id] ?? { x: 0, y: 0, h: 0 };
  const small = h < 100;
  const facts = stage.facts.map(([name, said]) => `${name} ${said}`);
  const side = stage.id === "line-a" ? "a" : stage.id === "line-b" ? "b" : "";
  return (
    <a href={stage.href} class={`node ${stage.tone} ${side}`}>
      <rect x={x} y={y} width={BOX.w} height={h} rx="12" />
      {side !== "" && <rect class={`stripe ${side}`} x={x} y={y + 10} width="5" height={h - 20} rx="2.5" />}
      <text class={`node-title ${side}`} x={x + 14} y={y + 25}>
        {small ? side.toUpperCase() : stage.title}
      </text>
      {small ? (
        <>
          <g class="node-state">
            {SHAPES[stage.tone](x + 36, y + 19)}
            <text x={x + 54} y={y + 24.5}>
              {stage.word}
            </text>
          </g>
          <text class="node-main small" x={x + 14} y={y + 57}>
            {stage.main}
          </text>
          <text class="node-fact" x={x + BOX.w - 10} y={y + 56} text-anchor="end">
            {facts[0]}
          </text>
        </>
      ) : (
        <>
          <g class="node-state">
            {SHAPES[stage.tone](x + 14, y + 42)}
            <text x={x + 33} y={y + 47.5}>
              {stage.word}
            </text>
          </g>
          {stage.main !== "" && (
            <text class="node-main" x={x + 14} y={y + 83}>
              {stage.main}
              <tspan class="node-unit" dx="5">
                {stage.mainUnit}
              </tspan>
            </text>
          )}
          {facts.map((fact, index) => (
            <text key={fact} class="node-fact" x={x + 14} y={y + (stage.main === "" ? 72 : 102) + index * 16}>
              {fact.length > 26 ? `${fact.slice(0, 25)}…` : fact}
            </text>
          ))}
        </>
      )}
    </a>
  );
}
