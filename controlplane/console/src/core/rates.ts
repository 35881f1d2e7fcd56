/** Rates of counters, from one status to the next by the data plane's own clock, and their last minutes. */

import type { Channel, Dataplane } from "./model";
import { Ring } from "./ring";

export interface LineRates {
  packets: number;
  won: number;
}
export interface ChannelRates {
  a: LineRates;
  b: LineRates;
  sequences: number;
}

const PAST = 240;
const CHANNELS_MAX = 1_024;

export class Rates {
  /** By worker and channel. */
  readonly channels = new Map<string, ChannelRates>();
  readonly past = new Map<string, { a: Ring<number>; b: Ring<number> }>();
  received = 0;
  /** Ticks that Redis has acknowledged. */
  published = 0;
  #before: Dataplane | undefined;

  static key(channel: Channel): string {
    return `${channel.worker}/${channel.id}`;
  }

  take(now: Dataplane): void {
    const before = this.#before;
    const seconds = before === undefined ? 0 : (now.timeNs - before.timeNs) / 1e9;
    if (before !== undefined && seconds <= 0 && now.timeNs >= before.timeNs) return;
    this.#before = now;
    const there = new Set(now.channels.map(Rates.key));
    for (const known of this.channels.keys()) {
      if (there.has(known)) continue;
      this.channels.delete(known);
      this.past.delete(known);
    }
    // A clock that went back or a count that fell is a data plane that was started again: it begins anew.
    if (before === undefined || seconds <= 0 || seconds > 60) return;
    const per = (later: number, earlier: number): number => (later >= earlier ? (later - earlier) / seconds : 0);
    const sum = (of: Dataplane): number => of.workers.reduce((total, worker) => total + worker.received, 0);
    this.received = per(sum(now), sum(before));
    this.published = per(now.publisher["published"] ?? 0, before.publisher["published"] ?? 0);
    const earlier = new Map(before.channels.map((channel) => [Rates.key(channel), channel]));
    for (const channel of now.channels.slice(0, CHANNELS_MAX)) {
      const key = Rates.key(channel);
      const old = earlier.get(key);
      if (old === undefined) continue;
      const rates: ChannelRates = {
        a: { packets: per(channel.a.packets, old.a.packets), won: per(channel.a.won, old.a.won) },
        b: { packets: per(channel.b.packets, old.b.packets), won: per(channel.b.won, old.b.won) },
        sequences: per(channel.sequences, old.sequences),
      };
      this.channels.set(key, rates);
      let past = this.past.get(key);
      if (past === undefined) {
        past = { a: new Ring(PAST), b: new Ring(PAST) };
        this.past.set(key, past);
      }
      past.a.push(rates.a.packets);
      past.b.push(rates.b.packets);
    }
  }
}
