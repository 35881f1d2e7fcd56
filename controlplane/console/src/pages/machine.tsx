/** The machines: processes, NICs, clocks. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { newKey } from "../core/api";
import { compact, duration, group, nanoseconds, words } from "../core/format";
import { may } from "../core/model";
import { fields, list, number, text, type Fields } from "../core/read";
import { ask, status, who } from "../core/state";
import { useLoad } from "../ui/load";
import { Dialog, Empty, Note, PageHead, Panel, Problem, Scroll, State, toast } from "../ui/parts";
import { judge } from "./pipeline";

export function Machine(): JSX.Element {
  return (
    <>
      <PageHead title="Machine" about="Processes, network interfaces and clocks, as they report themselves." />
      <div class="stack">
        <Processes />
        <Nics />
        <Clocks />
      </div>
    </>
  );
}

function Processes(): JSX.Element {
  const seen = status.value;
  const services = seen?.value.services ?? [];
  return (
    <Panel title="Processes" aged at={seen?.at} flush>
      {services.length === 0 ? (
        <Empty>No process has reported yet.</Empty>
      ) : (
        <Scroll label="Processes">
          <table>
            <thead>
              <tr>
                <th>Service</th>
                <th>State</th>
                <th>Member</th>
                <th>Host, pid</th>
                <th class="number">Version</th>
                <th class="number">Reported</th>
                <th>Parts</th>
              </tr>
            </thead>
            <tbody>
              {services.map((service) => {
                const state = judge(service);
                const waits = service.wanted !== undefined && service.wanted !== service.version;
                return (
                  <tr key={`${service.service} ${service.member}`}>
                    <td>
                      <strong>{service.service}</strong>
                    </td>
                    <td>
                      <State tone={state.tone}>{state.word}</State>
                    </td>
                    <td>{service.member}</td>
                    <td class="nowrap">
                      {service.host} {service.pid ?? ""}
                    </td>
                    <td class="number">
                      {service.version ?? "–"}
                      {waits && <span class="warn-text"> ▲ wants {service.wanted}</span>}
                    </td>
                    <td class="number">{service.ageMs === undefined ? "–" : `${duration(service.ageMs)} ago`}</td>
                    <td class="break">
                      {service.parts.map(([part, said]) => `${part}: ${said}`).join(", ") || "–"}
                      {service.reason !== "" && <div class="warn-text">{service.reason}</div>}
                    </td>
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

type Act = "attach" | "detach" | "replace-programs";

function Nics(): JSX.Element {
  const loaded = useLoad("/v1/nics", 2_000);
  const nics = list(fields(loaded.answer?.value)["items"] ?? fields(loaded.answer?.value)["nics"]).map(fields);
  const [act, setAct] = useState<{ what: Act; nic: string } | undefined>();
  const allowed = may(who.value?.role ?? "", "operator");
  return (
    <Panel
      title="Network interfaces"
      aged
      at={loaded.at}
      actions={
        allowed && nics.length > 0 ? (
          <button type="button" class="small" onClick={() => setAct({ what: "replace-programs", nic: "" })}>
            Replace programs
          </button>
        ) : undefined
      }
    >
      <Problem problem={loaded.problem} />
      {nics.length === 0 && loaded.problem === undefined && <Empty>{loaded.at === undefined ? "Reading …" : "The data plane uses no interface."}</Empty>}
      <div class="grid three">
        {nics.map((nic) => (
          <Nic key={nameOf(nic)} nic={nic} allowed={allowed} onAct={(what) => setAct({ what, nic: nameOf(nic) })} />
        ))}
      </div>
      {act !== undefined && <Confirm what={act.what} nic={act.nic} onClose={() => { setAct(undefined); loaded.reload(); }} />}
    </Panel>
  );
}

const nameOf = (nic: Fields): string => text(nic["name"] ?? nic["interface"]);

function Nic({ nic, allowed, onAct }: { nic: Fields; allowed: boolean; onAct(what: Act): void }): JSX.Element {
  const attached = attachment(nic);
  const mode = text(nic["mode"] ?? fields(nic["xdp"])["mode"] ?? fields(nic["attached"])["mode"]);
  const facts = Object.entries(nic).filter(([name, value]) => !["name", "interface", "mode", "attached", "index"].includes(name) && value !== null && typeof value !== "object");
  const groups = Object.entries(nic).filter(([, value]) => value !== null && typeof value === "object");
  return (
    <section class="card" aria-label={`Interface ${nameOf(nic)}`}>
      <div class="row">
        <h3 class="big-name">{nameOf(nic)}</h3>
        <State tone={attached === undefined ? "calm" : attached ? "good" : "warn"}>{attached === undefined ? "not known" : attached ? mode || "attached" : "no program"}</State>
        <span class="space" />
        {allowed && (
          <button type="button" class="small" onClick={() => onAct(attached === true ? "detach" : "attach")}>
            {attached === true ? "Detach" : "Attach"}
          </button>
        )}
      </div>
      <dl class="pairs small">
        {facts.map(([name, value]) => (
          <Pair key={name} name={name} value={value} />
        ))}
        {groups.map(([name, value]) => (
          <Pair key={name} name={name} value={value} />
        ))}
      </dl>
    </section>
  );
}

function attachment(nic: Fields): boolean | undefined {
  const said = nic["attached"] ?? nic["program"] ?? fields(nic["xdp"])["attached"];
  if (typeof said === "boolean") return said;
  if (said === null) return false;
  return said === undefined ? undefined : said !== "";
}

function Pair({ name, value }: { name: string; value: unknown }): JSX.Element | null {
  const shown = plain(name, value);
  if (shown === "") return null;
  return (
    <>
      <dt>{words(name)}</dt>
      <dd>{shown}</dd>
    </>
  );
}

/** A value of an unknown shape on a few words: counters that are 0 are left out. */
function plain(name: string, value: unknown): string {
  if (typeof value === "number") return name.endsWith("_ns") ? nanoseconds(value) : group(value);
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "string") return value;
  if (Array.isArray(value)) return value.map((item) => plain("", item)).filter((said) => said !== "").join(", ");
  return Object.entries(fields(value))
    .filter(([, said]) => said !== 0 && said !== null && said !== false)
    .map(([field, said]) => (said === true ? words(field) : `${words(field)} ${typeof said === "number" ? compact(said) : plain(field, said)}`))
    .join(", ");
}

