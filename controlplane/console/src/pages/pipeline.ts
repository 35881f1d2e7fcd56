/** The pipeline as stages with a state, one big number and a few small ones: what the picture and its list on a phone show. */

import { compact, duration, nanoseconds } from "../core/format";
import type { Service, Status } from "../core/model";
import type { Rates } from "../core/rates";
import type { Tone } from "../ui/parts";

export interface Stage {
  id: string;
  title: string;
  tone: Tone;
  word: string;
  /** Read from two metres. */
  main: string;
  mainUnit: string;
  facts: [string, string][];
  /** What is wrong, in a sentence. */
  why: string;
  href: string;
}

/** A report older than this means that the process is gone, ms (`PROCESS_STALE` of the bus). */
const GONE_MS = 5_000;
/** A consumer behind by more than this is shown as late, ms. */
const LATE_MS = 1_000;

/** The worst of a service's processes, in one word. */
export function health(services: Service[]): { tone: Tone; word: string; why: string } {
  if (services.length === 0) return { tone: "calm", word: "absent", why: "" };
  const judged = services.map(judge);
  const rank: Tone[] = ["bad", "warn", "good", "calm"];
  judged.sort((x, y) => rank.indexOf(x.tone) - rank.indexOf(y.tone));
  return judged[0] ?? { tone: "calm", word: "absent", why: "" };
}

export function judge(service: Service): { tone: Tone; word: string; why: string } {
  const name = service.member === "" ? service.service : `${service.service} ${service.member}`;
  if (service.state === "gone" || (service.ageMs ?? 0) > GONE_MS) return { tone: "bad", word: "gone", why: `${name} said nothing for ${duration(service.ageMs)}` };
  const parts = service.parts.filter(([, said]) => !["good", "true", "ok", "ready", ""].includes(said));
  if (service.ready === false) {
    return { tone: "bad", word: "not ready", why: `${name}: ${parts.map(([part, said]) => `${part}: ${said}`).join("; ") || "not ready"}` };
  }
  if (service.state === "refused") return { tone: "warn", word: "refused", why: `${name} refused version ${service.wanted ?? "?"}: ${service.reason}` };
  if (service.state === "restart_needed") return { tone: "warn", word: "restart", why: `${name} takes version ${service.wanted ?? "?"} at its next start: ${service.reason}` };
  if (service.state === "running" || service.ready === true) return { tone: "good", word: "running", why: "" };
  return { tone: "calm", word: service.state.replaceAll("_", " "), why: "" };
}

