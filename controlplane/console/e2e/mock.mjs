/**
 * A small server that speaks the control plane's contract (docs/controlplane.md), for developing the console and for its tests where no
 * pipeline can run. It keeps everything in memory and on loopback. `node e2e/mock.mjs [port]`; `--dist` serves the built page, too.
 */

import { createServer } from "node:http";
import { readFileSync, existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parse as parseYaml } from "yaml";

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const schemas = JSON.parse(readFileSync(here("fixtures/schemas.json"), "utf8"));
const documents = JSON.parse(readFileSync(here("fixtures/documents.json"), "utf8"));
const SERVICES = Object.keys(schemas);
export const POLICY =
  "default-src 'self'; connect-src 'self'; img-src 'self'; style-src 'self'; script-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const PAGES = ["overview", "channels", "market", "trading", "machine", "models", "config", "audit", "tokens"];
const TYPES = { js: "text/javascript; charset=utf-8", css: "text/css; charset=utf-8", svg: "image/svg+xml" };
const ROLES = { viewer: 1, operator: 2, risk: 3 };
const ns = () => Date.now() * 1e6;

export function startMock({ port = 0, dist } = {}) {
  const world = makeWorld();
  const server = createServer((request, response) => {
    handle(world, dist, request, response).catch((error) => {
      if (!response.headersSent) problem(response, 500, "Internal Server Error", String(error));
    });
  });
  return new Promise((resolve) => {
    server.listen(port, "127.0.0.1", () => {
      resolve({
        url: `http://127.0.0.1:${server.address().port}`,
        tokens: { viewer: "fp_v_viewer", operator: "fp_o_operator", risk: "fp_r_risk" },
        world,
        close: () => new Promise((done) => { world.stop(); server.closeAllConnections(); server.close(done); }),
      });
    });
  });
}

function makeWorld() {
  const world = {
    mute: false,
    trading: { mode: "active", by: "first", reason: "start of the day", since_ns: ns() - 3.6e12, revision: 4, pending: false, problem: null, entry: "1-0" },
    versions: {},
    audit: [],
    tokens: [
      { id: "r", name: "first", role: "risk", made_by: "-", made_ns: ns() - 8.6e13, expires_ns: null, revoked_ns: null },
      { id: "o", name: "olga", role: "operator", made_by: "first", made_ns: ns() - 4e13, expires_ns: ns() + 9e14, revoked_ns: null },
      { id: "x", name: "old-script", role: "viewer", made_by: "first", made_ns: ns() - 9e13, expires_ns: ns() - 1e12, revoked_ns: null },
    ],
    clients: new Set(),
    tick: 0,
    counters: {},
    orders: [],
    trades: [],
  };
  for (const service of SERVICES) {
    world.versions[service] = [{ version: 1, document: documents[service], by: "first", reason: "taken over from its file", time_ns: ns() - 7.2e12 }];
  }
  for (let n = 0; n < 40; n += 1) addOrder(world, n);
  log(world, "first", "risk", "put_config", "strategy", "done", 200, "taken over from its file");
  log(world, "olga", "operator", "resume", "trading", "refused", 403, "resume takes the role risk");
  const timer = setInterval(() => step(world), 250);
  world.stop = () => clearInterval(timer);
  step(world);
  return world;
}

function addOrder(world, n) {
  const states = ["open", "filled", "filled", "cancelled", "denied", "rejected", "replaced", "sent"];
  const state = states[n % states.length];
  world.orders.unshift({
    id: `S1${String(n).padStart(6, "0")}`, of: null, state, strategy: n % 3 === 0 ? "quoter-es" : "momentum", venue: "sim", publisher_id: 2, instrument_id: 7 + (n % 2),
    symbol: n % 2 === 0 ? "AAPL" : "MSFT", side: n % 4 < 2 ? "buy" : "sell", quantity: 100, price: (187.2 + (n % 9) / 100).toFixed(2), time_in_force: "day",
    filled: state === "filled" ? 100 : 0, leaves: state === "open" ? 100 : 0, venue_order: String(9000 + n), reason: state === "denied" ? "position" : state === "rejected" ? "H" : "",
    text: state === "denied" ? "worst case 1100 above 1000" : state === "rejected" ? "halted at the venue" : "", cause_ns: ns() - 2e9, created_ns: ns() - 1e9, time_ns: ns() - n * 1.7e9,
  });
  if (world.orders.length > 200) world.orders.pop();
}

