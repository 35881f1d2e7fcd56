import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { branchFor, check, initial } from "../src/schema/check";
import { nodeOf } from "../src/schema/model";
import { isWithin, parsePath, pathText, valueAt, withValue } from "../src/schema/path";
import { lineOf, parseText, toYaml } from "../src/schema/text";
import type { Fields } from "../src/core/read";

const schemas = JSON.parse(readFileSync(new URL("../e2e/fixtures/schemas.json", import.meta.url), "utf8")) as Record<string, Fields>;
const strategy = schemas["strategy"] ?? {};
const features = schemas["features"] ?? {};
const feeds = schemas["feeds"] ?? {};
const definition = (root: Fields, name: string): Fields => ({ $ref: `#/$defs/${name}`, ...(root["x"] as object) });

describe("places", () => {
  it.each([
    ["strategies[2].rules.entry[0].when", ["strategies", 2, "rules", "entry", 0, "when"]],
    ["total.position_max", ["total", "position_max"]],
    ["a[0][1]", ["a", 0, 1]],
    ["", []],
  ])("%s are read and written", (said, steps) => {
    expect(parsePath(said)).toEqual(steps);
    expect(pathText(steps)).toBe(said);
  });
  it("that cannot be read are one name", () => {
    expect(parsePath("a[x].b")).toEqual(["a[x].b"]);
  });
  it("are changed without touching the original", () => {
    const before = { a: [{ b: 1 }, { b: 2 }], c: { d: 3 } };
    const after = withValue(before, ["a", 1, "b"], 9) as typeof before;
    expect(after).toEqual({ a: [{ b: 1 }, { b: 9 }], c: { d: 3 } });
    expect(before.a[1]?.b).toBe(2);
    expect(after.c).toBe(before.c);
    expect(withValue(before, ["a", 0], undefined)).toEqual({ a: [{ b: 2 }], c: { d: 3 } });
    expect(withValue(before, ["c", "d"], undefined)).toEqual({ a: [{ b: 1 }, { b: 2 }], c: {} });
  });
  it("do not reach into prototypes", () => {
    expect(valueAt({}, ["__proto__", "toString"])).toBeUndefined();
    const made = withValue({}, ["__proto__", "polluted"], 1) as object;
    expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined();
    expect(Object.hasOwn(made, "__proto__")).toBe(true);
  });
  it("know what is inside of them", () => {
    expect(isWithin("a.b[0]", "a.b")).toBe(true);
    expect(isWithin("a.bc", "a.b")).toBe(false);
    expect(isWithin("x", "")).toBe(true);
  });
});

describe("a schema becomes a form", () => {
  it("with optional things behind anyOf null", () => {
    const line = nodeOf((nodeOf(definition(feeds, "FeedLines"), feeds) as { properties: { schema: Fields }[] }).properties[0]?.schema, feeds);
    expect(line).toMatchObject({ kind: "object", nullable: true, description: "Line A." });
  });
  it("with words as a choice of words", () => {
    expect(nodeOf(definition(feeds, "FeedProtocol"), feeds)).toMatchObject({ kind: "enum", values: [{ value: "mdp3" }, { value: "itch50" }] });
  });
  it("with Rust's enums as tagged shapes", () => {
    const node = nodeOf(definition(strategy, "RuleAction"), strategy);
    expect(node.kind).toBe("choice");
    if (node.kind !== "choice") return;
    expect(node.branches.map((branch) => branch.label)).toEqual(["buy", "sell", "cancel_all", "flatten"]);
    expect(branchFor("cancel_all", node.branches, strategy)?.label).toBe("cancel_all");
    expect(branchFor({ sell: {} }, node.branches, strategy)?.label).toBe("sell");
    expect(branchFor(5, node.branches, strategy)).toBeUndefined();
  });
  it("with lists whose entries have several shapes", () => {
    const node = nodeOf(definition(strategy, "InstrumentChoice"), strategy);
    if (node.kind !== "choice") throw new Error(node.kind);
    expect(branchFor(["AAPL", { publisher_id: 2, instrument_id: 7 }], node.branches, strategy)?.label).toBe("list");
    expect(branchFor("all", node.branches, strategy)?.label).toBe("all");
  });
  it("with what is not understood as text", () => {
    expect(nodeOf({ $ref: "#/$defs/Nowhere" }, {}).kind).toBe("any");
    expect(nodeOf({ $ref: "https://elsewhere/x" }, {}).kind).toBe("any");
    expect(nodeOf({ type: ["string", "integer"] }, {}).kind).toBe("any");
    expect(nodeOf(true, {}).kind).toBe("any");
  });
  it("also when references go in a circle", () => {
    const circle = { $defs: { A: { $ref: "#/$defs/B" }, B: { $ref: "#/$defs/A" }, L: { type: "object", properties: { next: { $ref: "#/$defs/L" } }, required: ["next"] } } };
    expect(nodeOf({ $ref: "#/$defs/A" }, circle).kind).toBe("any");
    expect(() => initial({ $ref: "#/$defs/L" }, circle)).not.toThrow();
  });
  it("for every document, with a first value for every place", () => {
    for (const [name, schema] of Object.entries(schemas)) {
      expect(nodeOf(schema, schema).kind, name).toBe("object");
      const made = initial(schema, schema);
      const wrong = check(made, schema).filter((problem) => !/ipv4|IPv4/.test(problem.message));
      expect(wrong, name).toEqual([]);
    }
  });
});

