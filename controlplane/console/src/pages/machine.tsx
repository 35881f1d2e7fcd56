/** The machines: processes, NICs, clocks. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { newKey } from "../core/api";
import { compact, duration, group, nanoseconds, words } from "../core/format";
import { may } from "../core/model";
import { fields, list, number, numbers, text, type Fields } from "../core/read";
import { ask, status, who } from "../core/state";
import { useLoad } from "../ui/load";
import { Dialog, Empty, Note, PageHead, Panel, Problem, Scroll, State, toast, type Tone } from "../ui/parts";
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
  const nics = list(fields(loaded.answer?.value)["items"]).map(fields);
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

const nameOf = (nic: Fields): string => text(nic["interface"]);

function Nic({ nic, allowed, onAct }: { nic: Fields; allowed: boolean; onAct(what: Act): void }): JSX.Element {
  const program = fields(nic["program"]);
  const attached = text(nic["attached"]);
  const sockets = list(nic["sockets"]).map(fields);
  const modes = [...new Set(sockets.map((socket) => text(socket["mode"])))].join(", ");
  const fallbacks = list(nic["fallbacks"]).map(text);
  const byXdp = text(nic["backend"]) === "xdp";
  const dropped = sockets.flatMap((socket) => Object.entries(numbers(socket["counters"]))).reduce((sum, [, count]) => sum + count, 0);
  const can = fields(nic["capabilities"]);
  const says = (value: unknown): string => (value === true ? "yes" : value === false ? "no" : "not known");
  return (
    <section class="card" aria-label={`Interface ${nameOf(nic)}`}>
      <div class="row">
        <h3 class="big-name">{nameOf(nic)}</h3>
        <NicState nic={nic} />
        <span class="space" />
        {allowed && byXdp && (
          <button type="button" class="small" onClick={() => onAct(attached === "" ? "attach" : "detach")}>
            {attached === "" ? "Attach" : "Detach"}
          </button>
        )}
      </div>
      {fallbacks.map((why) => (
        <Note key={why} tone="warn">
          {why}
        </Note>
      ))}
      <dl class="pairs small">
        <Pair name="lines" said={list(nic["lines"]).map((line) => text(line).toUpperCase()).join(", ")} />
        <Pair name="worker" said={text(nic["worker"])} />
        <Pair name="driver" said={text(nic["driver"])} />
        <Pair name="program" said={text(program["name"]) === "" ? "" : `${text(program["name"])} ${text(program["tag"])}${program["hardware_time"] === true ? ", with the NIC's time" : ""}`} />
        <Pair name="runs" said={attached} />
        <Pair name="sockets" said={sockets.length === 0 ? "" : `${sockets.length} of ${text(nic["receive_queues"])} queues, ${words(modes)}`} />
        <Pair name="lost in sockets" said={sockets.length === 0 ? "" : group(dropped)} />
        <Pair name="speed" said={number(nic["speed_mbit_per_s"]) === undefined ? "" : `${group(number(nic["speed_mbit_per_s"]))} Mbit/s`} />
        <Pair name="can" said={`XDP in the driver ${says(can["native_xdp"])}, zero copy ${says(can["zero_copy"])}, hardware time ${says(can["hardware_timestamps"])}`} />
        <Pair name="program's packets" said={counted(nic["program_packets"])} />
        <Pair name="counters" said={counted(nic["counters"])} />
      </dl>
    </section>
  );
}

function NicState({ nic }: { nic: Fields }): JSX.Element {
  if (nic["up"] !== true) return <State tone="bad">{number(nic["index"]) === 0 ? "gone" : "down"}</State>;
  if (nic["carrier"] !== true) return <State tone="bad">no carrier</State>;
  if (text(nic["backend"]) !== "xdp") return <State tone="good">kernel sockets</State>;
  const attached = text(nic["attached"]);
  return attached === "" ? <State tone="bad">detached</State> : <State tone="good">attached</State>;
}

function Pair({ name, said }: { name: string; said: string }): JSX.Element | null {
  if (said === "") return null;
  return (
    <>
      <dt>{name}</dt>
      <dd>{said}</dd>
    </>
  );
}

/** Counters that are not 0. */
function counted(value: unknown): string {
  return Object.entries(numbers(value))
    .filter(([, count]) => count > 0)
    .map(([name, count]) => `${words(name)} ${compact(count)}`)
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
  const clocks = list(own["items"]).map(fields);
  const inSync = own["utc_in_sync"];
  return (
    <Panel
      title="Clocks"
      aged
      at={loaded.at}
      flush
      actions={loaded.at === undefined ? undefined : inSync === true ? <State tone="good">UTC in sync</State> : <State tone="bad">UTC not in sync</State>}
    >
      <Problem problem={loaded.problem} />
      {clocks.length === 0 ? (
        <Empty>{loaded.at === undefined ? "Reading …" : "No worker has told of a clock."}</Empty>
      ) : (
        <Scroll label="Clocks">
          <table>
            <thead>
              <tr>
                <th>Interface</th>
                <th>Line</th>
                <th>Packets are stamped by</th>
                <th>Clock</th>
                <th class="number">Clock − UTC</th>
                <th class="number">Known to</th>
                <th class="number">Measured</th>
              </tr>
            </thead>
            <tbody>
              {clocks.map((clock) => (
                <tr key={`${text(clock["worker"])} ${text(clock["line"])}`}>
                  <td>
                    <strong>{text(clock["interface"])}</strong> <span class="muted small">{text(clock["worker"])}</span>
                  </td>
                  <td>{text(clock["line"]).toUpperCase()}</td>
                  <td>
                    <State tone={SOURCES[text(clock["source"])]?.tone ?? "calm"}>{SOURCES[text(clock["source"])]?.word ?? text(clock["source"])}</State>
                  </td>
                  <td class="mono">{text(clock["path"]) || "none"}</td>
                  <td class="number big-number">{nanoseconds(number(clock["minus_utc_ns"]))}</td>
                  <td class="number">{number(clock["window_ns"]) === undefined ? "–" : `± ${nanoseconds(number(clock["window_ns"]))}`}</td>
                  <td class="number">{duration(number(clock["age_ms"]))} ago</td>
                </tr>
              ))}
            </tbody>
          </table>
        </Scroll>
      )}
    </Panel>
  );
}

const SOURCES: Record<string, { tone: Tone; word: string }> = {
  hardware: { tone: "good", word: "the NIC" },
  xdp: { tone: "good", word: "XDP" },
  kernel: { tone: "warn", word: "the kernel" },
};