function line(world, key, rate, win) {
  const c = (world.counters[key] ??= { packets: 0, won: 0, duplicates: 0 });
  const noise = 0.8 + 0.4 * Math.abs(Math.sin(world.tick / 9 + key.length));
  const packets = Math.round((rate * noise) / 4);
  c.packets += packets;
  c.won += Math.round(packets * win);
  c.duplicates += Math.round(packets * (1 - win));
  const buckets = [];
  for (let power = 7; power < 22; power += 1) buckets.push([2 ** power, Math.round(c.won * Math.exp(-((power - (win > 0.5 ? 11 : 13)) ** 2) / 5))]);
  return {
    packets: c.packets, won: c.won, duplicates: c.duplicates, late: Math.round(c.packets / 9000), stale: 0, unconfirmed: 0, heartbeats: Math.round(world.tick / 4),
    malformed: Math.round(c.packets / 40000), malformed_messages: 0,
    malformed_by_reason: { short_header: 0, bad_length: Math.round(c.packets / 40000), trailing_bytes: 0, unknown_message: 0, wrong_size: 0, bad_value: 0, oversized: 0 },
    malformed_messages_by_reason: {}, malformed_last: "payload of 12 bytes at offset 20: length 40", missing: Math.round(c.packets / 2500),
    lead_ns: { count: c.won, p50: win > 0.5 ? 2100 : 8400, p99: win > 0.5 ? 61000 : 144000, max: 3_400_000, buckets },
  };
}

function status(world) {
  const feeds = world.versions.feeds.at(-1).document.feeds;
  const services = [];
  const members = { dataplane: ["edge-1"], features: ["features-1", "features-2"], strategy: ["strategy-1"], gateway: ["gateway-1"], archiver: ["archiver-1"] };
  for (const [service, names] of Object.entries(members)) {
    names.forEach((member, index) => {
      const latest = world.versions[service].at(-1) ?? { version: 0, time_ns: 0 };
      const late = Date.now() - latest.time_ns / 1e6 < 1200 && latest.version > 1;
      const parts = service === "gateway" ? { redis: "good", sessions: "good" } : service === "archiver" ? { redis: "good", database: "good" } : { redis: "good", shards: "good" };
      services.push({ service, member, host: "edge", pid: 4100 + services.length, state: "running", version: late ? latest.version - 1 : latest.version, wanted: null, reason: null, ready: true, parts, age_ms: 300 + 90 * index, problem: null, figures: { feedplane_gateway_open_orders: 5 } });
    });
  }
  services.push({ ...services[0], service: "feeds", version: world.versions.feeds.at(-1).version });
  const wave = 1 + 0.25 * Math.sin(world.tick / 11);
  return {
    time_ns: ns(),
    trading: tradingOf(world),
    redis: { connected: true, problem: null, age_ms: 12, used_memory_bytes: 91_234_567, refused_reports: 0 },
    store: { connected: true, problem: null, kind: "sqlite", bytes: 81_920 },
    orders: { open: 5, is_current: true, problem: null, missing_reports: 0, trades_left_out: 0, refused_entries: 0 },
    distribution_problems: {}, event_clients: world.clients.size, watched_instruments: 1,
    services,
    dataplane: {
      connected: true,
      age_ms: 120,
      status: {
        version: 1, pid: 4100, time_ns: ns(),
        workers: [
          {
            name: "w0", core: 1, wait: "adaptive", backend: "xdp", fallback: null, interfaces: ["eth1", "eth2"],
            link: [],
            receiver: { packets: (world.counters.all = (world.counters.all ?? 0) + Math.round(13000 * wave)), bytes: 1, bad_checksum: 0, foreign: 0, sockets: [{ interface: "eth1", queue: 0, mode: "zero_copy" }, { interface: "eth2", queue: 0, mode: "zero_copy" }] },
            loop: { busy_rounds: 1, idle_rounds: 1, no_feed: 3 },
            handover: { records: 1, ring_full: 0, instruments_dropped: 0 },
            channels: feeds.map((feed, index) => ({
              name: feed.name, channel_id: feed.channel_id,
              a: line(world, `a${feed.name}`, 26000 / (index + 1), 0.71), b: line(world, `b${feed.name}`, 25700 / (index + 1), 0.29),
              delivered_packets: world.tick * 6500, delivered_sequences: world.tick * Math.round(7400 * wave) + world.tick * 800, gaps: index === 1 ? 3 : 0, lost: index === 1 ? 17 : 0, resets: 0, sessions_ended: 0, window_packets_max: 14,
            })),
          },
        ],
        publisher: { connected: true, waiting: 0, spooled: 0, lost: 0, published: world.tick * 6000, latency: { count: 1, p50_ns: 84_000, p99_ns: 412_000 } },
      },
    },
    rates: { ticks_per_s: 26556 * wave, records_per_s: 3120 * wave, instructions_per_s: 4.2 * wave, reports_per_s: 8.5 * wave, rows_per_s: 26102 * wave },
    lags_ms: { features: 2, strategy: 1, archiver: 180 + 40 * Math.sin(world.tick / 7) },
    latency_ns: { publish_p50: 84_000, publish_p99: 412_000, instruction_to_send_p50: 190_000, instruction_to_send_p99: 702_000 },
  };
}

