/**
 * Stopping trading, and what comes after. A halt is one key and one confirmation away on every page. Lifting one takes a typed
 * word, and the state that the person saw: a halt set meanwhile is not lifted.
 */

import type { JSX } from "preact";
import { useRef, useState } from "preact/hooks";
import { signal } from "@preact/signals";
import { ApiProblem, newKey, type Answer } from "../core/api";
import { dateTime } from "../core/format";
import { may, readTrading, type Mode, type Trading } from "../core/model";
import { ageMs, isStale } from "../core/stale";
import { ask, now, trading, who } from "../core/state";
import { useLoad } from "./load";
import { Dialog, Note, Problem, State, toast, type Tone } from "./parts";

export const MODES: Record<Mode, { tone: Tone; word: string; means: string }> = {
  active: { tone: "good", word: "Trading", means: "All that passes the checks is sent." },
  reducing: { tone: "warn", word: "Reducing", means: "Only what lowers a position is sent, and cancels." },
  halted: { tone: "bad", word: "Halted", means: "Only cancels are sent; what was open is cancelled." },
  unknown: { tone: "calm", word: "Not known", means: "Nothing was heard of the trading state." },
};

export const asking = signal<"halt" | "reduce" | "resume" | undefined>(undefined);

/** The word, with a question mark and without its colour when it is old. */
export function ModeWord({ big = false }: { big?: boolean }): JSX.Element {
  const said = trading.value;
  const mode = MODES[said?.value.mode ?? "unknown"];
  const old = said !== undefined && isStale(ageMs(said.at, now.value));
  return (
    <State tone={old ? "calm" : mode.tone} big={big}>
      {mode.word}
      {old ? "?" : ""}
    </State>
  );
}

export function TradingDialogs(): JSX.Element | null {
  switch (asking.value) {
    case "halt":
      return <Stop to="halt" />;
    case "reduce":
      return <Stop to="reduce" />;
    case "resume":
      return <Resume />;
    default:
      return null;
  }
}

const close = (): void => {
  asking.value = undefined;
};

const STOPS = {
  halt: {
    title: "Halt all trading?",
    text: "Every open order is cancelled, and nothing but cancels is sent until somebody of role risk resumes.",
    button: "HALT NOW",
    reason: "halted from the console",
    class: "danger",
    done: "Halted.",
  },
  reduce: {
    title: "Reduce only?",
    text: "Only orders that lower a position are sent, and cancels. Open orders stay.",
    button: "Reduce only",
    reason: "",
    class: "primary",
    done: "Reducing.",
  },
} as const;

function Stop({ to }: { to: "halt" | "reduce" }): JSX.Element {
  const words = STOPS[to];
  const [reason, setReason] = useState<string>(words.reason);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<unknown>();
  const key = useRef(newKey());
  // Before it is known who asks, the server decides: nothing must stand between a person and a halt.
  const allowed = who.value === undefined || may(who.value.role, "operator");
  const send = async (event: Event): Promise<void> => {
    event.preventDefault();
    setBusy(true);
    try {
      const answer = await ask.peek()(`/v1/${to}`, { method: "POST", body: { reason: reason.trim() }, idempotencyKey: key.current });
      take(answer);
      toast(to === "halt" ? "bad" : "warn", words.done);
      close();
    } catch (caught) {
      setProblem(caught);
      if (caught instanceof ApiProblem && caught.status !== 0) key.current = newKey();
      setBusy(false);
    }
  };
  return (
    <Dialog title={words.title} onClose={close} class={to === "halt" ? "alarm" : ""}>
      <p>{words.text}</p>
      {!allowed && <Note tone="warn">Your token may not do this: it takes the role operator. Call somebody who may.</Note>}
      {problem instanceof ApiProblem && problem.status === 0 ? (
        <Note tone="bad" alert>
          <strong>It is not certain that this arrived.</strong> The control plane cannot be reached. Try again, or use{" "}
          <code>feedplane halt</code> on a machine that reaches Redis.
        </Note>
      ) : (
        <Problem problem={problem} />
      )}
      <form class="bare" onSubmit={(event) => void send(event)}>
        <label for="stop-reason">Reason</label>
        <input id="stop-reason" value={reason} maxLength={256} required onInput={(event) => setReason(event.currentTarget.value)} autofocus={to === "reduce"} />
        <div class="dialog-actions">
          <button type="button" onClick={close}>
            Cancel <kbd>Esc</kbd>
          </button>
          <button type="submit" class={words.class} disabled={busy || !allowed || reason.trim() === ""} autofocus={to === "halt"}>
            {busy ? "Sending …" : words.button} {to === "halt" && <kbd>Enter</kbd>}
          </button>
        </div>
      </form>
    </Dialog>
  );
}

