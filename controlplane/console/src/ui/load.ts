/** Reading something from the API again and again while a page shows it. */

import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { ApiProblem, type Answer } from "../core/api";
import { ask } from "../core/state";

export interface Loaded<T> {
  answer: Answer<T> | undefined;
  /** `performance.now()` of the last good answer. */
  at: number | undefined;
  problem: unknown;
  reload(): void;
}

/**
 * The answer to `path`, read again every `everyMs` while the page is visible, and at once when `again` changes. What was read
 * last stays when a later try fails: it ages, and says so. Answers that come late, of an earlier path, are thrown away.
 */
export function useLoad<T = unknown>(path: string | undefined, everyMs?: number, again: unknown = undefined): Loaded<T> {
  const [state, setState] = useState<{ path: string | undefined; answer?: Answer<T>; at?: number; problem?: unknown }>({ path });
  const [round, setRound] = useState(0);
  const current = useRef(path);
  current.current = path;
  useEffect(() => {
    if (path === undefined) return;
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const read = async (): Promise<void> => {
      let waitMs = 0;
      if (everyMs === undefined || document.visibilityState === "visible") {
        try {
          const answer = await ask.peek()<T>(path, { signal: stop.signal });
          if (stop.signal.aborted) return;
          setState({ path, answer, at: performance.now() });
        } catch (problem) {
          if (stop.signal.aborted) return;
          // A server that is asked too much says for how long it wants to be left alone.
          if (problem instanceof ApiProblem) waitMs = (problem.retryAfterS ?? 0) * 1_000;
          setState((before) => (before.path === path ? { ...before, problem } : { path, problem }));
        }
      }
      if (everyMs !== undefined) timer = setTimeout(() => void read(), Math.max(everyMs, waitMs));
    };
    void read();
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [path, everyMs, again, round]);
  const reload = useCallback(() => setRound((before) => before + 1), []);
  const same = state.path === path;
  return { answer: same ? state.answer : undefined, at: same ? state.at : undefined, problem: same ? state.problem : undefined, reload };
}
