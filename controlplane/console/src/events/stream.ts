/**
 * One connection to `/v1/events`, kept open. Events come by fetch, because an EventSource cannot send the token. The
 * server says something every second; when it does not, the connection is taken for dead and made anew.
 */

import { EventParser, type ServerEvent } from "./parser";

export type Connection =
  | { state: "connecting"; attempt: number }
  | { state: "open"; since: number }
  | { state: "waiting"; attempt: number; until: number; why: string }
  | { state: "refused"; status: number; why: string }
  | { state: "closed" };

export interface StreamOptions {
  /** Path with its query. */
  path: string;
  token: string;
  onEvent(event: ServerEvent): void;
  onState(state: Connection): void;
  /** Silence after which the connection is given up, ms. */
  silenceMs?: number;
  fetch?: typeof fetch;
  random?: () => number;
}

const SILENCE_MS = 5_000;
const FIRST_WAIT_MS = 250;
const MOST_WAIT_MS = 8_000;

/** Doubles from 250 ms to 8 s, with up to half of it taken away by chance, so that pages do not all come at once. */
export function backoffMs(attempt: number, random: number): number {
  const most = Math.min(MOST_WAIT_MS, FIRST_WAIT_MS * 2 ** Math.min(attempt, 10));
  return Math.round(most * (1 - random / 2));
}

/** Opens the stream and returns what closes it for good. */
export function openStream(options: StreamOptions): () => void {
  const silenceMs = options.silenceMs ?? SILENCE_MS;
  let closed = false;
  let attempt = 0;
  let controller: AbortController | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;

  function later(why: string): void {
    if (closed) return;
    const wait = backoffMs(attempt, (options.random ?? Math.random)());
    attempt += 1;
    options.onState({ state: "waiting", attempt, until: performance.now() + wait, why });
    timer = setTimeout(() => void connect(), wait);
  }

  async function connect(): Promise<void> {
    if (closed) return;
    if (attempt === 0) options.onState({ state: "connecting", attempt });
    const own = new AbortController();
    controller = own;
    let silence = setTimeout(() => own.abort(), silenceMs * 2);
    const heard = (): void => {
      clearTimeout(silence);
      silence = setTimeout(() => own.abort(), silenceMs);
    };
    let why = "the connection ended";
    try {
      const answer = await (options.fetch ?? fetch)(options.path, {
        headers: { Authorization: `Bearer ${options.token}`, Accept: "text/event-stream" },
        cache: "no-store",
        signal: own.signal,
      });
      if (answer.status === 401 || answer.status === 403) {
        options.onState({ state: "refused", status: answer.status, why: answer.statusText });
        return;
      }
      if (!answer.ok || answer.body === null) throw new Error(`the server answered ${answer.status}`);
      const parser = new EventParser(options.onEvent);
      const reader = answer.body.getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        if (attempt !== 0 || !opened) {
          opened = true;
          attempt = 0;
          options.onState({ state: "open", since: performance.now() });
        }
        heard();
        parser.push(value);
      }
    } catch (error) {
      why = own.signal.aborted ? "nothing was heard from the server" : reason(error);
    } finally {
      clearTimeout(silence);
      opened = false;
      own.abort();
    }
    later(why);
  }

  let opened = false;
  void connect();
  return () => {
    closed = true;
    clearTimeout(timer);
    controller?.abort();
    options.onState({ state: "closed" });
  };
}

function reason(error: unknown): string {
  return error instanceof Error && error.message !== "" ? error.message : "the server cannot be reached";
}
