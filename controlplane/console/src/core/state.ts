/**
 * What the whole page knows: who is logged in, what came over the event stream and when, and a bounded past of it. Pages read
 * the signals; only this file writes those that come from the stream.
 */

import { computed, signal } from "@preact/signals";
import { asker, type Ask } from "./api";
import { readStatus, readTrading, type Status, type Trading } from "./model";
import { fields, list, number, text, type Fields } from "./read";
import { Ring, Series } from "./ring";
import { ageMs, type Arrived } from "./stale";
import { openStream, type Connection } from "../events/stream";
import type { ServerEvent } from "../events/parser";
import { Rates } from "./rates";

const TOKEN_KEY = "feedplane.token";

/** This page's monotonic clock, four times a second: ages are counted with it. */
export const now = signal(performance.now());
setInterval(() => (now.value = performance.now()), 250);

export const token = signal(sessionStorage.getItem(TOKEN_KEY) ?? "");
export const loginNote = signal("");
export interface Who {
  name: string;
  role: string;
  expiresNs: number | undefined;
}
export const who = signal<Who | undefined>(undefined);

export const connection = signal<Connection>({ state: "closed" });
export const status = signal<Arrived<Status> | undefined>(undefined);
export const trading = signal<Arrived<Trading> | undefined>(undefined);
/** Counts events of a topic: who shows a list of it reads it again. */
export const configChanged = signal(0);
export const auditChanged = signal(0);
/** Events that this page was too slow for, or that were too long or no JSON. */
export const missed = signal(0);

export interface Watched {
  key: string;
  book: Arrived<Fields> | undefined;
  trades: Ring<Fields>;
  tapeAt: number | undefined;
  /** The next event of trades has the last ones again: the stream was opened anew. */
  tapeAnew: boolean;
  features: Map<string, Arrived<Fields>>;
  /** Values of features over time, by set and feature. */
  past: Map<string, Series>;
  count: number;
}
export const watched = signal<Watched | undefined>(undefined);

/** Ten minutes at two statuses a second. */
const PAST = 1_200;
export const past = {
  rates: new Series(["ticks", "records", "instructions", "reports", "rows"], PAST),
  lags: new Series(["features", "strategy", "archiver"], PAST),
};
export const rates = new Rates();

export const ask = computed<Ask>(() => asker(token.value, () => logout("The token is not good, or not any more.")));

/** Ticks with `now`: how old the last status is; more than all, it tells whether the page is live. */
export const statusAge = computed(() => ageMs(status.value?.at, now.value));

let closeStream: (() => void) | undefined;

export function login(secret: string): void {
  sessionStorage.setItem(TOKEN_KEY, secret);
  loginNote.value = "";
  token.value = secret;
}

export function logout(note = ""): void {
  sessionStorage.removeItem(TOKEN_KEY);
  closeStream?.();
  closeStream = undefined;
  loginNote.value = note;
  token.value = "";
  who.value = undefined;
  status.value = undefined;
  trading.value = undefined;
  watched.value = undefined;
}

/** Opens the stream for these instruments, or none; what was open before is closed. */
export function listen(instrument?: string): void {
  closeStream?.();
  if (token.value === "") return;
  const topics = ["status", "trading", "config", "audit"];
  if (instrument !== undefined) topics.push("book", "tape", "features");
  const query = new URLSearchParams({ topics: topics.join(",") });
  if (instrument !== undefined) query.append("instrument", instrument);
  closeStream = openStream({
    path: `/v1/events?${query.toString().replaceAll("%2C", ",").replaceAll("%3A", ":")}`,
    token: token.value,
    onEvent: receive,
    onState: (state) => {
      connection.value = state;
      if (state.state === "open" && watched.value !== undefined) watched.value.tapeAnew = true;
      if (state.state === "refused" && state.status === 401) logout("The token is not good, or not any more.");
    },
  });
}

const FEATURES_PAST = 1_200;
const FEATURES_MAX = 64;
const TRADES_MAX = 200;

export function watch(key: string | undefined): void {
  if (watched.value?.key === key) return;
  watched.value =
    key === undefined
      ? undefined
      : { key, book: undefined, trades: new Ring(TRADES_MAX), tapeAt: undefined, tapeAnew: true, features: new Map(), past: new Map(), count: 0 };
  listen(key);
}

