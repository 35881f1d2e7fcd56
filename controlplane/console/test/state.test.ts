import { describe, expect, it, vi } from "vitest";
import { readStatus, readTrading, may } from "../src/core/model";
import { Rates } from "../src/core/rates";
import { Ring } from "../src/core/ring";
import type { Watched } from "../src/core/state";
import { judge, stages, troubles } from "../src/pages/pipeline";

vi.stubGlobal("sessionStorage", { getItem: () => null, setItem: () => undefined, removeItem: () => undefined });
const { pushFeature, takeTrades } = await import("../src/core/state");

const watched = (): Watched => ({ key: "2:7", book: undefined, trades: new Ring(200), tapeAt: undefined, tapeAnew: true, features: new Map(), past: new Map(), count: 0 });

/** JSON of any shape, from a small generator that gives the same each time. */
function anything(next: () => number, depth = 0): unknown {
  const names = ["services", "dataplane", "status", "workers", "channels", "a", "b", "lead_ns", "buckets", "rates", "lags_ms", "trading", "mode", "name", "parts", "redis", "link", "receiver", "sockets", "publisher", "__proto__"];
  const kind = next() % (depth > 5 ? 5 : 8);
  if (kind === 0) return null;
  if (kind === 1) return next() % 2 === 0;
  if (kind === 2) return [next(), -1, 1e308, Number.NaN][next() % 4];
  if (kind === 3) return ["", "halted", "good", "x".repeat(next() % 300)][next() % 4];
  if (kind === 4) return [];
  if (kind === 5) return Array.from({ length: next() % 5 }, () => anything(next, depth + 1));
  return JSON.parse(JSON.stringify(Object.fromEntries(Array.from({ length: next() % 8 }, () => [names[next() % names.length] ?? "", anything(next, depth + 1)])))) as unknown;
}

describe("a status of any shape", () => {
  it("is read and drawn without an error", () => {
    let seed = 7;
    const next = (): number => (seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648);
    for (let round = 0; round < 3_000; round += 1) {
      const status = readStatus(anything(next));
      const rates = new Rates();
      if (status.dataplane !== undefined) rates.take(status.dataplane);
      const list = stages(status, rates);
      expect(list.length).toBeGreaterThan(10);
      expect(() => troubles(list)).not.toThrow();
    }
  });
  it("of an unknown mode is not taken for trading", () => {
    for (const mode of [undefined, null, "ACTIVE", "", 1, {}]) expect(readTrading({ mode }).mode).toBe("unknown");
    expect(readTrading({ mode: "halted", pending: true, problem: "Redis is gone", since_ns: 5 })).toMatchObject({ mode: "halted", pending: true, problem: "Redis is gone", sinceNs: 5 });
  });
});

describe("a process", () => {
  const service = (more: object): Parameters<typeof judge>[0] => readStatus({ services: [{ service: "gateway", member: "g1", state: "running", age_ms: 100, ready: true, ...more }] }).services[0] ?? expect.fail();
  it.each([
    [{}, "running"],
    [{ state: "gone" }, "gone"],
    [{ age_ms: 6_000 }, "gone"],
    [{ ready: false, parts: { redis: "good", sessions: "exchange: no answer" } }, "not ready"],
    [{ state: "refused", wanted: 3, reason: "shards: is 0" }, "refused"],
    [{ state: "restart_needed", wanted: 3, reason: "shards" }, "restart"],
    [{ ready: null }, "running"],
    [{ state: "dancing", ready: null }, "dancing"],
  ])("%j is %s", (more, word) => {
    expect(judge(service(more)).word).toBe(word);
  });
  it("says which of its parts is not good", () => {
    expect(judge(service({ ready: false, parts: { redis: "good", sessions: "no answer" } })).why).toContain("sessions: no answer");
  });
});

describe("rates of channels", () => {
  const at = (seconds: number, packets: number, worker = "w"): NonNullable<ReturnType<typeof readStatus>["dataplane"]> =>
    readStatus({ dataplane: { connected: true, status: { time_ns: seconds * 1e9, workers: [{ name: worker, channels: [{ name: "x", channel_id: 1, a: { packets }, b: { packets: 0 } }] }] } } }).dataplane ?? expect.fail();
  it("are by the data plane's own clock", () => {
    const rates = new Rates();
    rates.take(at(100, 1_000));
    rates.take(at(100.5, 1_500));
    expect(rates.channels.get("w/1")?.a.packets).toBe(1_000);
    rates.take(at(100.5, 1_500));
    expect(rates.channels.get("w/1")?.a.packets).toBe(1_000);
  });
  it("begin anew after a restart, and forget channels that are gone", () => {
    const rates = new Rates();
    rates.take(at(100, 9_000));
    rates.take(at(101, 10_000));
    rates.take(at(102, 5));
    expect(rates.channels.get("w/1")?.a.packets).toBe(0);
    rates.take(at(50, 10));
    rates.take(at(51, 110, "other"));
    expect([...rates.channels.keys()]).toEqual([]);
    rates.take(at(52, 210, "other"));
    expect(rates.channels.get("other/1")?.a.packets).toBe(100);
  });
});

describe("what is kept of an instrument", () => {
  it("is bounded for a day of events", () => {
    const current = watched();
    for (let round = 0; round < 20_000; round += 1) {
      takeTrades(current, [{ ts_recv_ns: round, price: "1.00" }]);
      for (let feature = 0; feature < 100; feature += 1) if (round % 100 === 0) pushFeature(current, `set.f${feature}`, round, feature);
    }
    expect(current.trades.length).toBe(200);
    expect(current.past.size).toBe(64);
    expect(Math.max(...[...current.past.values()].map((series) => series.length))).toBeLessThanOrEqual(1_200);
  });
  it("begins anew with the first trades of a new connection", () => {
    const current = watched();
    takeTrades(current, [{ ts_recv_ns: 3 }, { ts_recv_ns: 2 }]);
    takeTrades(current, [{ ts_recv_ns: 4 }]);
    expect(current.trades.toArray().map((trade) => trade["ts_recv_ns"])).toEqual([2, 3, 4]);
    current.tapeAnew = true;
    takeTrades(current, [{ ts_recv_ns: 9 }, { ts_recv_ns: 8 }]);
    expect(current.trades.toArray().map((trade) => trade["ts_recv_ns"])).toEqual([8, 9]);
  });
});

describe("roles", () => {
  it("include those before them, and an unknown one may nothing", () => {
    expect(may("risk", "viewer") && may("risk", "operator") && may("operator", "viewer")).toBe(true);
    expect(may("operator", "risk") || may("viewer", "operator") || may("", "viewer") || may("root", "viewer")).toBe(false);
  });
});
