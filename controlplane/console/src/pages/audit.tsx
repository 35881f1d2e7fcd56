/** Who did or tried what, from where, and what was there before and after. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { clockTime, dateTime } from "../core/format";
import { fields, list, number, text, type Fields } from "../core/read";
import { auditChanged } from "../core/state";
import { useLoad } from "../ui/load";
import { Empty, Note, PageHead, Panel, Problem, Scroll, State } from "../ui/parts";

export function Audit(): JSX.Element {
  const [whose, setWhose] = useState("");
  const [action, setAction] = useState("");
  const [cursors, setCursors] = useState<string[]>([]);
  const query = new URLSearchParams({ limit: "50" });
  if (whose.trim() !== "") query.set("who", whose.trim());
  if (action.trim() !== "") query.set("action", action.trim());
  const cursor = cursors.at(-1);
  if (cursor !== undefined) query.set("cursor", cursor);
  const loaded = useLoad(`/v1/audit?${query}`, 2_000, auditChanged.value);
  const entries = list(fields(loaded.answer?.value)["items"]).map(fields);
  const chain = fields(fields(loaded.answer?.value)["chain"]);
  const next = text(fields(loaded.answer?.value)["next_cursor"]);
  return (
    <>
      <PageHead title="Audit" about="Every change, tried or done, and every refusal of one. Entries cannot be changed or deleted." />
      <Problem problem={loaded.problem} />
      {number(chain["broken_at"]) !== undefined && (
        <Note tone="bad" alert>
          <strong>The audit was changed from outside:</strong> entry {text(chain["broken_at"])} is not as it was written, or is missing.
        </Note>
      )}
      <Panel
        title="Entries, newest first"
        aged
        at={loaded.at}
        flush
        actions={
          <div class="row">
            <input aria-label="Only of this person" placeholder="who" size={12} value={whose} onInput={(event) => { setWhose(event.currentTarget.value); setCursors([]); }} />
            <input aria-label="Only this action" placeholder="action" size={14} value={action} onInput={(event) => { setAction(event.currentTarget.value); setCursors([]); }} />
          </div>
        }
      >
        {entries.length === 0 ? (
          <Empty>{loaded.at === undefined ? "Reading …" : "No entry."}</Empty>
        ) : (
          <Scroll label="Audit entries">
            <table class="audit">
              <thead>
                <tr>
                  <th>Time</th>
                  <th>Who</th>
                  <th>Action</th>
                  <th>Target</th>
                  <th>Outcome</th>
                  <th>Reason</th>
                </tr>
              </thead>
              <tbody>
                {entries.map((entry) => (
                  <Entry key={text(entry["seq"])} entry={entry} />
                ))}
              </tbody>
            </table>
          </Scroll>
        )}
      </Panel>
      <div class="row pager">
        <button type="button" disabled={cursors.length === 0} onClick={() => setCursors(cursors.slice(0, -1))}>
          Newer
        </button>
        <button type="button" disabled={next === ""} onClick={() => setCursors([...cursors, next])}>
          Older
        </button>
      </div>
    </>
  );
}

function Entry({ entry }: { entry: Fields }): JSX.Element {
  const [open, setOpen] = useState(false);
  const done = text(entry["outcome"]) === "done";
  const time = number(entry["time_ns"]);
  const id = `entry-${text(entry["seq"])}`;
  return (
    <>
      <tr>
        <td class="nowrap">
          <button type="button" class="quiet small" aria-expanded={open} aria-controls={id} onClick={() => setOpen(!open)}>
            {open ? "▾" : "▸"} <span title={dateTime(time)}>{clockTime(time)}</span>
          </button>
        </td>
        <td>
          {text(entry["who"])} <span class="muted small">{text(entry["role"])}</span>
        </td>
        <td class="mono">{text(entry["action"])}</td>
        <td class="break">{text(entry["target"])}</td>
        <td>
          <State tone={done ? "good" : "bad"}>{text(entry["outcome"])}</State>
        </td>
        <td class="break">{text(entry["reason"])}</td>
      </tr>
      {open && (
        <tr id={id}>
          <td colSpan={6}>
            <dl class="pairs">
              <dt>Entry</dt>
              <dd>{text(entry["seq"])}</dd>
              <dt>When</dt>
              <dd>{dateTime(time)}</dd>
              <dt>From</dt>
              <dd>{text(entry["address"])}</dd>
              <dt>Status</dt>
              <dd>{text(entry["status"])}</dd>
            </dl>
            <div class="grid two">
              <div>
                <h3>Before</h3>
                <Said value={entry["before"]} />
              </div>
              <div>
                <h3>After</h3>
                <Said value={entry["after"]} />
              </div>
            </div>
          </td>
        </tr>
      )}
    </>
  );
}

function Said({ value }: { value: unknown }): JSX.Element {
  if (value === null || value === undefined || value === "") return <p class="muted">–</p>;
  return <pre class="json" tabIndex={0}>{typeof value === "string" ? value : JSON.stringify(value, null, 2)}</pre>;
}