export function stages(status: Status, rates: Rates): Stage[] {
  const of = (name: string): Service[] => status.services.filter((service) => service.service === name);
  const dataplane = status.dataplane;
  const lineRates = [...rates.channels.values()];
  const publisher = dataplane?.publisher ?? {};
  const gateway = of("gateway");
  const plane = dataplaneHealth(status);
  const lines = (["a", "b"] as const).map((side): Stage => {
    const packets = lineRates.reduce((sum, channel) => sum + channel[side].packets, 0);
    const others = lineRates.reduce((sum, channel) => sum + channel[side === "a" ? "b" : "a"].packets, 0);
    const won = dataplane?.channels.reduce((sum, channel) => sum + channel[side].won, 0) ?? 0;
    const all = dataplane?.channels.reduce((sum, channel) => sum + channel.a.won + channel.b.won, 0) ?? 0;
    const missing = dataplane?.channels.reduce((sum, channel) => sum + channel[side].missing, 0) ?? 0;
    const silent = packets === 0 && others > 0;
    const none = dataplane === undefined || dataplane.channels.length === 0;
    return {
      id: `line-${side}`,
      title: `Line ${side.toUpperCase()}`,
      tone: none ? "calm" : silent ? "bad" : packets === 0 ? "warn" : "good",
      word: none ? "no data" : silent ? "silent" : packets === 0 ? "quiet" : "receiving",
      main: compact(packets),
      mainUnit: "pkt/s",
      facts: [
        ["won", all === 0 ? "–" : `${Math.round((won / all) * 100)} %`],
        ["missing", compact(missing)],
      ],
      why: silent ? `Line ${side.toUpperCase()} is silent while the other line receives` : "",
      href: "/channels",
    };
  });
  const drops = dataplane?.workers.flatMap((worker) => worker.drops).filter(([name]) => /drop|full|overflow|checksum|oversized|errors|foreign|invalid|unfilled/.test(name)) ?? [];
  const dropped = drops.reduce((sum, [, count]) => sum + count, 0);
  const fallback = dataplane?.workers.find((worker) => worker.fallback !== "")?.fallback ?? "";
  const ringFull = dataplane?.workers.reduce((sum, worker) => sum + worker.ringFull, 0) ?? 0;
  const gaps = dataplane?.channels.reduce((sum, channel) => sum + channel.gaps, 0) ?? 0;
  const backends = [...new Set(dataplane?.workers.map((worker) => worker.backend) ?? [])].join(", ");
  const modes = [...new Set(dataplane?.workers.map((worker) => worker.mode).filter((mode) => mode !== "") ?? [])].join(", ");
  const redisDown = status.redis.connected === false;
  const archiver = of("archiver");
  return [
    ...lines,
    {
      id: "nic",
      title: "NIC",
      ...(plane.tone === "bad" || plane.tone === "calm" ? plane : fallback !== "" ? { tone: "warn" as const, word: "fallback", why: `The NIC works in a lesser mode: ${fallback}` } : plane),
      main: compact(rates.received),
      mainUnit: "pkt/s",
      facts: [
        ["mode", [backends, modes].filter((said) => said !== "").join(" · ") || "–"],
        ["dropped", compact(dropped)],
      ],
      href: "/machine",
    },
    {
      id: "worker",
      title: (dataplane?.workers.length ?? 0) > 1 ? `${dataplane?.workers.length ?? 0} workers` : "Worker",
      ...plane,
      main: compact(lineRates.reduce((sum, channel) => sum + channel.sequences, 0)),
      mainUnit: "msg/s",
      facts: [
        ["gaps", compact(gaps)],
        ["ring full", compact(ringFull)],
      ],
      href: "/channels",
    },
    {
      id: "publisher",
      title: "Publisher",
      ...(dataplane?.publisherConnected === false ? { tone: "bad" as const, word: "no Redis", why: "The publisher has no connection to Redis; ticks wait in its spool" } : plane),
      main: compact(status.rates["ticks_per_s"] ?? (dataplane === undefined ? undefined : rates.published)),
      mainUnit: "ticks/s",
      facts: [
        ["waiting", compact((publisher["waiting"] ?? 0) + (publisher["spooled"] ?? 0))],
        ["lost", compact(publisher["lost"] ?? 0)],
      ],
      href: "/machine",
    },
    latencyStage(status),
    controlStage(status),
    {
      id: "redis",
      title: "Redis",
      tone: redisDown ? "bad" : status.redis.connected === true ? "good" : "calm",
      word: redisDown ? "gone" : status.redis.connected === true ? "connected" : "not known",
      main: "",
      mainUnit: "",
      facts: [],
      why: redisDown ? `Redis cannot be reached, nothing new is sent to a venue: ${status.redis.problem}` : "",
      href: "/machine",
    },
    consumer("features", "Features", of("features"), status.rates["records_per_s"], "rec/s", status.lags["features"], "/market"),
    consumer("strategy", "Strategies", of("strategy"), status.rates["instructions_per_s"], "ord/s", status.lags["strategy"], "/trading/positions"),
    {
      id: "gateway",
      title: "Gateway",
      ...health(gateway),
      main: compact(status.rates["reports_per_s"]),
      mainUnit: "rep/s",
      facts: gatewayFacts(status),
      href: "/trading",
    },
    venueStage(gateway),
    consumer("archiver", "Archiver", archiver, status.rates["rows_per_s"], "rows/s", status.lags["archiver"], "/machine"),
    databaseStage(archiver),
  ];
}

