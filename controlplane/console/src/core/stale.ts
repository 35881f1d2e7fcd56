/**
 * How old what is shown is. Ages are counted by this machine's own monotonic clock, from the moment something arrived, plus
 * the age that the sender said it had already: clocks of two machines are never compared.
 */

/** Older than this is stale and says so, ms. */
export const STALE_MS = 2_000;

export interface Arrived<T> {
  readonly value: T;
  /** `performance.now()` when it arrived, ms. */
  readonly at: number;
}

export function ageMs(arrivedAt: number | undefined, now: number, saidMs = 0): number | undefined {
  if (arrivedAt === undefined) return undefined;
  return Math.max(0, now - arrivedAt) + Math.max(0, Number.isFinite(saidMs) ? saidMs : 0);
}

/** What never came is as stale as can be. */
export function isStale(age: number | undefined): boolean {
  return age === undefined || age > STALE_MS;
}

/** `2.4 s`, `3 min`, `never`: for a badge. */
export function ageText(age: number | undefined): string {
  if (age === undefined) return "no data yet";
  if (age < 10_000) return `${(age / 1000).toFixed(1)} s old`;
  if (age < 120_000) return `${Math.floor(age / 1000)} s old`;
  if (age < 7_200_000) return `${Math.floor(age / 60_000)} min old`;
  return `${Math.floor(age / 3_600_000)} h old`;
}