const WORD = "RESUME";

function Resume(): JSX.Element {
  const seen = useLoad("/v1/trading");
  const [typed, setTyped] = useState("");
  const [reason, setReason] = useState("");
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<unknown>();
  const key = useRef(newKey());
  const allowed = who.value === undefined || may(who.value.role, "risk");
  const state: Trading | undefined = seen.answer === undefined ? undefined : readTrading(seen.answer.value);
  const changed = problem instanceof ApiProblem && problem.status === 412;
  const send = async (event: Event): Promise<void> => {
    event.preventDefault();
    if (seen.answer === undefined) return;
    setBusy(true);
    try {
      const answer = await ask.peek()("/v1/resume", {
        method: "POST",
        body: { reason: reason.trim() },
        ifMatch: seen.answer.etag,
        idempotencyKey: key.current,
      });
      take(answer);
      toast("good", "Trading goes on.");
      close();
    } catch (caught) {
      setProblem(caught);
      key.current = newKey();
      setBusy(false);
    }
  };
  return (
    <Dialog title="Resume trading?" onClose={close}>
      <p>Strategies may send orders again, to every venue.</p>
      {!allowed && <Note tone="warn">Your token may not do this: it takes the role risk.</Note>}
      {state !== undefined && (
        <dl class="pairs">
          <dt>Now</dt>
          <dd>
            <State tone={MODES[state.mode].tone}>{MODES[state.mode].word}</State>
          </dd>
          <dt>Since</dt>
          <dd>{dateTime(state.sinceNs)}</dd>
          <dt>By</dt>
          <dd>{state.by || "–"}</dd>
          <dt>Reason</dt>
          <dd>{state.reason || "–"}</dd>
          {state.followers.length > 0 && (
            <>
              <dt>Followed by</dt>
              <dd>{state.followers.map((known) => `${known.member || known.service}: ${known.mode}`).join(", ")}</dd>
            </>
          )}
        </dl>
      )}
      <Problem problem={seen.problem} />
      {changed ? (
        <Note tone="bad" alert>
          <p>
            <strong>Somebody changed the trading state meanwhile.</strong> Nothing was resumed. Look at it again before you decide.
          </p>
          <button
            type="button"
            class="small"
            onClick={() => {
              setProblem(undefined);
              setTyped("");
              seen.reload();
            }}
          >
            Read it again
          </button>
        </Note>
      ) : (
        <Problem problem={problem} />
      )}
      <form class="bare" onSubmit={(event) => void send(event)}>
        <label for="resume-reason">Reason</label>
        <input id="resume-reason" value={reason} maxLength={256} required autofocus onInput={(event) => setReason(event.currentTarget.value)} />
        <label for="resume-word">
          Type <code>{WORD}</code> to confirm
        </label>
        <input id="resume-word" value={typed} autocomplete="off" autocapitalize="characters" spellcheck={false} onInput={(event) => setTyped(event.currentTarget.value)} />
        <div class="dialog-actions">
          <button type="button" onClick={close}>
            Cancel <kbd>Esc</kbd>
          </button>
          <button type="submit" class="primary" disabled={busy || changed || !allowed || typed !== WORD || reason.trim() === "" || seen.answer === undefined}>
            {busy ? "Sending …" : "Resume trading"}
          </button>
        </div>
      </form>
    </Dialog>
  );
}

/** What the answer says is shown at once; the stream says it again. */
function take(answer: Answer): void {
  const said = readTrading(answer.value);
  if (said.mode !== "unknown") trading.value = { value: said, at: performance.now() };
}