/** From a packet's arrival to Redis's answer, its median large. */
function latencyStage(status: Status): Stage {
  const whole = status.dataplane?.latency ?? {};
  const told = (whole["count"] ?? 0) > 0;
  const ns = status.latency["publish_p50"] ?? (told ? whole["p50_ns"] : undefined);
  return {
    id: "latency",
    title: "Latency",
    tone: ns === undefined ? "calm" : "good",
    word: ns === undefined ? "not known" : "measured",
    main: nanoseconds(ns),
    mainUnit: "p50",
    facts: [
      ["p99", nanoseconds(status.latency["publish_p99"] ?? (told ? whole["p99_ns"] : undefined))],
      ["arrival to Redis", ""],
    ],
    why: "",
    href: "/channels",
  };
}

function controlStage(status: Status): Stage {
  const managed = status.services.filter((service) => (service.version ?? 0) > 0);
  const waiting = managed.filter((service) => service.state !== "running").length;
  const bad = status.store.connected === false;
  return {
    id: "control",
    title: "Control plane",
    tone: bad ? "bad" : status.problems.length > 0 ? "warn" : "good",
    word: bad ? "no store" : status.problems.length > 0 ? "look" : "running",
    main: "",
    mainUnit: "",
    facts: [
      ["managed", `${managed.length} processes`],
      ["not converged", String(waiting)],
    ],
    why: bad ? `The control plane's store does not answer, nothing can be changed: ${status.store.problem}` : (status.problems[0] ?? ""),
    href: "/config",
  };
}

function gatewayFacts(status: Status): [string, string][] {
  return [
    ["open orders", compact(status.openOrders)],
    ["to send", nanoseconds(status.latency["instruction_to_send_p50"])],
  ];
}

function part(services: Service[], name: RegExp): string | undefined {
  return services.flatMap((service) => service.parts).find(([known]) => name.test(known))?.[1];
}

function venueStage(gateway: Service[]): Stage {
  const said = part(gateway, /session/);
  const good = said === undefined ? undefined : ["good", "ok", "true", "ready"].includes(said);
  return {
    id: "venue",
    title: "Venue",
    tone: good === undefined ? "calm" : good ? "good" : "bad",
    word: good === undefined ? "not known" : good ? "logged on" : "no session",
    main: "",
    mainUnit: "",
    facts: good === false && said !== undefined ? [["", said]] : [],
    why: good === false ? `Venue: ${said ?? ""}` : "",
    href: "/trading",
  };
}

function databaseStage(archiver: Service[]): Stage {
  const said = part(archiver, /database/);
  const good = said === undefined ? undefined : ["good", "ok", "true", "ready"].includes(said);
  return {
    id: "database",
    title: "Database",
    tone: good === undefined ? "calm" : good ? "good" : "bad",
    word: good === undefined ? "not known" : good ? "storing" : "gone",
    main: "",
    mainUnit: "",
    facts: [],
    why: good === false ? `Database: ${said ?? ""}` : "",
    href: "/machine",
  };
}

function consumer(id: string, title: string, services: Service[], perSecond: number | undefined, unit: string, lag: number | undefined, href: string): Stage {
  const state = health(services);
  const late = state.tone === "good" && lag !== undefined && lag > LATE_MS;
  return {
    id,
    title,
    ...(late ? { tone: "warn" as const, word: "late", why: `${title} is ${duration(lag)} behind` } : state),
    main: compact(perSecond),
    mainUnit: unit,
    facts: [["behind", duration(lag)], ...(services.length > 1 ? ([["processes", String(services.length)]] as [string, string][]) : [])],
    href,
  };
}

function dataplaneHealth(status: Status): { tone: Tone; word: string; why: string } {
  const own = health(status.services.filter((service) => service.service === "dataplane"));
  if (status.dataplane === undefined) return own.word === "absent" ? { tone: "calm", word: "no link", why: "" } : own;
  if (!status.dataplane.connected) return { tone: "bad", word: "no link", why: `The data plane does not answer on its socket: ${status.dataplane.problem}` };
  return own.word === "absent" ? { tone: "good", word: "running", why: "" } : own;
}

/** Everything that is not good, worst first, as sentences. */
export function troubles(list: Stage[]): Stage[] {
  const seen = new Set<string>();
  const found = list.filter((stage) => {
    if (stage.why === "" || seen.has(stage.why)) return false;
    seen.add(stage.why);
    return true;
  });
  return found.sort((x, y) => Number(y.tone === "bad") - Number(x.tone === "bad"));
}

