/** What the API says, read into shapes that the pages can rely on. See `docs/controlplane.md` for the words. */

import { fields, flag, list, number, numbers, text } from "./read";

export type Mode = "active" | "reducing" | "halted" | "unknown";
export type Role = "viewer" | "operator" | "risk" | "";

export interface Trading {
  mode: Mode;
  by: string;
  reason: string;
  /** When it was set. */
  sinceNs: number | undefined;
  /** Redis does not have it yet: those who follow it do not know. */
  pending: boolean;
  /** Why not, or what else is the matter. */
  problem: string;
  /** Who follows it, and what each obeys now. */
  followers: { service: string; member: string; mode: string }[];
}

export interface Service {
  service: string;
  member: string;
  host: string;
  pid: number | undefined;
  state: string;
  version: number | undefined;
  wanted: number | undefined;
  reason: string;
  ready: boolean | undefined;
  parts: [string, string][];
  /** Why its health cannot be had. */
  problem: string;
  ageMs: number | undefined;
  figures: Record<string, number>;
}

export interface Lead {
  count: number;
  p50: number;
  p99: number;
  max: number;
  /** Upper bound in ns and count, ascending; empty when the data plane does not say. */
  buckets: [number, number][];
}

export interface LineState {
  packets: number;
  won: number;
  duplicates: number;
  late: number;
  stale: number;
  unconfirmed: number;
  heartbeats: number;
  malformed: number;
  missing: number;
  malformedLast: string;
  reasons: [string, number][];
  lead: Lead;
}

export interface Channel {
  worker: string;
  name: string;
  id: number;
  a: LineState;
  b: LineState;
  packets: number;
  sequences: number;
  gaps: number;
  lost: number;
  resets: number;
  sessionsEnded: number;
  windowMax: number;
}

export interface Worker {
  name: string;
  core: number | undefined;
  wait: string;
  backend: string;
  mode: string;
  fallback: string;
  interfaces: string[];
  received: number;
  /** What the receiver did not take, by reason. */
  drops: [string, number][];
  ringFull: number;
  noFeed: number;
}

export interface Dataplane {
  connected: boolean;
  problem: string;
  ageMs: number;
  timeNs: number;
  workers: Worker[];
  channels: Channel[];
  publisher: Record<string, number>;
  publisherConnected: boolean | undefined;
  /** From arrival to Redis's answer, since it began: `p50_ns`, `p99_ns`. */
  latency: Record<string, number>;
}

export interface Status {
  timeNs: number | undefined;
  trading: Trading;
  redis: { connected: boolean | undefined; problem: string };
  store: { connected: boolean | undefined; problem: string; kind: string };
  services: Service[];
  dataplane: Dataplane | undefined;
  rates: Record<string, number>;
  lags: Record<string, number>;
  /** ns by name, as `publish_p50`. */
  latency: Record<string, number>;
  openOrders: number | undefined;
  /** Why orders or versions cannot be followed. */
  problems: string[];
  /** Figures and the data plane's own status were left out of this one. */
  shortened: boolean;
}

const MODES = new Set(["active", "reducing", "halted"]);

export function readTrading(value: unknown): Trading {
  const own = fields(value);
  const mode = text(own["mode"]);
  return {
    mode: MODES.has(mode) ? (mode as Mode) : "unknown",
    by: text(own["by"]),
    reason: text(own["reason"]),
    sinceNs: number(own["since_ns"]) ?? number(own["time_ns"]),
    pending: flag(own["pending"]) ?? false,
    problem: text(own["problem"]),
    followers: list(own["followers"]).map((entry) => {
      const of = fields(entry);
      return { service: text(of["service"]), member: text(of["member"]), mode: text(of["mode"]) };
    }),
  };
}

export function readService(value: unknown): Service {
  const own = fields(value);
  return {
    service: text(own["service"]),
    member: text(own["member"]),
    host: text(own["host"]),
    pid: number(own["pid"]),
    state: text(own["state"]) || "unknown",
    version: number(own["version"]),
    wanted: number(own["wanted"]),
    reason: text(own["reason"]),
    ready: flag(own["ready"]),
    parts: Object.entries(fields(own["parts"])).map(([name, said]) => [name, text(said)]),
    problem: text(own["problem"]),
    ageMs: number(own["age_ms"]),
    figures: numbers(own["figures"]),
  };
}

function counts(value: unknown): [string, number][] {
  return Object.entries(numbers(value));
}

function readLead(value: unknown): Lead {
  const own = fields(value);
  const buckets = list(own["buckets"]).flatMap((entry): [number, number][] => {
    const [upper, count] = Array.isArray(entry) ? entry.map(number) : [number(fields(entry)["le"]), number(fields(entry)["count"])];
    return upper === undefined || count === undefined ? [] : [[upper, count]];
  });
  return {
    count: number(own["count"]) ?? 0,
    p50: number(own["p50"]) ?? 0,
    p99: number(own["p99"]) ?? 0,
    max: number(own["max"]) ?? 0,
    buckets,
  };
}

