/** Lines A and B of each channel: who wins, by how much, what is missing and what was refused. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { LeadHistogram } from "../charts/lead";
import { compact, group, nanoseconds, percent, rate, words } from "../core/format";
import type { Channel, LineState } from "../core/model";
import { Rates } from "../core/rates";
import { rates, status } from "../core/state";
import { Empty, PageHead, Panel, Scroll, Spark, State, type Tone } from "../ui/parts";

export function Channels(): JSX.Element {
  const seen = status.value;
  const dataplane = seen?.value.dataplane;
  const said = dataplane?.ageMs ?? 0;
  const channels = [...(dataplane?.channels ?? [])].sort((x, y) => x.id - y.id);
  const many = channels.length > PANELS_MAX;
  const [open, setOpen] = useState<Set<string>>(new Set());
  const toggle = (key: string): void => {
    const next = new Set(open);
    if (!next.delete(key)) next.add(key);
    setOpen(next);
  };
  return (
    <>
      <PageHead title="Channels" about="The same messages come on two lines; the first copy of each packet wins.">
        <a class="button" href="/config/feeds">
          Configure feeds
        </a>
      </PageHead>
      {dataplane === undefined && <Empty>No data plane has told its state yet.</Empty>}
      {dataplane !== undefined && channels.length === 0 && (
        <Empty>
          The data plane has no feed. <a href="/config/feeds">Add one</a>.
        </Empty>
      )}
      <div class="stack">
        {many && <ChannelTable channels={channels} at={seen?.at} said={said} open={open} toggle={toggle} />}
        {channels
          .filter((channel) => !many || open.has(Rates.key(channel)))
          .map((channel) => (
            <ChannelPanel key={Rates.key(channel)} channel={channel} at={seen?.at} said={said} />
          ))}
      </div>
    </>
  );
}

/** More channels than this are a table first; a row opens its panel below. */
const PANELS_MAX = 6;

interface TableProps {
  channels: Channel[];
  at: number | undefined;
  said: number;
  open: Set<string>;
  toggle(key: string): void;
}