const tradingOf = (world) => ({ time_ns: ns(), ...world.trading });

function book(world) {
  const mid = 18722 + Math.round(6 * Math.sin(world.tick / 13));
  const level = (cents, index) => ({ price: (cents / 100).toFixed(2), size: 100 * (1 + ((index * 7 + world.tick) % 9)), orders: 1 + ((index * 3) % 6) });
  return { time_ns: ns(), publisher_id: 2, instrument_id: 7, state: "good", why: null, kind: "by_order", ts_recv_ns: ns(), read_to_ns: ns(), bids: Array.from({ length: 10 }, (_, i) => level(mid - 1 - i, i)), asks: Array.from({ length: 10 }, (_, i) => level(mid + 1 + i, i + 2)) };
}

function featureValues(world) {
  return { mid: 187.22 + 0.06 * Math.sin(world.tick / 13), spread: 0.02, imbalance: Math.sin(world.tick / 17), ofi: 320 * Math.sin(world.tick / 5), vwap: 187.2 + 0.02 * Math.sin(world.tick / 40), rsi: 50 + 20 * Math.sin(world.tick / 21) };
}

function step(world) {
  world.tick += 1;
  if (world.tick % 3 === 0) {
    world.trades.push({ ts_recv_ns: ns(), ts_event_ns: ns() - 4e4, price: (187.2 + (world.tick % 7) / 100).toFixed(2), size: 100 * (1 + (world.tick % 4)), aggressor: world.tick % 2 ? "buy" : "sell" });
    if (world.trades.length > 100) world.trades.shift();
  }
  if (world.tick % 12 === 0) {
    addOrder(world, 1000 + world.tick);
    send(world, "orders", { time_ns: ns(), orders: [world.orders[0]], denials: 0 });
  }
  if (world.tick % 2 === 0) send(world, "status", status(world));
  for (const client of world.clients) {
    for (const key of client.instruments) {
      if (key !== "2:7") continue;
      write(world, client, "book", book(world));
      if (world.tick % 3 === 0) write(world, client, "tape", { time_ns: ns(), publisher_id: 2, instrument_id: 7, trades: [world.trades.at(-1)] });
      write(world, client, "features", { time_ns: ns(), publisher_id: 2, instrument_id: 7, sets: [{ set: "basic", time_ns: ns(), doubts: [], values: Object.entries(featureValues(world)).map(([name, value]) => ({ name, unit: "", value })) }] });
    }
  }
}

function write(world, client, topic, data) {
  if (world.mute || !client.topics.has(topic)) return;
  client.response.write(`event: ${topic}\ndata: ${JSON.stringify(data)}\n\n`);
}
const send = (world, topic, data) => {
  for (const client of world.clients) write(world, client, topic, data);
};

function log(world, who, role, action, target, outcome, code, reason, before = null, after = null) {
  const entry = { seq: world.audit.length + 1, time_ns: ns(), who, role, address: "127.0.0.1:50312", action, target, outcome, status: code, reason, before, after, sha256: "00" };
  world.audit.unshift(entry);
  send(world, "audit", entry);
}

function answer(response, code, value, headers = {}) {
  response.writeHead(code, { "Content-Type": "application/json", "Cache-Control": "no-store", ...headers });
  response.end(value === undefined ? "" : JSON.stringify(value));
}
function problem(response, code, title, detail, more = {}) {
  answer(response, code, { type: "about:blank", title, status: code, detail, ...more }, { "Content-Type": "application/problem+json" });
}

