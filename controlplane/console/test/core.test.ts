import { describe, expect, it } from "vitest";
import { Ring, Series } from "../src/core/ring";
import * as format from "../src/core/format";
import { hasUnsafeInteger, number, numbers, fields, list } from "../src/core/read";
import { ageMs, ageText, isStale, STALE_MS } from "../src/core/stale";
import { ApiProblem, asker } from "../src/core/api";

describe("rings", () => {
  it("keep the newest and forget the oldest", () => {
    const ring = new Ring<number>(3);
    for (let value = 0; value < 10; value += 1) ring.push(value);
    expect(ring.toArray()).toEqual([7, 8, 9]);
    expect(ring.last()).toBe(9);
    expect(ring.length).toBe(3);
    ring.clear();
    expect([ring.length, ring.last()]).toEqual([0, undefined]);
  });
  it("stay at their size for a day of values", () => {
    const series = new Series(["a", "b"], 600);
    for (let tick = 0; tick < 172_800; tick += 1) series.push(tick / 2, [tick, null]);
    const [times, a, b] = series.columns();
    expect(times).toHaveLength(600);
    expect(a?.at(-1)).toBe(172_799);
    expect(b?.every((value) => value === null)).toBe(true);
  });
  it("leave out a moment that is not later than the last", () => {
    const series = new Series(["a"], 10);
    for (const at of [1, 2, 2, 1.5, 3]) series.push(at, [at]);
    expect(series.columns()[0]).toEqual([1, 2, 3]);
  });
  it("of no size are refused", () => {
    expect(() => new Ring(0)).toThrow(RangeError);
  });
});

describe("numbers are written", () => {
  it.each([
    [undefined, "–"],
    [Number.NaN, "–"],
    [0, "0"],
    [7, "7"],
    [0.25, "0.25"],
    [999, "999"],
    [9_999, "9,999"],
    [26_556, "26.6 k"],
    [1_234_567, "1.23 M"],
    [-2_500_000, "-2.50 M"],
    [3.2e9, "3.20 G"],
  ])("%s as %s", (value, said) => {
    expect(format.compact(value)).toBe(said);
  });
  it.each([
    [0, "0 ns"],
    [412, "412 ns"],
    [3_400, "3.40 µs"],
    [12_000_000, "12.0 ms"],
    [1_200_000_000, "1.2 s"],
  ])("%s ns as %s", (value, said) => {
    expect(format.nanoseconds(value)).toBe(said);
  });
  it.each([
    [0.4, "0.4 ms"],
    [12, "12 ms"],
    [1_200, "1.2 s"],
    [59_600, "1 min 0 s"],
    [190_000, "3 min 10 s"],
    [7_500_000, "2 h 5 min"],
    [273_600_000, "3 d 4 h"],
    [undefined, "–"],
  ])("%s ms as %s", (value, said) => {
    expect(format.duration(value)).toBe(said);
  });
  it("prices with the digits of their step", () => {
    expect(format.digitsOf(0.25)).toBe(2);
    expect(format.digitsOf(0.001)).toBe(3);
    expect(format.digitsOf(1)).toBe(2);
    expect(format.digitsOf(undefined)).toBe(2);
    expect(format.price(5000.5, 2)).toBe("5,000.50");
    expect(format.price(undefined)).toBe("–");
  });
  it("times of no date as a dash", () => {
    expect(format.clockTime(0)).toBe("–");
    expect(format.clockTime(Number.MAX_VALUE)).toBe("–");
    expect(format.dateTime(-1)).toBe("–");
    expect(format.clockTime(1.7e18)).toMatch(/^\d\d:\d\d:\d\d\.\d{3}$/);
  });
});

describe("JSON of a wrong shape", () => {
  it("is read as nothing", () => {
    expect(fields([1])).toEqual({});
    expect(fields(null)).toEqual({});
    expect(list({ length: 3 })).toEqual([]);
    expect(number("12.5")).toBe(12.5);
    expect(number("")).toBeUndefined();
    expect(number("1e999")).toBeUndefined();
    expect(numbers({ a: 1, b: "x", c: null, d: "2" })).toEqual({ a: 1, d: 2 });
  });
  it("with a number that a browser rounds is known", () => {
    expect(hasUnsafeInteger('{"a": 9007199254740993}')).toBe(true);
    expect(hasUnsafeInteger('{"a": 9007199254740991}')).toBe(false);
    expect(hasUnsafeInteger('{"a": "9007199254740993"}')).toBe(false);
    expect(hasUnsafeInteger('{"a": "x\\"9007199254740993"}')).toBe(false);
    expect(hasUnsafeInteger('{"a": 0.12345678901234567}')).toBe(false);
  });
});

describe("what is older than two seconds", () => {
  it("is stale, and what never came, too", () => {
    expect(isStale(undefined)).toBe(true);
    expect(isStale(STALE_MS)).toBe(false);
    expect(isStale(STALE_MS + 1)).toBe(true);
  });
  it("counts the age that the sender said", () => {
    expect(ageMs(1_000, 1_500, 4_000)).toBe(4_500);
    expect(ageMs(1_000, 900)).toBe(0);
    expect(ageMs(undefined, 900)).toBeUndefined();
    expect(ageMs(1_000, 1_500, Number.NaN)).toBe(500);
  });
  it("says its age", () => {
    expect(ageText(2_410)).toBe("2.4 s old");
    expect(ageText(61_000)).toBe("61 s old");
    expect(ageText(600_000)).toBe("10 min old");
    expect(ageText(undefined)).toBe("no data yet");
  });
});

describe("requests", () => {
  const answer = (status: number, body: string, headers: Record<string, string> = {}): typeof fetch =>
    (() => Promise.resolve(new Response(status === 204 ? null : body, { status, headers }))) as unknown as typeof fetch;
  it("give the problem with its fields and the current version", async () => {
    const body = JSON.stringify({ title: "Changed meanwhile", detail: "version 4 is current", current_version: 4, errors: [{ path: "a[0].b", message: "is 0" }, 7] });
    const ask = asker("t", () => undefined, answer(412, body, { "Content-Type": "application/problem+json" }));
    const error = await ask("/v1/x").catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(ApiProblem);
    expect(error).toMatchObject({ status: 412, currentVersion: 4, errors: [{ path: "a[0].b", message: "is 0" }, { path: "", message: "" }] });
  });
  it("survive an answer that is no JSON", async () => {
    const ask = asker("t", () => undefined, answer(502, "<html>bad gateway</html>"));
    await expect(ask("/v1/x")).rejects.toMatchObject({ status: 502 });
    const broken = asker("t", () => undefined, answer(200, "{", { "Content-Type": "application/json" }));
    await expect(broken("/v1/x")).rejects.toMatchObject({ title: "No JSON" });
  });
  it("tell when the token is not good", async () => {
    let told = 0;
    const ask = asker("t", () => (told += 1), answer(401, "{}"));
    await expect(ask("/v1/x")).rejects.toMatchObject({ status: 401 });
    expect(told).toBe(1);
  });
  it("say when nobody answers", async () => {
    const ask = asker("t", () => undefined, (() => Promise.reject(new TypeError("x"))) as unknown as typeof fetch);
    await expect(ask("/v1/x")).rejects.toMatchObject({ status: 0 });
  });
});
