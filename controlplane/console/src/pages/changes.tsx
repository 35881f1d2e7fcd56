/** A difference between two versions, place by place. */

import type { JSX } from "preact";
import { fields, list, text } from "../core/read";
import { Empty, Note, Scroll } from "../ui/parts";

export interface Change {
  path: string;
  before: unknown;
  after: unknown;
}

/** From an answer of a dry run or of `/diff`. */
export function readChanges(answer: unknown): Change[] {
  const own = fields(answer);
  return list(own["changes"] ?? fields(own["diff"])["changes"]).map((entry) => {
    const of = fields(entry);
    return { path: text(of["path"]), before: of["before"], after: of["after"] };
  });
}

/** What the data plane says of a document that it was asked to check. */
export interface Rehearsal {
  problem: string;
  waiting: string[];
  notes: string[];
}

/** From an answer of a dry run; nothing when the data plane has no part in it. */
export function readRehearsal(answer: unknown): Rehearsal | undefined {
  const said = fields(answer)["rehearsal"];
  if (said === undefined || said === null) return undefined;
  const own = fields(said);
  return { problem: text(own["problem"]), waiting: list(own["restart_needed"]).map(text), notes: list(own["notes"]).map(text) };
}

export function Rehearsed({ said }: { said: Rehearsal }): JSX.Element {
  if (said.problem !== "") return <Note tone="warn">The data plane could not be asked what it says of it: {said.problem}</Note>;
  return (
    <>
      {said.waiting.length === 0 ? (
        <Note tone="good">The data plane would take it while packets flow.</Note>
      ) : (
        <Note tone="warn">
          Only a start of the data plane takes it. It waits for: <code>{said.waiting.join(", ")}</code>
        </Note>
      )}
      {said.notes.map((note) => (
        <Note key={note} tone="warn">
          {note}
        </Note>
      ))}
    </>
  );
}

export function Changes({ changes }: { changes: Change[] }): JSX.Element {
  if (changes.length === 0) return <Empty>Nothing is different.</Empty>;
  return (
    <Scroll label="Changes" tall>
      <table class="changes">
        <thead>
          <tr>
            <th>Place</th>
            <th>Before</th>
            <th>After</th>
          </tr>
        </thead>
        <tbody>
          {changes.map((change) => (
            <tr key={change.path}>
              <td class="break">
                <code>{change.path || "(all)"}</code>
              </td>
              <td class="break was">{shown(change.before, "−", "not there")}</td>
              <td class="break is">{shown(change.after, "+", "taken away")}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Scroll>
  );
}

function shown(value: unknown, sign: string, absent: string): JSX.Element {
  if (value === undefined || value === null) return <span class="muted">{absent}</span>;
  const said = typeof value === "string" ? value : JSON.stringify(value, null, typeof value === "object" ? 1 : 0);
  return (
    <code>
      <span aria-hidden="true">{sign} </span>
      {said}
    </code>
  );
}
