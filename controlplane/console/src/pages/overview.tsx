/** The whole pipeline at a glance: what trades, what flows, what is wrong. */

import type { JSX } from "preact";
import { Chart } from "../charts/line";
import { compact, dateTime, duration } from "../core/format";
import { ageMs, isStale } from "../core/stale";
import { now, past, rates, status, trading } from "../core/state";
import { asking, ModeWord, MODES } from "../ui/trading-mode";
import { Empty, Note, PageHead, Panel, State } from "../ui/parts";
import { stages, troubles, type Stage } from "./pipeline";
import { Picture } from "./picture";

export function Overview(): JSX.Element {
  const seen = status.value;
  if (seen === undefined) {
    return (
      <>
        <PageHead title="Overview" />
        <Panel title="Pipeline" aged at={undefined}>
          <Empty>Waiting for the first status …</Empty>
        </Panel>
      </>
    );
  }
  const said = seen.value.dataplane?.ageMs ?? 0;
  const list = stages(seen.value, rates);
  const wrong = troubles(list);
  const old = isStale(ageMs(seen.at, now.value));
  return (
    <div class="stack">
      <h1 class="hidden-text">Overview</h1>
      <section class="troubles" aria-label="What is wrong" aria-live="polite">
        {old ? (
          <Note tone="warn">What is shown is old. What is wrong now is not known.</Note>
        ) : wrong.length === 0 ? (
          <Note tone="good">Nothing is wrong that the control plane knows of.</Note>
        ) : (
          wrong.slice(0, TROUBLES_MAX).map((stage) => (
            <Note key={stage.why} tone={stage.tone}>
              <strong>{stage.title}:</strong> {stage.why}. <a href={stage.href}>Look</a>
            </Note>
          ))
        )}
      </section>
      <Panel title="Pipeline" aged at={seen.at} said={said} class="pipeline" flush>
        <Picture stages={list} />
        <StageList stages={list} />
      </Panel>
      <div class="overview-low">
        <TradingPanel />
        <Panel title="Rates" aged at={seen.at}>
          <Chart
            label="Ticks, records and rows a second over the last minutes"
            height={190}
            lines={[
              { name: "ticks/s", colour: "--accent" },
              { name: "records/s", colour: "--side-b", dash: [8, 4] },
              { name: "rows/s", colour: "--good", dash: [2, 3] },
            ]}
            data={pick(past.rates.columns(), [1, 2, 5])}
            format={(value) => compact(value)}
            fromZero
          />
        </Panel>
        <Panel title="Behind the market" aged at={seen.at}>
          <Chart
            label="Lag of features, strategies and archiver in milliseconds over the last minutes"
            height={190}
            lines={[
              { name: "features", colour: "--accent" },
              { name: "strategies", colour: "--side-b", dash: [8, 4] },
              { name: "archiver", colour: "--good", dash: [2, 3] },
            ]}
            data={past.lags.columns()}
            format={(value) => duration(Math.round(value))}
            fromZero
          />
        </Panel>
      </div>
    </div>
  );
}

/** Troubles that are said at the same time; the picture shows them all. */
const TROUBLES_MAX = 4;

type Columns = [number[], ...(number | null)[][]];

function pick(columns: Columns, which: number[]): Columns {
  return [columns[0], ...which.map((index) => (columns[index] ?? []) as (number | null)[])];
}

function TradingPanel(): JSX.Element {
  const state = trading.value?.value;
  const mode = state?.mode ?? "unknown";
  return (
    <Panel title="Trading" aged at={trading.value === undefined ? undefined : status.value?.at} class={`trading-panel ${MODES[mode].tone}`}>
      <ModeWord big />
      <p>{MODES[mode].means}</p>
      {state !== undefined && (
        <p class="muted small">
          {state.by === "" ? "" : `By ${state.by}`}
          {state.sinceNs === undefined || state.sinceNs === 0 ? "" : ` since ${dateTime(state.sinceNs)}`}
          {state.reason === "" ? "" : `: ${state.reason}`}
        </p>
      )}
      <div class="row">
        <button type="button" class="danger" onClick={() => (asking.value = "halt")} disabled={mode === "halted"}>
          Halt
        </button>
        <button type="button" onClick={() => (asking.value = "reduce")} disabled={mode === "reducing"}>
          Reduce only
        </button>
        <button type="button" onClick={() => (asking.value = "resume")} disabled={mode === "active"}>
          Resume
        </button>
      </div>
    </Panel>
  );
}

/** The picture as a list, for narrow screens and for whoever does not see it. */
function StageList({ stages: list }: { stages: Stage[] }): JSX.Element {
  return (
    <ol class="stage-list">
      {list.map((stage) => (
        <li key={stage.id}>
          <a href={stage.href} class={`stage ${stage.tone}`}>
            <span class="stage-name">{stage.title}</span>
            <State tone={stage.tone}>{stage.word}</State>
            <span class="stage-main">
              {stage.main === "" ? "" : stage.main} <small>{stage.mainUnit}</small>
            </span>
            <span class="stage-facts">{stage.facts.map(([name, said]) => `${name} ${said}`).join(" · ")}</span>
          </a>
        </li>
      ))}
    </ol>
  );
}

