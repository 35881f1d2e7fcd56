/** Orders, positions, denials and limits. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { clockTime, dateTime, group, words } from "../core/format";
import { fields, list, number, text, type Fields } from "../core/read";
import { place } from "../core/router";
import { useLoad } from "../ui/load";
import { Empty, Note, PageHead, Panel, Problem, Scroll, State, type Tone } from "../ui/parts";
import { Limits } from "./limits";

const TABS = [
  ["orders", "Orders"],
  ["positions", "Positions"],
  ["denials", "Denials"],
  ["limits", "Limits"],
] as const;

export function TradingPage(): JSX.Element {
  const [asked = "orders"] = place.value.rest;
  const tab = TABS.find(([known]) => known === asked)?.[0] ?? "orders";
  return (
    <>
      <PageHead title="Trading" />
      <nav class="tabs" aria-label="Trading">
        {TABS.map(([id, title]) => (
          <a key={id} href={`/trading/${id}`} aria-current={tab === id ? "page" : undefined}>
            {title}
          </a>
        ))}
      </nav>
      {tab === "orders" && <Orders />}
      {tab === "positions" && <Positions />}
      {tab === "denials" && <Denials />}
      {tab === "limits" && <Limits />}
    </>
  );
}

const ORDER_TONES: Record<string, Tone> = {
  instructed: "calm",
  sent: "calm",
  open: "good",
  unknown: "bad",
  filled: "good",
  cancelled: "calm",
  replaced: "calm",
  denied: "warn",
  rejected: "warn",
  dropped: "warn",
};

function Orders(): JSX.Element {
  const [openOnly, setOpenOnly] = useState(false);
  const loaded = useLoad(`/v1/orders?limit=200${openOnly ? "&state=open" : ""}`, 1_000);
  const orders = list(fields(loaded.answer?.value)["items"]).map(fields);
  return (
    <>
      <Problem problem={loaded.problem} />
      <Panel
        title="Orders: open ones first"
        aged
        at={loaded.at}
        flush
        actions={
          <div class="segments" role="group" aria-label="Which orders">
            <button type="button" aria-pressed={!openOnly} onClick={() => setOpenOnly(false)}>
              All
            </button>
            <button type="button" aria-pressed={openOnly} onClick={() => setOpenOnly(true)}>
              Open
            </button>
          </div>
        }
      >
        {orders.length === 0 ? (
          <Empty>{loaded.at === undefined ? "Reading …" : openOnly ? "No order is open." : "No order yet."}</Empty>
        ) : (
          <Scroll label="Orders" tall>
            <table>
              <thead>
                <tr>
                  <th>Changed</th>
                  <th>State</th>
                  <th>Symbol</th>
                  <th>Side</th>
                  <th class="number">Quantity</th>
                  <th class="number">Price</th>
                  <th class="number">Filled</th>
                  <th class="number">Open</th>
                  <th>Strategy</th>
                  <th>Venue</th>
                  <th>Id</th>
                  <th>Why</th>
                </tr>
              </thead>
              <tbody>
                {orders.map((order) => (
                  <OrderRow key={text(order["id"])} order={order} />
                ))}
              </tbody>
            </table>
          </Scroll>
        )}
      </Panel>
    </>
  );
}

function OrderRow({ order }: { order: Fields }): JSX.Element {
  const state = text(order["state"]);
  const side = text(order["side"]);
  const reason = [text(order["reason"]), text(order["text"])].filter((said) => said !== "").join(": ");
  return (
    <tr>
      <td class="nowrap">{clockTime(number(order["time_ns"]))}</td>
      <td>
        <State tone={ORDER_TONES[state] ?? "calm"}>{words(state)}</State>
      </td>
      <td>
        <a href={`/market/${text(order["publisher_id"])}:${text(order["instrument_id"])}`}>{text(order["symbol"]) || `${text(order["publisher_id"])}:${text(order["instrument_id"])}`}</a>
      </td>
      <td class={`nowrap ${side === "buy" ? "bid" : "ask"}`}>
        <strong>{words(side) || "–"}</strong>
      </td>
      <td class="number">{group(number(order["quantity"]))}</td>
      <td class="number">{text(order["price"]) || "–"}</td>
      <td class="number">{group(number(order["filled"]))}</td>
      <td class="number">{group(number(order["leaves"]))}</td>
      <td>{text(order["strategy"])}</td>
      <td>{text(order["venue"])}</td>
      <td class="mono">{text(order["id"])}</td>
      <td class="break reason-cell">{reason}</td>
    </tr>
  );
}

function Positions(): JSX.Element {
  const loaded = useLoad("/v1/positions", 1_000);
  const own = fields(loaded.answer?.value);
  const positions = list(own["items"]).map(fields);
  const missing = number(own["missing_reports"]) ?? 0;
  const left = number(own["trades_left_out"]) ?? 0;
  return (
    <>
      <Problem problem={loaded.problem} />
      {text(own["problem"]) !== "" && <Note tone="bad">Orders cannot be followed: {text(own["problem"])}</Note>}
      {own["is_current"] === false && <Note tone="warn">What was done before is still being read: positions may change by it.</Note>}
      {missing + left > 0 && (
        <Note tone="warn">
          Positions may be wrong: {group(missing)} reports are missing, {group(left)} trades are in no position.
        </Note>
      )}
      <Panel title="Positions by strategy and instrument" aged at={loaded.at} flush>
        {positions.length === 0 ? (
          <Empty>{loaded.at === undefined ? "Reading …" : "No trade yet."}</Empty>
        ) : (
          <Scroll label="Positions" tall>
            <table>
              <thead>
                <tr>
                  <th>Strategy</th>
                  <th>Symbol</th>
                  <th class="number">Position</th>
                  <th class="number">Bought</th>
                  <th class="number">at</th>
                  <th class="number">Sold</th>
                  <th class="number">at</th>
                  <th class="number">Trades</th>
                  <th>Venue</th>
                  <th>Last change</th>
                </tr>
              </thead>
              <tbody>
                {positions.map((held) => {
                  const size = number(held["position"]) ?? 0;
                  return (
                    <tr key={`${text(held["strategy"])} ${text(held["publisher_id"])} ${text(held["instrument_id"])}`}>
                      <td>
                        <strong>{text(held["strategy"])}</strong>
                      </td>
                      <td>
                        <a href={`/market/${text(held["publisher_id"])}:${text(held["instrument_id"])}`}>{text(held["symbol"]) || text(held["instrument_id"])}</a>
                      </td>
                      <td class={`number ${size > 0 ? "bid" : size < 0 ? "ask" : ""}`}>
                        <strong>
                          {size > 0 ? "long " : size < 0 ? "short " : ""}
                          {group(Math.abs(size))}
                        </strong>
                      </td>
                      <td class="number">{group(number(held["bought"]))}</td>
                      <td class="number">{text(held["bought_at"]) || "–"}</td>
                      <td class="number">{group(number(held["sold"]))}</td>
                      <td class="number">{text(held["sold_at"]) || "–"}</td>
                      <td class="number">{group(number(held["trades"]))}</td>
                      <td>{text(held["venue"])}</td>
                      <td class="nowrap">{dateTime(number(held["time_ns"]))}</td>
                    </tr>
                  );
                })}
              </tbody>
            </table>
          </Scroll>
        )}
      </Panel>
    </>
  );
}

function Denials(): JSX.Element {
  const loaded = useLoad("/v1/denials", 1_000);
  const own = fields(loaded.answer?.value);
  const reasons = list(own["reasons"]).map(fields);
  const last = list(own["items"]).map(fields);
  const most = Math.max(1, ...reasons.map((reason) => number(reason["count"]) ?? 0));
  return (
    <div class="stack">
      <Problem problem={loaded.problem} />
      <Panel title="By reason" aged at={loaded.at}>
        {reasons.length === 0 ? (
          <Empty>{loaded.at === undefined ? "Reading …" : "Nothing was denied."}</Empty>
        ) : (
          <ul class="bars">
            {[...reasons]
              .sort((x, y) => (number(y["count"]) ?? 0) - (number(x["count"]) ?? 0))
              .map((reason) => (
                <li key={`${text(reason["denied_by"])} ${text(reason["reason"])}`}>
                  <span>
                    {words(text(reason["reason"]))} <span class="muted small">by {text(reason["denied_by"])}</span>
                  </span>
                  <span class="bar-track">
                    <span class="bar-fill" style={{ width: `${((number(reason["count"]) ?? 0) / most) * 100}%` }} />
                  </span>
                  <strong class="number">{group(number(reason["count"]))}</strong>
                </li>
              ))}
          </ul>
        )}
      </Panel>
      <Panel title="The last ones" aged at={loaded.at} flush>
        {last.length === 0 ? (
          <Empty>{loaded.at === undefined ? "Reading …" : "None."}</Empty>
        ) : (
          <Scroll label="Denials" tall>
            <table>
              <thead>
                <tr>
                  <th>Time</th>
                  <th>Reason</th>
                  <th>Value and limit</th>
                  <th>Strategy</th>
                  <th>Symbol</th>
                  <th>By</th>
                  <th>Id</th>
                </tr>
              </thead>
              <tbody>
                {last.map((denial, index) => (
                  <tr key={`${text(denial["id"])} ${text(denial["time_ns"])} ${index}`}>
                    <td class="nowrap">{clockTime(number(denial["time_ns"]))}</td>
                    <td>
                      <State tone="warn">{words(text(denial["reason"]))}</State>
                    </td>
                    <td class="break">{text(denial["text"])}</td>
                    <td>{text(denial["strategy"])}</td>
                    <td>{text(denial["symbol"])}</td>
                    <td>{text(denial["denied_by"])}</td>
                    <td class="mono">{text(denial["id"])}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </Scroll>
        )}
      </Panel>
    </div>
  );
}

