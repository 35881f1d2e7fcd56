/** Book, tape and features of an instrument, found by its symbol. */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Chart } from "../charts/line";
import { clockTime, compact, digitsOf, group, price, words } from "../core/format";
import { fields, list, number, text, type Fields } from "../core/read";
import { go, place } from "../core/router";
import { ageMs, isStale } from "../core/stale";
import { now, watch, watched, pushFeature, type Watched } from "../core/state";
import { useLoad } from "../ui/load";
import { Age, Empty, PageHead, Panel, Problem, Scroll, State, type Tone } from "../ui/parts";

export function Market(): JSX.Element {
  const [key] = place.value.rest;
  const good = key !== undefined && /^\d{1,5}:\d{1,10}$/.test(key) ? key : undefined;
  useEffect(() => {
    watch(good);
    return () => watch(undefined);
  }, [good]);
  return (
    <>
      <PageHead title="Market" about="Book, trades and features of one instrument." />
      <div class="market">
        <Search chosen={good} />
        {good === undefined ? <Empty>Choose an instrument.</Empty> : <Instrument key={good} id={good} />}
      </div>
    </>
  );
}

function Search({ chosen }: { chosen: string | undefined }): JSX.Element {
  const [query, setQuery] = useState("");
  const [asked, setAsked] = useState("");
  useEffect(() => {
    const timer = setTimeout(() => setAsked(query.trim()), 200);
    return () => clearTimeout(timer);
  }, [query]);
  const loaded = useLoad(`/v1/instruments?limit=50${asked === "" ? "" : `&query=${encodeURIComponent(asked)}`}`);
  const found = list(fields(loaded.answer?.value)["items"]).map(fields);
  return (
    <section class="panel search" aria-label="Instruments">
      <div class="body">
        <label for="instrument-search">
          Symbol <kbd>/</kbd>
        </label>
        <input
          id="instrument-search"
          type="search"
          value={query}
          autocomplete="off"
          spellcheck={false}
          placeholder="AAPL, ES…"
          onInput={(event) => setQuery(event.currentTarget.value)}
          onKeyDown={(event) => {
            const [first] = found;
            if (event.key === "Enter" && first !== undefined) go(`/market/${keyOf(first)}`);
          }}
        />
        <Problem problem={loaded.problem} />
      </div>
      <ul class="instrument-list" aria-label="Found instruments">
        {found.map((instrument) => {
          const id = keyOf(instrument);
          return (
            <li key={id}>
              <a href={`/market/${id}`} aria-current={id === chosen ? "true" : undefined}>
                <strong>{text(instrument["symbol"]) || "(no symbol)"}</strong>
                <span class="muted small">
                  {text(instrument["kind"])} {id}
                </span>
              </a>
            </li>
          );
        })}
        {found.length === 0 && loaded.at !== undefined && <li class="empty">No instrument {asked === "" ? "is defined yet." : `has “${asked}” in its symbol.`}</li>}
      </ul>
    </section>
  );
}

function keyOf(instrument: Fields): string {
  return `${text(instrument["publisher_id"])}:${text(instrument["instrument_id"])}`;
}

function Instrument({ id }: { id: string }): JSX.Element {
  const [publisher = "", instrument = ""] = id.split(":");
  const base = `/v1/instruments/${publisher}/${instrument}`;
  const definition = useLoad(base);
  const firstBook = useLoad(`${base}/book`);
  const firstFeatures = useLoad(`${base}/features?limit=300`);
  const own = fields(definition.answer?.value);
  const current = watched.value;
  useEffect(() => {
    const answer = firstFeatures.answer?.value;
    if (answer === undefined || watched.value?.key !== id) return;
    takePast(watched.value, answer);
    watched.value = { ...watched.value, count: watched.value.count + 1 };
  }, [firstFeatures.answer]);
  const digits = digitsOf(number(own["tick_size"]));
  const live = current?.key === id ? current : undefined;
  const book = live?.book ?? (firstBook.at === undefined ? undefined : { value: fields(firstBook.answer?.value), at: firstBook.at });
  return (
    <div class="instrument">
      <div class="row instrument-head">
        <h2>{text(own["symbol"]) || id}</h2>
        <span class="tag">{text(own["kind"]) || "instrument"}</span>
        <span class="muted small">
          {id}
          {text(own["currency"]) === "" ? "" : ` · ${text(own["currency"])}`}
          {text(own["channel_id"]) === "" ? "" : ` · channel ${text(own["channel_id"])}`}
        </span>
      </div>
      <Problem problem={definition.problem} />
      <div class="book-tape">
        <Book book={book?.value} at={book?.at} digits={digits} problem={firstBook.problem} />
        <Tape current={live} digits={digits} />
      </div>
      <Features current={live} />
    </div>
  );
}

interface Level {
  price: number | undefined;
  size: number;
  orders: number | undefined;
}

function levels(value: unknown): Level[] {
  return list(value)
    .map((entry): Level => {
      const of = fields(entry);
      const orders = number(of["orders"]) ?? 0;
      return { price: number(of["price"]), size: number(of["size"]) ?? 0, orders: orders === 0 ? undefined : orders };
    })
    .slice(0, 10);
}

/** `doubtful` says why; nothing may be traded on it. */
function bookState(book: Fields): { tone: Tone; word: string } {
  const state = text(book["state"]);
  if (state === "good") return { tone: "good", word: "good" };
  if (state === "") return { tone: "calm", word: "" };
  const why = text(book["why"]);
  return { tone: why === "nothing_seen" || why === "behind" ? "warn" : "bad", word: `${state}${why === "" ? "" : `: ${words(why)}`}` };
}