function readLine(value: unknown): LineState {
  const own = fields(value);
  const of = (name: string): number => number(own[name]) ?? 0;
  return {
    packets: of("packets"),
    won: of("won"),
    duplicates: of("duplicates"),
    late: of("late"),
    stale: of("stale"),
    unconfirmed: of("unconfirmed"),
    heartbeats: of("heartbeats"),
    malformed: of("malformed"),
    missing: of("missing"),
    malformedLast: text(own["malformed_last"]),
    reasons: [...counts(own["malformed_by_reason"]), ...counts(own["malformed_messages_by_reason"]).map(([name, count]): [string, number] => [`message ${name}`, count])],
    lead: readLead(own["lead_ns"]),
  };
}

function readChannel(value: unknown, worker: string): Channel {
  const own = fields(value);
  const of = (name: string): number => number(own[name]) ?? 0;
  return {
    worker,
    name: text(own["name"]),
    id: of("channel_id"),
    a: readLine(own["a"]),
    b: readLine(own["b"]),
    packets: of("delivered_packets"),
    sequences: of("delivered_sequences"),
    gaps: of("gaps"),
    lost: of("lost"),
    resets: of("resets"),
    sessionsEnded: of("sessions_ended"),
    windowMax: of("window_packets_max"),
  };
}

const RECEIVED = new Set(["packets", "payload_bytes", "bytes", "received"]);

function readWorker(value: unknown): Worker {
  const own = fields(value);
  const receiver = fields(own["receiver"]);
  const fallback = own["fallback"];
  const modes = [...list(own["link"]), ...list(receiver["sockets"])].map((entry) => text(fields(entry)["mode"])).filter((mode) => mode !== "");
  return {
    name: text(own["name"]),
    core: number(own["core"]),
    wait: text(own["wait"]),
    backend: text(own["backend"]),
    mode: [...new Set(modes)].join(", "),
    fallback: fallback === null || fallback === undefined || fallback === false ? "" : text(fallback) || JSON.stringify(fallback),
    interfaces: list(own["interfaces"]).map(text),
    received: number(receiver["packets"]) ?? 0,
    drops: counts(receiver).filter(([name]) => !RECEIVED.has(name)),
    ringFull: number(fields(own["handover"])["ring_full"]) ?? 0,
    noFeed: number(fields(own["loop"])["no_feed"]) ?? 0,
  };
}

function readDataplane(value: unknown): Dataplane | undefined {
  if (value === null || value === undefined) return undefined;
  const own = fields(value);
  const status = fields(own["status"]);
  const workers = list(status["workers"]);
  const publisher = fields(status["publisher"]);
  return {
    connected: flag(own["connected"]) ?? false,
    problem: text(own["problem"]),
    ageMs: number(own["age_ms"]) ?? 0,
    timeNs: number(status["time_ns"]) ?? 0,
    workers: workers.map(readWorker),
    channels: workers.flatMap((worker) => list(fields(worker)["channels"]).map((channel) => readChannel(channel, text(fields(worker)["name"])))),
    publisher: numbers(publisher),
    publisherConnected: flag(publisher["connected"]),
    latency: numbers(publisher["latency"]),
  };
}

export function readStatus(value: unknown): Status {
  const own = fields(value);
  const redis = fields(own["redis"]);
  const store = fields(own["store"]);
  const orders = fields(own["orders"]);
  return {
    timeNs: number(own["time_ns"]),
    trading: readTrading(own["trading"]),
    redis: { connected: flag(redis["connected"]), problem: text(redis["problem"]) },
    store: { connected: flag(store["connected"]), problem: text(store["problem"]), kind: text(store["kind"]) },
    services: list(own["services"]).map(readService),
    dataplane: readDataplane(own["dataplane"]),
    rates: numbers(own["rates"]),
    lags: numbers(own["lags_ms"]),
    latency: numbers(own["latency_ns"]),
    openOrders: number(orders["open"]),
    problems: [
      ...(text(orders["problem"]) === "" ? [] : [`Orders cannot be followed: ${text(orders["problem"])}`]),
      ...Object.entries(fields(own["distribution_problems"])).map(([service, why]) => `The newest version of ${service} is not distributed: ${text(why)}`),
    ],
    shortened: flag(own["shortened"]) ?? false,
  };
}

const RANKS: Record<string, number> = { viewer: 1, operator: 2, risk: 3 };

/** Roles include those before them. */
export function may(role: string, needed: Exclude<Role, "">): boolean {
  return (RANKS[role] ?? 0) >= (RANKS[needed] ?? 9);
}
