/** The versions of a document, what each changed, and going back to one. */

import type { JSX } from "preact";
import { useRef, useState } from "preact/hooks";
import { ApiProblem, newKey } from "../core/api";
import { dateTime } from "../core/format";
import { may } from "../core/model";
import { fields, list, number, text } from "../core/read";
import { ask, configChanged, who } from "../core/state";
import { useLoad } from "../ui/load";
import { Dialog, Empty, Note, Panel, Problem, Scroll, toast } from "../ui/parts";
import { Changes, readChanges } from "./changes";

export function History({ service, role }: { service: string; role: "operator" | "risk" }): JSX.Element {
  const loaded = useLoad(`/v1/config/${service}/history?limit=100`, 2_000, configChanged.value);
  const versions = list(fields(loaded.answer?.value)["items"]).map(fields);
  const newest = number(versions[0]?.["version"]) ?? 0;
  const [chosen, setChosen] = useState<number | undefined>();
  const [back, setBack] = useState<number | undefined>();
  const allowed = may(who.value?.role ?? "", role);
  return (
    <div class="stack">
      <Problem problem={loaded.problem} />
      <Panel title="Versions, newest first" aged at={loaded.at} flush>
        {versions.length === 0 ? (
          <Empty>{loaded.at === undefined ? "Reading …" : "No version yet."}</Empty>
        ) : (
          <Scroll label="Versions" tall>
            <table>
              <thead>
                <tr>
                  <th class="number">Version</th>
                  <th>When</th>
                  <th>Who</th>
                  <th>Reason</th>
                  <th>
                    <span class="hidden-text">Actions</span>
                  </th>
                </tr>
              </thead>
              <tbody>
                {versions.map((entry) => {
                  const version = number(entry["version"]) ?? 0;
                  return (
                    <tr key={version} class={version === chosen ? "chosen" : ""}>
                      <td class="number big-number">{version}</td>
                      <td class="nowrap">{dateTime(number(entry["time_ns"]))}</td>
                      <td>{text(entry["by"])}</td>
                      <td class="break">{text(entry["reason"])}</td>
                      <td class="nowrap">
                        <button type="button" class="small" aria-pressed={version === chosen} onClick={() => setChosen(version === chosen ? undefined : version)} disabled={version < 2}>
                          What changed
                        </button>{" "}
                        {version !== newest && (
                          <button type="button" class="small" disabled={!allowed} onClick={() => setBack(version)}>
                            Roll back to it
                          </button>
                        )}
                      </td>
                    </tr>
                  );
                })}
              </tbody>
            </table>
          </Scroll>
        )}
      </Panel>
      {chosen !== undefined && <Difference service={service} from={chosen - 1} to={chosen} />}
      {back !== undefined && <Rollback service={service} version={back} newest={newest} onClose={() => { setBack(undefined); loaded.reload(); }} />}
    </div>
  );
}

function Difference({ service, from, to }: { service: string; from: number; to: number }): JSX.Element {
  const loaded = useLoad(`/v1/config/${service}/diff?from=${from}&to=${to}`);
  return (
    <Panel title={`From version ${from} to ${to}`} flush>
      <Problem problem={loaded.problem} />
      {loaded.answer !== undefined && <Changes changes={readChanges(loaded.answer.value)} />}
    </Panel>
  );
}

function Rollback({ service, version, newest, onClose }: { service: string; version: number; newest: number; onClose(): void }): JSX.Element {
  const loaded = useLoad(`/v1/config/${service}/diff?from=${newest}&to=${version}`);
  const [reason, setReason] = useState("");
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<unknown>();
  const key = useRef(newKey());
  const send = async (event: Event): Promise<void> => {
    event.preventDefault();
    setBusy(true);
    try {
      await ask.peek()(`/v1/config/${service}/rollback`, { method: "POST", body: { version, reason: reason.trim() }, ifMatch: `"${newest}"`, idempotencyKey: key.current });
      toast("good", `Version ${newest + 1} of ${service} has the content of version ${version}.`);
      onClose();
    } catch (caught) {
      setProblem(caught);
      key.current = newKey();
      setBusy(false);
    }
  };
  const changed = problem instanceof ApiProblem && problem.status === 412;
  return (
    <Dialog title={`Roll ${service} back to version ${version}?`} onClose={onClose} class="wide">
      <p>
        Version {newest + 1} gets the content of version {version}. Nothing is deleted.
      </p>
      <Problem problem={loaded.problem} />
      {loaded.answer !== undefined && <Changes changes={readChanges(loaded.answer.value)} />}
      {changed ? (
        <Note tone="bad" alert>
          <strong>Not rolled back: somebody made another version meanwhile.</strong> Close this and look at it first.
        </Note>
      ) : (
        <Problem problem={problem} />
      )}
      <form class="bare" onSubmit={(event) => void send(event)}>
        <label for="rollback-reason">Reason</label>
        <input id="rollback-reason" value={reason} maxLength={256} required autofocus onInput={(event) => setReason(event.currentTarget.value)} />
        <div class="dialog-actions">
          <button type="button" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" class="primary" disabled={busy || changed || reason.trim() === ""}>
            {busy ? "Rolling back …" : `Roll back to version ${version}`}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