async function bodyOf(request) {
  let said = "";
  for await (const chunk of request) {
    said += chunk;
    if (said.length > 1 << 20) throw new Error("too large");
  }
  return said;
}

async function handle(world, dist, request, response) {
  const url = new URL(request.url, "http://x");
  const path = url.pathname;
  if (!path.startsWith("/v1/")) return page(dist, path, response);
  const secret = (request.headers.authorization ?? "").replace("Bearer ", "");
  const token = { fp_v_viewer: ["vera", "viewer"], fp_o_operator: ["olga", "operator"], fp_r_risk: ["first", "risk"] }[secret];
  if (token === undefined) return problem(response, 401, "Unauthorized", "the token is not known");
  const [who, role] = token;
  const need = (needed) => {
    if (ROLES[role] >= ROLES[needed]) return true;
    log(world, who, role, `${request.method} ${path}`, path, "refused", 403, `takes the role ${needed}`);
    problem(response, 403, "Forbidden", `this takes the role ${needed}; yours is ${role}`);
    return false;
  };
  const list = (items) => answer(response, 200, { items, next_cursor: null });
  const parts = path.split("/").slice(2);
  if (path === "/v1/whoami") return answer(response, 200, { name: who, role, expires_ns: ns() + 2.5e15 });
  if (path === "/v1/status") return answer(response, 200, status(world));
  if (path === "/v1/trading") return answer(response, 200, tradingOf(world), { ETag: `"${world.trading.revision}"` });
  if (["/v1/halt", "/v1/reduce", "/v1/resume"].includes(path)) return setMode(world, request, response, path.slice(4), who, role, need);
  if (path === "/v1/events") return events(world, url, request, response);
  if (parts[0] === "config") return config(world, url, parts, request, response, who, role, need);
  if (path === "/v1/orders") return list(url.searchParams.get("state") === "open" ? world.orders.filter((order) => ["open", "sent"].includes(order.state)) : world.orders);
  if (path === "/v1/positions") {
    return list([
      { strategy: "momentum", venue: "sim", publisher_id: 2, instrument_id: 7, symbol: "AAPL", position: 300, bought: 1200, sold: 900, bought_at: "187.213", sold_at: "187.241", trades: 21, time_ns: ns() - 4e9 },
      { strategy: "quoter-es", venue: "sim", publisher_id: 2, instrument_id: 8, symbol: "MSFT", position: -100, bought: 500, sold: 600, bought_at: "402.10", sold_at: "402.13", trades: 11, time_ns: ns() - 9e9 },
    ]);
  }
  if (path === "/v1/denials") {
    const items = Array.from({ length: 14 }, (_, i) => ({ id: `S2${String(i).padStart(6, "0")}`, strategy: "momentum", venue: "sim", publisher_id: 2, instrument_id: 7, symbol: "AAPL", denied_by: i % 5 === 0 ? "gateway" : "strategy", reason: ["position", "stale_quote", "collar_percent"][i % 3], text: ["worst case 1100 above 1000", "quote is 2140 ms old; at most 2000", "612 hundredths of a percent; at most 500"][i % 3], time_ns: ns() - i * 2e9 }));
    return answer(response, 200, { reasons: [{ denied_by: "strategy", reason: "position", count: 412 }, { denied_by: "strategy", reason: "stale_quote", count: 77 }, { denied_by: "gateway", reason: "too_old", count: 3 }], items, next_cursor: null });
  }
  if (path === "/v1/instruments") {
    const query = (url.searchParams.get("query") ?? "").toUpperCase();
    const all = ["AAPL", "MSFT", "AMZN", "NVDA", "ESZ6"].map((symbol, i) => ({ publisher_id: i === 4 ? 1 : 2, instrument_id: 7 + i, symbol, kind: i === 4 ? "future" : "equity", currency: "USD", channel_id: i === 4 ? 310 : 1, tick_size: "0.01", lot_size: 100 }));
    return list(all.filter((instrument) => instrument.symbol.includes(query)));
  }
  if (parts[0] === "instruments" && parts[3] === "book") return answer(response, 200, book(world));
    if (parts[0] === "instruments" && parts[3] === "features") return answer(response, 200, { time_ns: ns(), publisher_id: 2, instrument_id: 7, sets: [], looked_through: 0, is_whole: true });
  if (parts[0] === "instruments") return answer(response, 200, { publisher_id: Number(parts[1]), instrument_id: Number(parts[2]), symbol: parts[2] === "7" ? "AAPL" : "MSFT", kind: "equity", currency: "USD", channel_id: 1, tick_size: "0.01" });
  if (path === "/v1/nics") {
    return list(["eth1", "eth2"].map((name, i) => ({ interface: name, worker: "w0", lines: ["ab"[i]], backend: "xdp", index: i + 2, driver: "ice", up: true, carrier: true, speed_mbit_per_s: 25000, receive_queues: 2, ...(world.counters[`detached ${name}`] === true ? {} : { attached: "native" }), program: { name: "steer_time", id: 41 + i, tag: "9c1d0a77b3e2f410", hardware_time: true }, sockets: [0, 1].map((queue) => ({ queue, mode: "zero_copy", busy_poll: true, frames: 8192, counters: { rx_dropped: 0, rx_ring_full: 0 } })), capabilities: { native_xdp: true, zero_copy: true, hardware_timestamps: true, clock: `/dev/ptp${i}` }, counters: { rx_packets: 4123456, rx_dropped: 0 }, program_packets: { steered: 4123440, passed: 16 } })));
  }
  if (parts[0] === "nics" && request.method === "POST") {
    if (!need("operator")) return undefined;
    world.counters[`detached ${parts[1]}`] = parts[2] === "detach";
    log(world, who, role, parts[2] ?? parts[1], parts[1], "done", 200, "");
    return answer(response, 200, {});
  }
  if (path === "/v1/clock") return answer(response, 200, { time_ns: ns(), utc_in_sync: true, tai_minus_utc_ns: 37e9, items: [{ worker: "w0", line: "a", interface: "eth1", path: "/dev/ptp0", minus_utc_ns: 142, window_ns: 380, source: "hardware", age_ms: 410 }, { worker: "w0", line: "b", interface: "eth2", path: "/dev/ptp1", minus_utc_ns: -48_212, window_ns: 410, source: "hardware", age_ms: 420 }] });
  if (path === "/v1/models") return list([{ name: "ofi-ridge", versions: [3, 2, 1].map((version) => ({ version, onnx_sha256: `${version}c5d`.repeat(16) })) }, { name: "ofi-tree", versions: [{ version: 1, onnx_sha256: "77aa".repeat(16) }] }]);
  if (parts[0] === "models") return answer(response, 200, { name: parts[1], version: Number(parts[2]), onnx_bytes: 18231, card: { target: "return_1s", features: ["basic.mid", "basic.imbalance"], rank_correlation: 0.071 } });
  if (path === "/v1/audit") {
    const wanted = (name, field) => !url.searchParams.get(name) || field.includes(url.searchParams.get(name));
    return answer(response, 200, { items: world.audit.filter((entry) => wanted("who", entry.who) && wanted("action", entry.action)).slice(0, 50), next_cursor: null, chain: { verified_to: world.audit.length, broken_at: null, complete: true } });
  }
  if (parts[0] === "tokens") {
    if (!need("risk")) return undefined;
    if (request.method === "GET") return list(world.tokens);
    if (request.method === "POST") {
      const asked = JSON.parse(await bodyOf(request));
      const made = { id: `t${world.tokens.length}`, name: asked.name, role: asked.role, made_by: who, made_ns: ns(), expires_ns: ns() + asked.expires_in_s * 1e9, revoked_ns: null };
      world.tokens.push(made);
      log(world, who, role, "post_token", made.name, "done", 201, "");
      return answer(response, 201, { ...made, token: `fp_${made.id}_mockmockmockmockmockmockmockmockmock` });
    }
    world.tokens.find((token) => token.id === parts[1]).revoked_ns = ns();
    return answer(response, 204);
  }
  return problem(response, 404, "Not Found", `there is no ${path}`);
}

