/** Places in a document, written as the server writes them: `strategies[2].rules.entry[0].when`. */

export type Step = string | number;
export type Path = readonly Step[];

export function pathText(path: Path): string {
  let said = "";
  for (const step of path) {
    if (typeof step === "number") said += `[${step}]`;
    else said += said === "" ? step : `.${step}`;
  }
  return said;
}

/** Reads a place; names may have any character but `.`, `[` and `]`. What cannot be read is one name. */
export function parsePath(said: string): Step[] {
  const steps: Step[] = [];
  for (const part of said.split(".")) {
    const found = /^([^[\]]*)((?:\[\d{1,9}\])*)$/.exec(part);
    if (found === null) return said === "" ? [] : [said];
    const [, name = "", indices = ""] = found;
    if (name !== "") steps.push(name);
    for (const [, index] of indices.matchAll(/\[(\d+)\]/g)) steps.push(Number(index));
  }
  return steps;
}

export function valueAt(value: unknown, path: Path): unknown {
  let at = value;
  for (const step of path) {
    if (Array.isArray(at) && typeof step === "number") at = at[step];
    else if (typeof at === "object" && at !== null && typeof step === "string" && Object.hasOwn(at, step)) {
      at = (at as Record<string, unknown>)[step];
    } else return undefined;
  }
  return at;
}

/** A copy with another value at a place; `undefined` takes it away. What is not on the way is shared with the original. */
export function withValue(value: unknown, path: Path, next: unknown): unknown {
  const [step, ...rest] = path;
  if (step === undefined) return next;
  if (typeof step === "number") {
    const copy = Array.isArray(value) ? [...(value as unknown[])] : [];
    if (rest.length === 0 && next === undefined) copy.splice(step, 1);
    else copy[step] = withValue(copy[step], rest, next);
    return copy;
  }
  const copy = typeof value === "object" && value !== null && !Array.isArray(value) ? { ...(value as object) } : {};
  const own = copy as Record<string, unknown>;
  const inner = withValue(Object.hasOwn(own, step) ? own[step] : undefined, rest, next);
  if (inner === undefined) Reflect.deleteProperty(own, step);
  else Object.defineProperty(own, step, { value: inner, enumerable: true, writable: true, configurable: true });
  return own;
}

/** Whether `place` is `within` or inside of it. */
export function isWithin(place: string, within: string): boolean {
  if (within === "" || place === within) return true;
  return place.startsWith(within) && (place[within.length] === "." || place[within.length] === "[");
}
