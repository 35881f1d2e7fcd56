/** Numbers, times and words as people read them. Fixed widths where a number changes in place. */

const DASH = "–";

/** 1234567 → `1.23 M`: three digits, so that a rate does not jump about. */
export function compact(value: number | undefined | null): string {
  if (value === undefined || value === null || !Number.isFinite(value)) return DASH;
  const size = Math.abs(value);
  for (const [limit, unit] of [[1e9, "G"], [1e6, "M"], [1e4, "k"]] as const) {
    if (size >= limit) return `${digits3(value / (limit === 1e4 ? 1e3 : limit))} ${unit}`;
  }
  return size >= 100 || Number.isInteger(value) ? group(Math.round(value)) : digits3(value);
}

function digits3(value: number): string {
  const size = Math.abs(value);
  return value.toFixed(size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2);
}

/** 1234567 → `1,234,567`. */
export function group(value: number | undefined | null): string {
  if (value === undefined || value === null || !Number.isFinite(value)) return DASH;
  return value.toLocaleString("en-US", { maximumFractionDigits: 9 });
}

export function rate(value: number | undefined | null): string {
  return value === undefined || value === null ? DASH : `${compact(value)}/s`;
}

/** Nanoseconds → `412 ns`, `3.4 µs`, `12 ms`, `1.2 s`. */
export function nanoseconds(ns: number | undefined | null): string {
  if (ns === undefined || ns === null || !Number.isFinite(ns)) return DASH;
  const size = Math.abs(ns);
  if (size < 1e3) return `${Math.round(ns)} ns`;
  if (size < 1e6) return `${digits3(ns / 1e3)} µs`;
  if (size < 1e9) return `${digits3(ns / 1e6)} ms`;
  return duration(ns / 1e6);
}

/** Milliseconds → `12 ms`, `1.2 s`, `3 min 10 s`, `2 h 5 min`, `3 d 4 h`. */
export function duration(ms: number | undefined | null): string {
  if (ms === undefined || ms === null || !Number.isFinite(ms)) return DASH;
  const size = Math.abs(ms);
  if (size < 10 && !Number.isInteger(ms)) return `${ms.toFixed(1)} ms`;
  if (size < 1000) return `${Math.round(ms)} ms`;
  if (size < 10_000) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  if (Math.abs(seconds) < 60) return `${seconds} s`;
  const minutes = Math.trunc(seconds / 60);
  if (Math.abs(minutes) < 60) return `${minutes} min ${Math.abs(seconds % 60)} s`;
  const hours = Math.trunc(minutes / 60);
  if (Math.abs(hours) < 48) return `${hours} h ${Math.abs(minutes % 60)} min`;
  return `${Math.trunc(hours / 24)} d ${Math.abs(hours % 24)} h`;
}

/** Nanoseconds since the epoch → `14:03:05.123`, local time. */
export function clockTime(ns: number | undefined | null, fraction = true): string {
  const date = dateOf(ns);
  if (date === undefined) return DASH;
  const two = (part: number): string => String(part).padStart(2, "0");
  const seconds = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  return fraction ? `${seconds}.${String(date.getMilliseconds()).padStart(3, "0")}` : seconds;
}

/** Nanoseconds since the epoch → `2026-11-27 14:03:05`, local time. */
export function dateTime(ns: number | undefined | null): string {
  const date = dateOf(ns);
  if (date === undefined) return DASH;
  const two = (part: number): string => String(part).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${clockTime(ns, false)}`;
}

function dateOf(ns: number | undefined | null): Date | undefined {
  if (ns === undefined || ns === null || !Number.isFinite(ns) || ns <= 0) return undefined;
  const date = new Date(ns / 1e6);
  return Number.isNaN(date.getTime()) ? undefined : date;
}

/** A price with as many digits as its step has, at least two. */
export function price(value: number | undefined | null, digits = 2): string {
  if (value === undefined || value === null || !Number.isFinite(value)) return DASH;
  return value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: Math.max(digits, 9) });
}

/** Digits after the point that a step needs: 0.25 → 2, 0.001 → 3. */
export function digitsOf(step: number | undefined): number {
  if (step === undefined || !(step > 0)) return 2;
  for (let digits = 0; digits <= 9; digits += 1) {
    if (Math.abs(step * 10 ** digits - Math.round(step * 10 ** digits)) < 1e-6) return Math.max(2, digits);
  }
  return 9;
}

export function percent(share: number | undefined | null): string {
  if (share === undefined || share === null || !Number.isFinite(share)) return DASH;
  const value = share * 100;
  return `${value >= 99.95 || value === 0 ? value.toFixed(0) : value.toFixed(1)} %`;
}

/** `malformed_by_reason` → `malformed by reason`. */
export function words(name: string): string {
  return name.replaceAll("_", " ");
}

/** Any JSON value on one line, cut when it is long. */
export function brief(value: unknown, most = 120): string {
  const said = typeof value === "string" ? value : (JSON.stringify(value) ?? DASH);
  return said.length > most ? `${said.slice(0, most - 1)}…` : said;
}