async function setMode(world, request, response, verb, who, role, need) {
  if (!need(verb === "resume" ? "risk" : "operator")) return undefined;
  const { reason } = JSON.parse(await bodyOf(request));
  if (verb === "resume" && request.headers["if-match"] !== `"${world.trading.revision}"`) {
    log(world, who, role, verb, "trading", "refused", 412, "the trading state has changed");
    return problem(response, 412, "Precondition Failed", "the trading state has changed", { current_version: world.trading.revision });
  }
  const before = world.trading.mode;
  world.trading = { ...world.trading, mode: { halt: "halted", reduce: "reducing", resume: "active" }[verb], by: who, reason, since_ns: ns(), revision: world.trading.revision + 1 };
  log(world, who, role, verb, "trading", "done", 200, reason, before, world.trading.mode);
  send(world, "trading", tradingOf(world));
  return answer(response, 200, tradingOf(world), { ETag: `"${world.trading.revision}"` });
}

function events(world, url, request, response) {
  response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
  const client = { response, topics: new Set((url.searchParams.get("topics") ?? "").split(",")), instruments: url.searchParams.getAll("instrument") };
  world.clients.add(client);
  const beat = setInterval(() => !world.mute && response.write(":\n\n"), 1000);
  write(world, client, "status", status(world));
  write(world, client, "trading", tradingOf(world));
  request.on("close", () => {
    clearInterval(beat);
    world.clients.delete(client);
  });
}

