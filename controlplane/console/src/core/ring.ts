/** Bounded memory for a page that stays open for a day: the oldest goes when the newest comes. */

/** The last `capacity` values, oldest first. */
export class Ring<T> {
  readonly #values: T[] = [];
  #first = 0;

  constructor(readonly capacity: number) {
    if (!Number.isInteger(capacity) || capacity < 1) throw new RangeError("a ring holds at least one value");
  }

  get length(): number {
    return this.#values.length;
  }

  push(value: T): void {
    if (this.#values.length < this.capacity) {
      this.#values.push(value);
      return;
    }
    this.#values[this.#first] = value;
    this.#first = (this.#first + 1) % this.capacity;
  }

  last(): T | undefined {
    const count = this.#values.length;
    return count === 0 ? undefined : this.#values[(this.#first + count - 1) % count];
  }

  toArray(): T[] {
    return [...this.#values.slice(this.#first), ...this.#values.slice(0, this.#first)];
  }

  clear(): void {
    this.#values.length = 0;
    this.#first = 0;
  }
}

/** Values over time, several at each moment, for a chart. Seconds and numbers; `null` where there was none. */
export class Series {
  readonly #rows: Ring<{ at: number; values: (number | null)[] }>;

  constructor(
    readonly names: readonly string[],
    capacity: number,
  ) {
    this.#rows = new Ring(capacity);
  }

  get length(): number {
    return this.#rows.length;
  }

  /** A moment that is not after the last one is left out: a chart's axis only goes on. */
  push(at: number, values: (number | null)[]): void {
    const last = this.#rows.last();
    if (last !== undefined && at <= last.at) return;
    this.#rows.push({ at, values });
  }

  /** `[times, first values, second values, …]`. */
  columns(): [number[], ...(number | null)[][]] {
    const rows = this.#rows.toArray();
    const columns = this.names.map((_, index) => rows.map((row) => row.values[index] ?? null));
    return [rows.map((row) => row.at), ...columns];
  }
}