function Book({ book, at, digits, problem }: { book: Fields | undefined; at: number | undefined; digits: number; problem: unknown }): JSX.Element {
  const bids = levels(book?.["bids"]);
  const asks = levels(book?.["asks"]);
  const state = bookState(book ?? {});
  const most = Math.max(1, ...bids.map((level) => level.size), ...asks.map((level) => level.size));
  const rows = Array.from({ length: 10 }, (_, index) => index);
  const [bid, ask] = [bids[0]?.price, asks[0]?.price];
  return (
    <Panel
      title="Book"
      aged
      at={at}
      flush
      actions={state.word !== "" && <State tone={state.tone}>{state.word}</State>}
    >
      {book === undefined && problem !== undefined && <Problem problem={problem} />}
      <div class="touch">
        <span class="bid">{price(bid, digits)}</span>
        <span class="muted small">{bid !== undefined && ask !== undefined ? `spread ${price(Math.round((ask - bid) * 1e9) / 1e9, digits)}` : "no two sides"}</span>
        <span class="ask">{price(ask, digits)}</span>
      </div>
      <table class="ladder">
        <thead>
          <tr>
            <th class="number">Orders</th>
            <th class="number">Size</th>
            <th class="number">Bid</th>
            <th>Ask</th>
            <th>Size</th>
            <th>Orders</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((index) => {
            const b = bids[index];
            const a = asks[index];
            return (
              <tr key={index}>
                <td class="number muted">{b?.orders ?? ""}</td>
                <td class="number">{b === undefined ? "" : compact(b.size)}</td>
                <td class="number depth bid">
                  {b !== undefined && <span class="depth-bar bid" style={{ width: `${(b.size / most) * 100}%` }} />}
                  <strong>{b === undefined ? "" : price(b.price, digits)}</strong>
                </td>
                <td class="depth ask">
                  {a !== undefined && <span class="depth-bar ask" style={{ width: `${(a.size / most) * 100}%` }} />}
                  <strong>{a === undefined ? "" : price(a.price, digits)}</strong>
                </td>
                <td>{a === undefined ? "" : compact(a.size)}</td>
                <td class="muted">{a?.orders ?? ""}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </Panel>
  );
}

function Tape({ current, digits }: { current: Watched | undefined; digits: number }): JSX.Element {
  const trades = current?.trades.toArray().reverse().slice(0, 60) ?? [];
  return (
    <Panel title="Tape" class="tape" flush actions={<TapeAge at={current?.tapeAt} />}>
      {trades.length === 0 ? (
        <Empty>No trade was seen yet.</Empty>
      ) : (
        <Scroll label="Last trades" tall>
          <table>
            <thead>
              <tr>
                <th>Time</th>
                <th class="number">Price</th>
                <th class="number">Size</th>
                <th>Aggressor</th>
              </tr>
            </thead>
            <tbody>
              {trades.map((trade, index) => {
                const buy = trade["aggressor"] === "buy";
                const sell = trade["aggressor"] === "sell";
                return (
                  <tr key={`${text(trade["ts_recv_ns"])} ${trades.length - index}`}>
                    <td class="nowrap">{clockTime(number(trade["ts_recv_ns"]))}</td>
                    <td class={`number ${buy ? "bid" : sell ? "ask" : ""}`}>
                      <strong>{price(number(trade["price"]), digits)}</strong>
                    </td>
                    <td class="number">{group(number(trade["size"]))}</td>
                    <td>{buy ? "▲ buyer" : sell ? "▼ seller" : "–"}</td>
                  </tr>
                );
              })}
            </tbody>
          </table>
        </Scroll>
      )}
    </Panel>
  );
}

/** Trades come when there are some: the time since the last is said, and is no fault. */
function TapeAge({ at }: { at: number | undefined }): JSX.Element {
  const age = ageMs(at, now.value);
  if (at === undefined) return <span class="muted small">no trade yet</span>;
  return isStale(age) ? <span class="muted small">last news {Math.floor((age ?? 0) / 1000)} s ago</span> : <Age at={at} />;
}

/** The past as the API gives it, newest first: `{sets: [{set, names, points: [{time_ns, values}]}]}`. */
export function takePast(current: Watched, answer: unknown): void {
  for (const of of list(fields(answer)["sets"]).map(fields)) {
    const names = list(of["names"]).map(text);
    for (const point of list(of["points"]).map(fields).reverse()) {
      const ns = number(point["time_ns"]);
      if (ns === undefined) continue;
      const values = list(point["values"]);
      names.forEach((name, index) => pushFeature(current, `${text(of["set"])}.${name}`, ns / 1e9, number(values[index]) ?? null));
    }
  }
}

function Features({ current }: { current: Watched | undefined }): JSX.Element {
  const names = [...(current?.past.keys() ?? [])].sort();
  const ats = [...(current?.features.values() ?? [])].map((entry) => entry.at);
  const at = ats.length === 0 ? undefined : Math.max(...ats);
  return (
    <Panel title="Features over time" aged at={at}>
      {names.length === 0 ? (
        <Empty>No feature of this instrument was computed yet.</Empty>
      ) : (
        <div class="grid three">
          {names.map((name) => {
            const series = current?.past.get(name);
            return series === undefined ? null : (
              <Chart key={name} label={`${name} over time`} height={130} lines={[{ name, colour: "--accent" }]} data={series.columns()} />
            );
          })}
        </div>
      )}
    </Panel>
  );
}
