/** Tokens: who may ask the control plane what. Only for the role risk. */

import type { JSX } from "preact";
import { useRef, useState } from "preact/hooks";
import { newKey } from "../core/api";
import { dateTime, duration } from "../core/format";
import { may } from "../core/model";
import { fields, list, number, text, type Fields } from "../core/read";
import { ask, who } from "../core/state";
import { useLoad } from "../ui/load";
import { Dialog, Empty, Note, PageHead, Panel, Problem, Scroll, State, toast, type Tone } from "../ui/parts";

const DAYS = [1, 7, 30, 90, 365];

export function Tokens(): JSX.Element {
  const allowed = may(who.value?.role ?? "", "risk");
  const loaded = useLoad(allowed ? "/v1/tokens" : undefined, 2_000);
  const [making, setMaking] = useState(false);
  const [revoking, setRevoking] = useState<Fields | undefined>();
  if (!allowed) {
    return (
      <>
        <PageHead title="Tokens" />
        <Note tone="warn">Your token may not see this page: it takes the role risk.</Note>
      </>
    );
  }
  const tokens = list(fields(loaded.answer?.value)["items"]).map(fields);
  return (
    <>
      <PageHead title="Tokens" about="Who may ask what. Of a secret only its SHA-256 is kept.">
        <button type="button" class="primary" onClick={() => setMaking(true)}>
          New token
        </button>
      </PageHead>
      <Problem problem={loaded.problem} />
      <Panel title="Tokens" aged at={loaded.at} flush>
        {tokens.length === 0 ? (
          <Empty>{loaded.at === undefined ? "Reading …" : "No token."}</Empty>
        ) : (
          <Scroll label="Tokens">
            <table>
              <thead>
                <tr>
                  <th>Name</th>
                  <th>Role</th>
                  <th>State</th>
                  <th>Id</th>
                  <th>Made</th>
                  <th>Expires</th>
                  <th>
                    <span class="hidden-text">Revoke</span>
                  </th>
                </tr>
              </thead>
              <tbody>
                {tokens.map((token) => {
                  const state = tokenState(token);
                  return (
                    <tr key={text(token["id"])}>
                      <td>
                        <strong>{text(token["name"])}</strong>
                      </td>
                      <td>{text(token["role"])}</td>
                      <td>
                        <State tone={state.tone}>{state.word}</State>
                      </td>
                      <td class="mono">{text(token["id"])}</td>
                      <td class="nowrap">
                        {dateTime(number(token["made_ns"]))} <span class="muted small">{text(token["made_by"])}</span>
                      </td>
                      <td class="nowrap">{number(token["expires_ns"]) === undefined ? "never" : dateTime(number(token["expires_ns"]))}</td>
                      <td>
                        {state.word === "valid" && (
                          <button type="button" class="small" onClick={() => setRevoking(token)}>
                            Revoke
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
      {making && <Make onClose={() => { setMaking(false); loaded.reload(); }} />}
      {revoking !== undefined && <Revoke token={revoking} onClose={() => { setRevoking(undefined); loaded.reload(); }} />}
    </>
  );
}

export function tokenState(token: Fields): { tone: Tone; word: string } {
  const revoked = number(token["revoked_ns"]);
  const expires = number(token["expires_ns"]);
  if (revoked !== undefined && revoked > 0) return { tone: "calm", word: "revoked" };
  if (expires !== undefined && expires < Date.now() * 1e6) return { tone: "calm", word: "expired" };
  return { tone: "good", word: "valid" };
}

function Make({ onClose }: { onClose(): void }): JSX.Element {
  const [name, setName] = useState("");
  const [role, setRole] = useState("viewer");
  const [days, setDays] = useState(30);
  const [secret, setSecret] = useState("");
  const [problem, setProblem] = useState<unknown>();
  const [busy, setBusy] = useState(false);
  const key = useRef(newKey());
  const send = async (event: Event): Promise<void> => {
    event.preventDefault();
    setBusy(true);
    try {
      const answer = await ask.peek()("/v1/tokens", { method: "POST", body: { name: name.trim(), role, expires_in_s: days * 86_400 }, idempotencyKey: key.current });
      const own = fields(answer.value);
      setSecret(text(own["token"]));
    } catch (caught) {
      setProblem(caught);
      key.current = newKey();
    }
    setBusy(false);
  };
  if (secret !== "") {
    return (
      <Dialog title={`The token of ${name}`} onClose={onClose}>
        <Note tone="warn">It is shown this once. Whoever has it is {role} for {duration(days * 86_400_000)}.</Note>
        <pre class="json secret" tabIndex={0}>{secret}</pre>
        <div class="dialog-actions">
          <button type="button" onClick={() => void navigator.clipboard.writeText(secret).then(() => toast("good", "Copied."), () => toast("warn", "It could not be copied: select it."))}>
            Copy
          </button>
          <button type="button" class="primary" onClick={onClose}>
            I have it
          </button>
        </div>
      </Dialog>
    );
  }
  return (
    <Dialog title="New token" onClose={onClose}>
      <form class="bare" onSubmit={(event) => void send(event)}>
        <label for="token-name">Name of the person or program</label>
        <input id="token-name" value={name} maxLength={64} pattern="[A-Za-z0-9._@\-]+" title="letters, digits, - _ . @" required autofocus onInput={(event) => setName(event.currentTarget.value)} />
        <label for="token-role">Role</label>
        <select id="token-role" value={role} onChange={(event) => setRole(event.currentTarget.value)}>
          <option value="viewer">viewer: reads</option>
          <option value="operator">operator: halts, reduces, configures feeds and services, too</option>
          <option value="risk">risk: strategies, limits, gateway, resume and tokens, too</option>
        </select>
        <label for="token-days">Good for</label>
        <select id="token-days" value={days} onChange={(event) => setDays(Number(event.currentTarget.value))}>
          {DAYS.map((count) => (
            <option key={count} value={count}>
              {count} {count === 1 ? "day" : "days"}
            </option>
          ))}
        </select>
        <Problem problem={problem} />
        <div class="dialog-actions">
          <button type="button" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" class="primary" disabled={busy || name.trim() === ""}>
            Make it
          </button>
        </div>
      </form>
    </Dialog>
  );
}

function Revoke({ token, onClose }: { token: Fields; onClose(): void }): JSX.Element {
  const [problem, setProblem] = useState<unknown>();
  const send = async (): Promise<void> => {
    try {
      await ask.peek()(`/v1/tokens/${encodeURIComponent(text(token["id"]))}`, { method: "DELETE", idempotencyKey: newKey() });
      toast("good", `The token of ${text(token["name"])} is revoked.`);
      onClose();
    } catch (caught) {
      setProblem(caught);
    }
  };
  return (
    <Dialog title={`Revoke the token of ${text(token["name"])}?`} onClose={onClose}>
      <p>Whoever uses it is refused from now on. It cannot be made good again.</p>
      <Problem problem={problem} />
      <div class="dialog-actions">
        <button type="button" onClick={onClose} autofocus>
          Cancel
        </button>
        <button type="button" class="danger" onClick={() => void send()}>
          Revoke
        </button>
      </div>
    </Dialog>
  );
}