function diff(before, after, path = "") {
  if (JSON.stringify(before) === JSON.stringify(after)) return [];
  const both = (test) => test(before) && test(after);
  if (both(Array.isArray)) {
    return Array.from({ length: Math.max(before.length, after.length) }, (_, i) => diff(before[i], after[i], `${path}[${i}]`)).flat();
  }
  if (both((value) => typeof value === "object" && value !== null)) {
    return [...new Set([...Object.keys(before), ...Object.keys(after)])].flatMap((key) => diff(before[key], after[key], path === "" ? key : `${path}.${key}`));
  }
  return [{ path, before: before ?? null, after: after ?? null }];
}

/** A few of the rules that only the server knows. */
function validate(service, document) {
  const errors = [];
  if (service === "strategy") {
    const total = document.risk?.total ?? {};
    if (total.open_orders_max < 1 || total.open_orders_max > 100000) errors.push({ path: "risk.total.open_orders_max", message: `is ${total.open_orders_max}; choose 1 to 100000` });
    if (typeof total.position_max !== "number") errors.push({ path: "risk.total.position_max", message: "is no number" });
  }
  if (service === "feeds") {
    document.feeds.forEach((feed, i) => {
      if (feed.name === "") errors.push({ path: `feeds[${i}].name`, message: "is empty; name it" });
      if (document.feeds.findIndex((other) => other.channel_id === feed.channel_id) !== i) errors.push({ path: `feeds[${i}].channel_id`, message: `is ${feed.channel_id}, which another feed has, too` });
    });
  }
  return errors;
}

async function config(world, url, parts, request, response, who, role, need) {
  const [, service, view, which] = parts;
  const head = (entry) => ({ service, version: entry.version, by: entry.by, reason: entry.reason, time_ns: entry.time_ns, sha256: "00" });
  if (service === undefined && request.method === "POST") return together(world, url, JSON.parse(await bodyOf(request)), response, who, role, need);
  if (service === undefined) return answer(response, 200, { items: SERVICES.map((name) => { const last = world.versions[name].at(-1) ?? { version: 0 }; return { service: name, version: last.version, newest: last.version === 0 ? null : { service: name, ...last, document: undefined }, convergence: { version: last.version, converged: true, problem: null, processes: [] } }; }) });
  const versions = world.versions[service];
  if (versions === undefined) return problem(response, 404, "Not Found", "no such document");
  const latest = versions.at(-1) ?? { version: 0, document: null };
  if (view === "schema") return answer(response, 200, schemas[service]);
  if (view === "history") return answer(response, 200, { items: versions.map(head).reverse(), next_cursor: null });
  if (view === "versions") return answer(response, 200, { ...head(versions[which - 1]), document: versions[which - 1].document });
  if (view === "diff") {
    const [from, to] = [Number(url.searchParams.get("from")), Number(url.searchParams.get("to"))];
    return answer(response, 200, { from, to, changes: diff(versions[from - 1].document, versions[to - 1].document) });
  }
  if (request.method === "GET" && latest.version === 0) return problem(response, 404, "Not Found", `${service} has no version yet`);
  if (request.method === "GET") return answer(response, 200, { ...head(latest), document: latest.document }, { ETag: `"${latest.version}"` });
  if (!need(["strategy", "gateway"].includes(service) ? "risk" : "operator")) return undefined;
  const said = await bodyOf(request);
  const meant = latest.version === 0 ? request.headers["if-none-match"] === "*" : request.headers["if-match"] === `"${latest.version}"`;
  if (!meant) {
    log(world, who, role, "put_config", service, "refused", 412, "another version is current");
    return problem(response, 412, "Precondition Failed", `version ${latest.version} is current`, { current_version: latest.version });
  }
  let document;
  let reason = url.searchParams.get("reason") ?? "";
  if (view === "rollback") {
    const asked = JSON.parse(said);
    document = versions[asked.version - 1].document;
    reason = asked.reason;
  } else {
    document = request.headers["content-type"].includes("yaml") ? parseYaml(said) : JSON.parse(said);
  }
  const errors = validate(service, document);
  if (errors.length > 0) {
    log(world, who, role, "put_config", service, "refused", 422, errors[0].message);
    return problem(response, 422, "Unprocessable Content", "the document cannot be used", { errors });
  }
  const changes = diff(latest.document, document);
  if (url.searchParams.get("dry_run") === "true") return answer(response, 200, { ...head({ ...latest, version: latest.version + 1, by: who, reason }), dry_run: true, unchanged: changes.length === 0, changes, ...rehearsed(service, changes) });
  const entry = { version: latest.version + 1, document, by: who, reason, time_ns: ns() };
  versions.push(entry);
  log(world, who, role, view === "rollback" ? "rollback" : "put_config", service, "done", 200, reason, changes.map((c) => c.before), changes.map((c) => c.after));
  send(world, "config", { time_ns: ns(), ...head(entry) });
  return answer(response, 200, { ...head(entry), dry_run: false, unchanged: false, changes }, { ETag: `"${entry.version}"` });
}

