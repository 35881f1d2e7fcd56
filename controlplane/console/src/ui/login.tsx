/** Logging in: a token is pasted, kept for this tab, and asked who it is. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { ApiProblem, asker } from "../core/api";
import { fields, number, text } from "../core/read";
import { login, loginNote, who } from "../core/state";
import { Note, Problem } from "./parts";

export function Login(): JSX.Element {
  const [secret, setSecret] = useState("");
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<unknown>();
  const send = async (event: Event): Promise<void> => {
    event.preventDefault();
    const clean = secret.trim();
    if (!/^[\x21-\x7e]{1,512}$/.test(clean)) {
      setProblem(new Error("This does not look like a token. One begins with fp_ and has no spaces."));
      return;
    }
    setBusy(true);
    try {
      const answer = await asker(clean, () => undefined)("/v1/whoami");
      const own = fields(answer.value);
      who.value = { name: text(own["name"]), role: text(own["role"]), expiresNs: number(own["expires_ns"]) };
      login(clean);
    } catch (caught) {
      const refused = caught instanceof ApiProblem && caught.status === 401;
      setProblem(refused ? new Error("The control plane does not know this token, or it expired or was revoked.") : caught);
      setBusy(false);
    }
  };
  return (
    <main class="login">
      <form onSubmit={(event) => void send(event)}>
        <img src={mark} alt="" width="56" height="56" />
        <h1>feedplane console</h1>
        {loginNote.value !== "" && <Note tone="warn">{loginNote.value}</Note>}
        <label for="token">Token</label>
        <input id="token" type="password" name="token" autocomplete="off" spellcheck={false} autofocus value={secret} placeholder="fp_…" onInput={(event) => setSecret(event.currentTarget.value)} />
        <p class="small muted">
          It is kept in this tab only, and sent to this server only. The first one is shown when the control plane starts for the first time; others are made
          by <code>feedplane token</code> or on the page Tokens.
        </p>
        <Problem problem={problem} />
        <button type="submit" class="primary" disabled={busy || secret.trim() === ""}>
          {busy ? "Asking …" : "Open the console"}
        </button>
      </form>
    </main>
  );
}

import mark from "../styles/mark.svg";