function ChannelTable({ channels, at, said, open, toggle }: TableProps): JSX.Element {
  return (
    <Panel title={`${channels.length} channels`} aged at={at} said={said} flush>
      <Scroll label="Channels" tall>
        <table>
          <thead>
            <tr>
              <th>Channel</th>
              <th>State</th>
              <th class="number">Line A</th>
              <th class="number">Line B</th>
              <th class="number">A won</th>
              <th class="number">Gaps</th>
              <th class="number">Lost</th>
              <th class="number">Not delivered</th>
            </tr>
          </thead>
          <tbody>
            {channels.map((channel) => {
              const key = Rates.key(channel);
              const now = rates.channels.get(key);
              const won = channel.a.won + channel.b.won;
              const state = channelState(channel, now?.a.packets ?? 0, now?.b.packets ?? 0);
              return (
                <tr key={key} class={open.has(key) ? "chosen" : ""}>
                  <td>
                    <button type="button" class="quiet small" aria-expanded={open.has(key)} onClick={() => toggle(key)}>
                      {open.has(key) ? "▾" : "▸"} <strong>{channel.name}</strong> {channel.id}
                    </button>
                  </td>
                  <td>
                    <State tone={state.tone}>{state.word}</State>
                  </td>
                  <td class="number">{rate(now?.a.packets)}</td>
                  <td class="number">{rate(now?.b.packets)}</td>
                  <td class="number">{percent(won === 0 ? undefined : channel.a.won / won)}</td>
                  <td class={`number ${channel.gaps > 0 ? "bad-text" : ""}`}>{group(channel.gaps)}</td>
                  <td class={`number ${channel.lost > 0 ? "bad-text" : ""}`}>{group(channel.lost)}</td>
                  <td class="number">{group(notDelivered(channel.a) + notDelivered(channel.b))}</td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </Scroll>
    </Panel>
  );
}

export function channelState(channel: Channel, a: number, b: number): { tone: Tone; word: string } {
  if (a === 0 && b === 0) return { tone: "warn", word: "quiet" };
  if (a === 0 && channel.a.packets === 0) return { tone: "warn", word: "one line" };
  if (a === 0) return { tone: "bad", word: "line A silent" };
  if (b === 0 && channel.b.packets > 0) return { tone: "bad", word: "line B silent" };
  if (b === 0) return { tone: "warn", word: "one line" };
  return { tone: "good", word: "both lines" };
}

function ChannelPanel({ channel, at, said }: { channel: Channel; at: number | undefined; said: number }): JSX.Element {
  const key = Rates.key(channel);
  const now = rates.channels.get(key);
  const past = rates.past.get(key);
  const won = channel.a.won + channel.b.won;
  const share = won === 0 ? undefined : channel.a.won / won;
  const state = channelState(channel, now?.a.packets ?? 0, now?.b.packets ?? 0);
  return (
    <Panel
      title={`${channel.name} · channel ${channel.id}`}
      aged
      at={at}
      said={said}
      actions={<State tone={state.tone}>{state.word}</State>}
    >
      <div class="channel">
        <div class="channel-lines">
          {(["a", "b"] as const).map((side) => (
            <div key={side} class="channel-line">
              <span class={`letter ${side}`}>{side.toUpperCase()}</span>
              <span class="channel-rate">{rate(now?.[side].packets)}</span>
              <Spark values={past?.[side].toArray() ?? []} tone={side} label={`Packets a second on line ${side.toUpperCase()} over the last two minutes`} />
              <span class="muted small nowrap">{channel[side].lead.count === 0 ? "never led" : `leads by ${nanoseconds(channel[side].lead.p50)} (median)`}</span>
            </div>
          ))}
          <div class="wins">
            <div class="share" role="img" aria-label={`A won ${percent(share)}, B won ${percent(share === undefined ? undefined : 1 - share)}`}>
              <span class="fill-a" style={{ width: `${(share ?? 0) * 100}%` }} />
              <span class="fill-b" style={{ width: share === undefined ? "0" : `${(1 - share) * 100}%` }} />
            </div>
            <div class="row small">
              <span class="side-a">
                <strong>A won {percent(share)}</strong>
              </span>
              <span class="space" />
              <span class="side-b">
                <strong>B won {percent(share === undefined ? undefined : 1 - share)}</strong>
              </span>
            </div>
          </div>
          <dl class="channel-figures">
            <Count label="Gaps" value={channel.gaps} bad />
            <Count label="Messages lost" value={channel.lost} bad />
            <Count label="Resets" value={channel.resets} />
            <Count label="Most waiting" value={channel.windowMax} />
            <Count label="Delivered" value={channel.sequences} />
          </dl>
        </div>
        <div class="channel-lead">
          <h3>Lead by time of arrival</h3>
          <LeadHistogram a={channel.a.lead} b={channel.b.lead} channel={channel.name} />
        </div>
      </div>
      <details class="drops">
        <summary>
          Counts of each line <span class="muted">· not delivered: A {compact(notDelivered(channel.a))}, B {compact(notDelivered(channel.b))}</span>
        </summary>
        <DropTable channel={channel} />
      </details>
    </Panel>
  );
}

function notDelivered(line: LineState): number {
  return line.late + line.stale + line.unconfirmed + line.malformed;
}

function Count({ label, value, bad = false }: { label: string; value: number; bad?: boolean }): JSX.Element {
  return (
    <div class={bad && value > 0 ? "wrong" : ""}>
      <dt>{label}</dt>
      <dd>
        {bad && value > 0 ? "▲ " : ""}
        {compact(value)}
      </dd>
    </div>
  );
}

const COUNTS: [keyof LineState, string][] = [
  ["packets", "packets"],
  ["won", "came first"],
  ["duplicates", "second copies"],
  ["missing", "never came on this line"],
  ["late", "came after they were given up"],
  ["stale", "of an earlier session"],
  ["unconfirmed", "waiting to be confirmed"],
  ["heartbeats", "heartbeats"],
  ["malformed", "malformed"],
];

function DropTable({ channel }: { channel: Channel }): JSX.Element {
  const reasons = [...new Set([...channel.a.reasons, ...channel.b.reasons].filter(([, count]) => count > 0).map(([name]) => name))];
  const of = (line: LineState, name: string): number => line.reasons.find(([known]) => known === name)?.[1] ?? 0;
  return (
    <Scroll label={`Counts of ${channel.name}`}>
      <table>
        <thead>
          <tr>
            <th>What</th>
            <th class="number">Line A</th>
            <th class="number">Line B</th>
          </tr>
        </thead>
        <tbody>
          {COUNTS.map(([field, name]) => (
            <tr key={field}>
              <td>{name}</td>
              <td class="number">{group(channel.a[field] as number)}</td>
              <td class="number">{group(channel.b[field] as number)}</td>
            </tr>
          ))}
          {reasons.map((name) => (
            <tr key={name}>
              <td>malformed: {words(name)}</td>
              <td class="number">{group(of(channel.a, name))}</td>
              <td class="number">{group(of(channel.b, name))}</td>
            </tr>
          ))}
          {(["a", "b"] as const).map(
            (side) =>
              channel[side].malformedLast !== "" && (
                <tr key={side}>
                  <td colSpan={3} class="break">
                    Last malformed on line {side.toUpperCase()}: {channel[side].malformedLast}
                  </td>
                </tr>
              ),
          )}
        </tbody>
      </table>
    </Scroll>
  );
}