describe("a document is checked", () => {
  const good = {
    risk: {
      total: { position_max: 1, exposure_max: 1, open_orders_max: 1, messages_per_second: 1, message_burst: 1, drawdown_max: 1 },
      sessions: [{ days: ["monday"], open: "00:00", close: "24:00" }],
    },
    strategies: [],
  };
  it("and nothing is found in a good one", () => {
    expect(check(good, strategy)).toEqual([]);
  });
  it.each([
    [["risk", "total", "position_max"], "many", "risk.total.position_max", "is no number"],
    [["risk", "total", "position_max"], 1.5, "risk.total.position_max", "is no whole number"],
    [["risk", "total", "position_max"], -1, "risk.total.position_max", "is -1; at least 0"],
    [["risk", "total", "position_max"], undefined, "risk.total.position_max", "is missing"],
    [["risk", "total", "position_max"], 2 ** 60, "risk.total.position_max", "is too large for this form; edit it as text"],
    [["risk", "sessions", 0, "days", 0], "mon", "risk.sessions[0].days[0]", "is none of monday"],
    [["shards"], 70_000, "shards", "is 70000; choose 0 to 65535"],
    [["colour"], "red", "colour", "is not known here; take it away"],
    [["strategies"], {}, "strategies", "is no list"],
  ])("%j = %j", (path, value, place, message) => {
    const found = check(withValue(good, path, value), strategy);
    expect(found).toHaveLength(1);
    expect(found[0]?.path).toBe(place);
    expect(found[0]?.message).toContain(message);
  });
  it("and a feature of no kind is named", () => {
    const set = { sets: [{ name: "s", bars: { trades: 10 }, features: ["mid", { sma: { bars: 5 } }, "nonsense"] }] };
    const places = check(set, features).map((problem) => problem.path);
    expect(places.some((place) => place.startsWith("sets[0].features[2]"))).toBe(true);
    expect(places.some((place) => place.startsWith("sets[0].features[1]"))).toBe(false);
  });
  it("and addresses have four parts", () => {
    const line = { group: "239.1.1.300", port: 1 };
    expect(check(line, definition(feeds, "FeedLine"), feeds)).toEqual([{ path: "group", message: expect.stringContaining("IPv4") as unknown }]);
  });
});

describe("a document as text", () => {
  it("comes back as it was", () => {
    const value = { a: [1, "2", { b: null, c: "x: y\n#z" }], d: "1.50", e: true, f: "no" };
    expect(parseText(toYaml(value)).value).toEqual(value);
    expect(parseText(JSON.stringify(value)).value).toEqual(value);
  });
  it("says on which line it cannot be read", () => {
    const { problems, value } = parseText("a: 1\nb: [1, 2\nc: 3\n");
    expect(value).toBeUndefined();
    expect(problems[0]?.line).toBeGreaterThanOrEqual(2);
    expect(parseText("a: 1\na: 2\n").problems[0]?.line).toBe(2);
  });
  it("does not blow up by aliases", () => {
    const bomb = ["a0: &a0 [x, x, x, x, x, x, x, x, x]", ...Array.from({ length: 9 }, (_, i) => `a${i + 1}: &a${i + 1} [${Array(9).fill(`*a${i}`).join(", ")}]`)].join("\n");
    expect(parseText(bomb).value).toBeUndefined();
  });
  it("finds the line of a place, or of what is around it", () => {
    const said = "strategies:\n  - name: a\n    rules:\n      entry: []\n  - name: b\n";
    expect(lineOf(said, "strategies[1].name")).toBe(5);
    expect(lineOf(said, "strategies[0].rules.entry[3].when")).toBe(4);
    expect(lineOf(said, "nowhere")).toBe(1);
    expect(lineOf("{", "a")).toBe(1);
  });
});

describe("the documents of the mock", () => {
  it("are good by the schemas of the services", () => {
    const documents = JSON.parse(readFileSync(new URL("../e2e/fixtures/documents.json", import.meta.url), "utf8")) as Record<string, unknown>;
    for (const [name, document] of Object.entries(documents)) expect(check(document, schemas[name]), name).toEqual([]);
  });
});
