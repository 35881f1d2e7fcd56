/**
 * The real pipeline for the console's tests, on loopback: `feedplane up` with every service and a control plane, an exchange that
 * is traded on, and a further session that no feed takes yet. Everything runs as children of this process and is ended by its pid.
 */

import { spawn, spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createSocket } from "node:dgram";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const programs = process.env.FEEDPLANE_PROGRAMS ?? join(process.env.CARGO_TARGET_DIR ?? join(root, "target"), "debug");
const SERVICES = ["dataplane", "features", "strategy", "gateway", "archiver", "controlplane"];
/** Long enough for anything that is going to happen on a busy machine. */
export const PATIENCE_MS = 120_000;

export function pipelineMissing() {
  const program = ["feedplane", ...SERVICES.map((name) => `feedplane-${name}`)].find((name) => !existsSync(join(programs, name)));
  if (program !== undefined) return `${program} is not built in ${programs}`;
  if (spawnSync("redis-server", ["--version"]).status !== 0) return "redis-server is not installed";
  return undefined;
}

/** Without an archive where PostgreSQL cannot be started. */
const postgres = () => existsSync("/usr/lib/postgresql") && readdirSync("/usr/lib/postgresql").length > 0;

const freeTcp = () =>
  new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
const freeUdp = () =>
  new Promise((resolve) => {
    const socket = createSocket("udp4").bind(0, "127.0.0.1", () => {
      const { port } = socket.address();
      socket.close(() => resolve(port));
    });
  });

const UP = (venue, api) => `
health_port: 0
dataplane: {feeds: feeds.yaml, interface_a: lo, interface_b: lo, backend: socket, entries_max: 1000000}
features:
  sets:
    - {name: basic, bars: {time_ms: 1000}, publish: {every_ms: 250}, features: [mid, spread, microprice, {imbalance: {levels: 5}}, {ema: {bars: 5}}]}
${postgres() ? "archiver: {}\n" : ""}trading: active
controlplane: {port: ${api}}
strategy:
  risk:
    total: {position_max: 20000, exposure_max: 5000000, open_orders_max: 50, messages_per_second: 500, message_burst: 500, drawdown_max: 1000000}
    default: {collar_basis_points: 500, collar_price: '5', order_quantity_max: 500, order_notional_max: 100000, position_max: 300, exposure_max: 1000000, open_orders_max: 10, messages_per_second: 200, message_burst: 200, duplicate_window_ms: 0, quote_age_max_ms: 5000, drawdown_max: 500000, multiplier: '1', tick_size: '0.01'}
    sessions:
      - {days: [monday, tuesday, wednesday, thursday, friday, saturday, sunday], open: '00:00', close: '24:00'}
  strategies:
    - name: quoter
      venue: exchange
      instruments: [S1, S2]
      quoter: {half_spread_ticks: 1, skew_ticks: 1, size: 100, position_max: 1000, quiet_ms: 5000}
    - name: pressure
      venue: exchange
      instruments: [S3]
      rules:
        rules:
          - {name: buy-pressure, when: good && imbalance > 0.2 && position < 300, cooldown_ms: 500, do: {buy: {quantity: 100, price: {cross: 1}}}}
          - {name: sell-pressure, when: good && imbalance < -0.2 && position > -300, cooldown_ms: 500, do: {sell: {quantity: 100, price: {cross: 1}}}}
gateway:
  sessions:
    - venue: exchange
      limits: {order_quantity_max: 1000, order_notional_max: 200000, open_orders_max: 50, messages_per_second: 1000, message_burst: 1000}
      reconnect: {first_ms: 50, most_ms: 200}
      ouch: {address: '127.0.0.1:${venue}', user: up, password: secret}
`;

export async function startPipeline() {
  const folder = mkdtempSync(join(tmpdir(), "feedplane-console-"));
  // A PostgreSQL that is not root must be able to go through.
  chmodSync(folder, 0o711);
  const children = [];
  const lines = [];
  const start = (name, args) => {
    const child = spawn(join(programs, name), args, { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (said) => {
        lines.push(...said.toString().split("\n").filter((line) => line !== ""));
        if (lines.length > 2_000) lines.splice(0, lines.length - 1_000);
      });
    }
    children.push(child);
    return child;
  };
  const [a, b, c, d] = await Promise.all([freeUdp(), freeUdp(), freeUdp(), freeUdp()]);
  const [orders, api] = await Promise.all([freeTcp(), freeTcp()]);
  const exchange = ["venue", "--udp", "--symbols", "3", "--rate", "1500", "--user", "up:secret", "--group-a", `127.0.0.1:${a}`, "--group-b", `127.0.0.1:${b}`];
  const session = ["play", "--synthetic", "itch50", "--symbols", "5", "--udp", "--rate", "2000", "--group-a", `127.0.0.1:${c}`, "--group-b", `127.0.0.1:${d}`, "--impair", "b:loss=0.01,skew=150us"];
  const once = (args) => {
    const ended = spawnSync(join(programs, "feedplane"), args, { cwd: folder });
    if (ended.status !== 0) throw new Error(`${args.join(" ")}: ${ended.stderr.toString()}`);
  };
  const stop = async () => {
    for (const child of children.reverse()) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGTERM");
      const late = setTimeout(() => child.kill("SIGKILL"), 60_000);
      await ended;
      clearTimeout(late);
    }
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    once([...exchange, "--duration", "1ms", "--feeds-out", "feeds.yaml"]);
    once([...session, "--duration", "1ms", "--feeds-out", "other.yaml"]);
    writeFileSync(join(folder, "up.yaml"), UP(orders, api));
    const up = start("feedplane", ["up", "--config", "up.yaml"]);
    const url = `http://127.0.0.1:${api}`;
    const token = await until("the control plane and its first token", async () => {
      if (up.exitCode !== null) throw new Error(`feedplane up ended: ${lines.slice(-20).join("\n")}`);
      const client = join(folder, "run/controlplane/client.yaml");
      if (!existsSync(client)) return undefined;
      const { token_file: file } = parse(readFileSync(client, "utf8"));
      if (!existsSync(file)) return undefined;
      const secret = readFileSync(file, "utf8").trim();
      return (await answers(`${url}/readyz`)) ? secret : undefined;
    }, () => lines.slice(-20).join("\n"));
    const ask = async (path, options = {}) => {
      const answer = await fetch(`${url}${path}`, { ...options, headers: { Authorization: `Bearer ${token}`, ...options.headers } });
      return { status: answer.status, etag: answer.headers.get("ETag"), body: await answer.json().catch(() => undefined) };
    };
    start("feedplane", [...exchange, "--cancel-on-disconnect", "--order-port", String(orders)]);
    await until("every process to be ready", async () => {
      const { body } = await ask("/v1/status");
      const services = body?.services ?? [];
      return SERVICES.filter((name) => name !== "controlplane" && (name !== "archiver" || postgres())).every((name) => services.some((process) => process.service === name && process.state === "running" && process.ready !== false));
    }, () => lines.slice(-30).join("\n"));
    const other = () => start("feedplane", session);
    const otherFeed = parse(readFileSync(join(folder, "other.yaml"), "utf8")).feeds[0];
    return { url, token, ask, other, otherFeed, folder, said: () => lines.slice(-40).join("\n"), stop, hasArchive: postgres() };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function answers(url) {
  try {
    return (await fetch(url)).ok;
  } catch {
    return false;
  }
}

/** Asks again until there is an answer. */
export async function until(what, done, said = () => "") {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    const found = await done();
    if (found) return found;
    if (Date.now() > end) throw new Error(`waited for ${what}\n${said()}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