const ACTS: Record<Act, { title: string; text: string; button: string }> = {
  attach: { title: "Attach the steering program", text: "Packets of the feeds are steered to the workers as soon as it is attached.", button: "Attach" },
  detach: {
    title: "Detach the steering program",
    text: "The workers get no packet from this interface until it is attached again. The other line of each feed goes on.",
    button: "Detach",
  },
  "replace-programs": { title: "Replace the steering programs", text: "They are loaded anew and swapped in. No packet is lost.", button: "Replace" },
};

function Confirm({ what, nic, onClose }: { what: Act; nic: string; onClose(): void }): JSX.Element {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<unknown>();
  const words = ACTS[what];
  const send = async (): Promise<void> => {
    setBusy(true);
    try {
      const path = what === "replace-programs" ? "/v1/nics/replace-programs" : `/v1/nics/${encodeURIComponent(nic)}/${what}`;
      await ask.peek()(path, { method: "POST", idempotencyKey: newKey() });
      toast("good", `${words.title}: done.`);
      onClose();
    } catch (caught) {
      setProblem(caught);
      setBusy(false);
    }
  };
  return (
    <Dialog title={nic === "" ? words.title : `${words.title}: ${nic}`} onClose={onClose}>
      <p>{words.text}</p>
      {what === "detach" && <Note tone="warn">A feed whose only line is on {nic} goes silent.</Note>}
      <Problem problem={problem} />
      <div class="dialog-actions">
        <button type="button" onClick={onClose} autofocus>
          Cancel
        </button>
        <button type="button" class={what === "detach" ? "danger" : "primary"} disabled={busy} onClick={() => void send()}>
          {busy ? "Sending …" : words.button}
        </button>
      </div>
    </Dialog>
  );
}

function Clocks(): JSX.Element {
  const loaded = useLoad("/v1/clock", 2_000);
  const own = fields(loaded.answer?.value);
  const clocks = list(own["items"] ?? own["clocks"] ?? own["phcs"]).map(fields);
  return (
    <Panel title="Clocks" aged at={loaded.at} flush>
      {loaded.problem !== undefined && <Problem problem={loaded.problem} />}
      {clocks.length === 0 ? (
        <Empty>
          {loaded.at === undefined ? "Reading …" : "No hardware clock is in use: packets are stamped by the kernel's clock."}
        </Empty>
      ) : (
        <Scroll label="Clocks">
          <table>
            <thead>
              <tr>
                <th>Clock</th>
                <th>Quality</th>
                <th class="number">Offset</th>
                <th>More</th>
              </tr>
            </thead>
            <tbody>
              {clocks.map((clock) => {
                const quality = text(clock["quality"] ?? clock["state"]);
                const good = /sync|good|locked/.test(quality) && !/unsync|not/.test(quality);
                return (
                  <tr key={text(clock["path"] ?? clock["name"])}>
                    <td class="mono">{text(clock["path"] ?? clock["name"])}</td>
                    <td>
                      <State tone={good ? "good" : quality === "" ? "calm" : "warn"}>{words(quality) || "not known"}</State>
                    </td>
                    <td class="number big-number">{nanoseconds(number(clock["offset_ns"]))}</td>
                    <td class="break">
                      {plain("", Object.fromEntries(Object.entries(clock).filter(([name]) => !["path", "name", "quality", "state", "offset_ns"].includes(name))))}
                    </td>
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
