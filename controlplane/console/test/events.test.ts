import { describe, expect, it } from "vitest";
import { EventParser, type ServerEvent } from "../src/events/parser";
import { backoffMs, openStream, type Connection } from "../src/events/stream";

const bytes = (said: string): Uint8Array => new TextEncoder().encode(said);

function parse(chunks: Uint8Array[], most?: number): { events: ServerEvent[]; comments: number; dropped: number } {
  const events: ServerEvent[] = [];
  let comments = 0;
  const parser = new EventParser((event) => events.push(event), () => (comments += 1), most);
  for (const chunk of chunks) parser.push(chunk);
  return { events, comments, dropped: parser.dropped };
}

describe("the event parser", () => {
  it("reads events, comments and several lines of data", () => {
    const { events, comments } = parse([bytes(': hello\n\nevent: status\ndata: {"a":1}\n\ndata: x\ndata: y\nid: 7\n\n')]);
    expect(comments).toBe(1);
    expect(events).toEqual([
      { name: "status", data: '{"a":1}', id: "" },
      { name: "message", data: "x\ny", id: "7" },
    ]);
  });
  it("reads the same however the bytes are cut", () => {
    const whole = bytes('event: bóok\r\ndata: "€ 5"\r\n\r\nevent: tape\rdata: 1\r\rdata: z\n\n');
    const expected = parse([whole]).events;
    expect(expected.map((event) => event.name)).toEqual(["bóok", "tape", "message"]);
    for (let size = 1; size < whole.length; size += 1) {
      const chunks = [];
      for (let at = 0; at < whole.length; at += size) chunks.push(whole.slice(at, at + size));
      expect(parse(chunks).events).toEqual(expected);
    }
  });
  it("does not give out an event that the end cut off", () => {
    expect(parse([bytes("event: status\ndata: 1\n")]).events).toEqual([]);
  });
  it("drops a line without an end, counts it, and reads on", () => {
    const chunk = bytes("x".repeat(1000));
    const { events, dropped } = parse([bytes("data: "), ...Array.from({ length: 50 }, () => chunk), bytes("\n\ndata: next\n\n")], 10_000);
    expect(events).toEqual([{ name: "message", data: "next", id: "" }]);
    expect(dropped).toBe(1);
  });
  it("drops an event of endless lines, counts it, and reads on", () => {
    const { events, dropped } = parse([bytes("data: 1234567890\n".repeat(2000)), bytes("\nevent: a\ndata: 1\n\n")], 1_000);
    expect(events).toEqual([{ name: "a", data: "1", id: "" }]);
    expect(dropped).toBe(1);
  });
  it("takes broken UTF-8, zeros and unknown fields without stopping", () => {
    const broken = new Uint8Array([...bytes("data: "), 0xff, 0xfe, 0x00, ...bytes("\nretry: 1\nnonsense\nid: a\0b\n\n")]);
    const { events } = parse([broken, bytes("data: 2\n\n")]);
    expect(events).toHaveLength(2);
    expect(events[0]?.id).toBe("");
  });
  it("survives random bytes", () => {
    let seed = 1;
    const next = (): number => (seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648);
    const alphabet = [10, 13, 58, 32, 100, 97, 116, 97, 0, 255, 195, 101];
    for (let round = 0; round < 300; round += 1) {
      const chunks = Array.from({ length: 8 }, () => Uint8Array.from({ length: next() % 40 }, () => alphabet[next() % alphabet.length] ?? 0));
      const { events } = parse([...chunks, bytes("\n\n\ndata: end\n\n")]);
      expect(events.at(-1)?.data).toBe("end");
    }
  });
});

describe("the event stream", () => {
  it("waits longer and longer, at most eight seconds", () => {
    expect(backoffMs(0, 0)).toBe(250);
    expect(backoffMs(3, 0)).toBe(2_000);
    expect(backoffMs(50, 0)).toBe(8_000);
    expect(backoffMs(50, 1)).toBe(4_000);
  });
  it("connects again after an end, and says so", async () => {
    const states: Connection["state"][] = [];
    const names: string[] = [];
    let calls = 0;
    const fake = (() => {
      calls += 1;
      if (calls === 2) return Promise.resolve(new Response("no", { status: 503 }));
      return Promise.resolve(new Response(`event: e${calls}\ndata: 1\n\n`));
    }) as unknown as typeof fetch;
    await new Promise<void>((resolve) => {
      const close = openStream({
        path: "/v1/events",
        token: "t",
        fetch: fake,
        random: () => 1,
        onEvent: (event) => {
          names.push(event.name);
          if (names.length === 2) {
            close();
            resolve();
          }
        },
        onState: (state) => states.push(state.state),
      });
    });
    expect(names).toEqual(["e1", "e3"]);
    expect(states.slice(0, 4)).toEqual(["connecting", "open", "waiting", "waiting"]);
    expect(states.at(-1)).toBe("closed");
  });
  it("does not try again with a token that was refused", async () => {
    const states: Connection[] = [];
    let calls = 0;
    const fake = (() => Promise.resolve(new Response("", { status: 401 + 0 * (calls += 1) }))) as unknown as typeof fetch;
    openStream({ path: "/", token: "t", fetch: fake, onEvent: () => undefined, onState: (state) => states.push(state) });
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(states.at(-1)).toMatchObject({ state: "refused", status: 401 });
    expect(calls).toBe(1);
  });
});