/** Several documents at once: all or none. */
function together(world, url, { documents: wanted }, response, who, role, need) {
  const reason = url.searchParams.get("reason") ?? "";
  for (const [service, { base_version, document }] of Object.entries(wanted)) {
    if (!need(["strategy", "gateway"].includes(service) ? "risk" : "operator")) return undefined;
    const version = world.versions[service].at(-1)?.version ?? 0;
    if (base_version !== version) return problem(response, 412, "Precondition Failed", `${service} has version ${version} now`, { current_version: version });
    const errors = validate(service, document).map((error) => ({ service, ...error }));
    if (errors.length > 0) return problem(response, 422, "Unprocessable Content", "the documents cannot be used", { errors });
  }
  const dry_run = url.searchParams.get("dry_run") === "true";
  const done = Object.entries(wanted).map(([service, { document }]) => {
    const latest = world.versions[service].at(-1) ?? { version: 0, document: null };
    const entry = { version: latest.version + 1, document, by: who, reason, time_ns: ns() };
    const changes = diff(latest.document, document);
    if (!dry_run) world.versions[service].push(entry);
    return [service, { service, ...entry, document: undefined, sha256: "00", dry_run, unchanged: changes.length === 0, changes }];
  });
  if (!dry_run) log(world, who, role, "post_config", Object.keys(wanted).join(", "), "done", 200, reason, [], []);
  return answer(response, 200, { documents: Object.fromEntries(done) });
}

/** Of the data plane's own document all waits for a start; feeds are taken while packets flow. */
function rehearsed(service, changes) {
  if (service !== "feeds" && service !== "dataplane") return {};
  return { rehearsal: { problem: null, restart_needed: service === "dataplane" ? changes.map((change) => change.path) : [], notes: [] } };
}

function page(dist, path, response) {
  const first = path.split("/")[1];
  if (dist === undefined) return problem(response, 404, "Not Found", "only the API is here");
  const secured = { "Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff" };
  if (first === "assets" && !path.includes("..")) {
    const file = `${dist}${path}`;
    if (!existsSync(file)) return problem(response, 404, "Not Found", path);
    response.writeHead(200, { ...secured, "Content-Type": TYPES[path.split(".").pop()] ?? "application/octet-stream" });
    return response.end(readFileSync(file));
  }
  if (first !== "" && !PAGES.includes(first)) return problem(response, 404, "Not Found", path);
  response.writeHead(200, { ...secured, "Content-Type": "text/html; charset=utf-8" });
  return response.end(readFileSync(`${dist}/index.html`));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const port = Number(process.argv.find((said) => /^\d+$/.test(said)) ?? 8099);
  const mock = await startMock({ port, ...(process.argv.includes("--dist") ? { dist: here("../dist") } : {}) });
  console.error(`${mock.url}\n${JSON.stringify(mock.tokens)}`);
}