function receive(event: ServerEvent): void {
  let value: unknown;
  try {
    value = JSON.parse(event.data);
  } catch {
    missed.value += 1;
    return;
  }
  const at = performance.now();
  switch (event.name) {
    case "status":
      return takeStatus(readStatus(value), at);
    case "trading":
      trading.value = { value: readTrading(value), at };
      return;
    case "config":
      configChanged.value += 1;
      return;
    case "audit":
      auditChanged.value += 1;
      return;
    case "lagging":
      missed.value += number(fields(value)["missed"]) ?? 1;
      auditChanged.value += 1;
      configChanged.value += 1;
      return;
    case "book":
    case "tape":
    case "features":
      return takeInstrument(event.name, fields(value), at);
  }
}

let asking = false;

/** A status too large for an event is asked for, as soon as the one before is there. */
async function askWhole(): Promise<void> {
  if (asking) return;
  asking = true;
  const whole = await ask.peek()("/v1/status").catch(() => undefined);
  asking = false;
  if (whole === undefined || status.value === undefined) return;
  const { dataplane } = readStatus(whole.value);
  if (dataplane === undefined) return;
  rates.take(dataplane);
  status.value = { ...status.value, value: { ...status.value.value, dataplane } };
}

function takeStatus(value: Status, at: number): void {
  const last = status.value?.value.dataplane;
  if (value.shortened) void askWhole();
  status.value = { value: value.shortened && value.dataplane?.timeNs === 0 && last !== undefined ? { ...value, dataplane: last } : value, at };
  if (value.trading.mode !== "unknown" || trading.value === undefined) {
    trading.value = { value: value.trading, at };
  }
  if (value.dataplane !== undefined && value.dataplane.timeNs > 0) rates.take(value.dataplane);
  const seconds = (performance.timeOrigin + at) / 1000;
  const rate = (name: string): number | null => value.rates[name] ?? null;
  past.rates.push(seconds, [value.rates["ticks_per_s"] ?? (value.dataplane === undefined ? null : rates.published), rate("records_per_s"), rate("instructions_per_s"), rate("reports_per_s"), rate("rows_per_s")]);
  past.lags.push(seconds, ["features", "strategy", "archiver"].map((name) => value.lags[name] ?? null));
}

function keyOf(value: Fields): string {
  return `${text(value["publisher_id"])}:${text(value["instrument_id"])}`;
}

function takeInstrument(topic: "book" | "tape" | "features", value: Fields, at: number): void {
  const current = watched.value;
  if (current === undefined || keyOf(value) !== current.key) return;
  if (topic === "book") current.book = { value, at };
  if (topic === "tape") {
    takeTrades(current, list(value["trades"]).map(fields));
    current.tapeAt = at;
  }
  if (topic === "features") takeFeatures(current, value, at);
  watched.value = { ...current, count: current.count + 1 };
}

/** Trades since the event before, newest first; the first event has the last ones. */
export function takeTrades(current: Watched, trades: Fields[]): void {
  if (current.tapeAnew) current.trades.clear();
  current.tapeAnew = false;
  for (const trade of [...trades].reverse()) current.trades.push(trade);
}

/** `{sets: [{set, time_ns, values: [{name, value}]}]}`: the sets that have new values. */
function takeFeatures(current: Watched, value: Fields, at: number): void {
  for (const of of list(value["sets"]).map(fields)) {
    const set = text(of["set"]);
    if (!current.features.has(set) && current.features.size >= FEATURES_MAX) continue;
    current.features.set(set, { value: of, at });
    const ns = number(of["time_ns"]);
    const seconds = ns === undefined || ns === 0 ? (performance.timeOrigin + at) / 1000 : ns / 1e9;
    for (const named of list(of["values"]).map(fields)) pushFeature(current, `${set}.${text(named["name"])}`, seconds, number(named["value"]) ?? null);
  }
}

export function pushFeature(current: Watched, name: string, seconds: number, value: number | null): void {
  let series = current.past.get(name);
  if (series === undefined) {
    if (current.past.size >= FEATURES_MAX) return;
    series = new Series([name], FEATURES_PAST);
    current.past.set(name, series);
  }
  series.push(seconds, [value]);
}
