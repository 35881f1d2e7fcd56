/** The documents of every service: which version, who runs it, and what can be done with them. */

import type { JSX } from "preact";
import { dateTime } from "../core/format";
import type { Service } from "../core/model";
import { fields, list, number, text, type Fields } from "../core/read";
import { place } from "../core/router";
import { configChanged, status } from "../core/state";
import { useLoad } from "../ui/load";
import { Empty, PageHead, Panel, Problem, Scroll, State, type Tone } from "../ui/parts";
import { Editor } from "./editor";
import { History } from "./history";
import { judge } from "./pipeline";
import { aside } from "./together";

export const DOCUMENTS: Record<string, { title: string; about: string; role: "operator" | "risk" }> = {
  feeds: { title: "Feeds", about: "Channels, their lines and filters.", role: "operator" },
  dataplane: { title: "Data plane", about: "Workers, receivers, publisher.", role: "operator" },
  features: { title: "Features", about: "Sets of features and their bars.", role: "operator" },
  strategy: { title: "Strategy", about: "Strategies, their rules, and the limits.", role: "risk" },
  gateway: { title: "Gateway", about: "Sessions at venues.", role: "risk" },
  archiver: { title: "Archiver", about: "Batches and retention.", role: "operator" },
};

export function Config(): JSX.Element {
  const [service, view] = place.value.rest;
  if (service !== undefined && Object.hasOwn(DOCUMENTS, service)) return <One key={service} service={service} view={view ?? "edit"} />;
  return <All />;
}

/** The processes that a document reaches; a document of the data plane's is reported by the data plane. */
export function processesOf(service: string, services: Service[]): Service[] {
  const own = services.filter((process) => process.service === service);
  return own.length > 0 || service !== "feeds" ? own : services.filter((process) => process.service === "dataplane");
}

const FRESH_MS = 5_000;

export function convergence(version: number | undefined, processes: Service[]): { tone: Tone; word: string } {
  if (version === undefined || version === 0) return { tone: "calm", word: "own files" };
  if (processes.length === 0) return { tone: "calm", word: "nobody runs it" };
  const live = processes.filter((process) => (process.ageMs ?? 0) <= FRESH_MS);
  const refused = live.find((process) => process.state === "refused");
  if (refused !== undefined) return { tone: "bad", word: "refused" };
  if (live.some((process) => process.state === "restart_needed")) return { tone: "warn", word: "restart needed" };
  const there = live.filter((process) => process.version === version).length;
  if (there === live.length && live.length > 0) return { tone: "good", word: `converged ${there} of ${processes.length}` };
  return { tone: "warn", word: `${there} of ${processes.length} run it` };
}

function All(): JSX.Element {
  const loaded = useLoad("/v1/config", 2_000, configChanged.value);
  const items = new Map(list(fields(loaded.answer?.value)["items"]).map((entry): [string, Fields] => [text(fields(entry)["service"]), fields(entry)]));
  const services = status.value?.value.services ?? [];
  return (
    <>
      <PageHead title="Configuration" about="Each service has one document. Every change is a new version; a rollback is, too." />
      <Problem problem={loaded.problem} />
      <Panel title="Documents" aged at={loaded.at} flush>
        {loaded.at === undefined ? (
          <Empty>Reading …</Empty>
        ) : (
          <Scroll label="Documents">
            <table class="documents">
              <thead>
                <tr>
                  <th>Document</th>
                  <th class="number">Version</th>
                  <th>Processes</th>
                  <th>Last change</th>
                  <th>
                    <span class="hidden-text">Actions</span>
                  </th>
                </tr>
              </thead>
              <tbody>
                {Object.entries(DOCUMENTS).map(([service, document]) => {
                  const entry = items.get(service) ?? {};
                  const newest = fields(entry["newest"]);
                  const problem = text(fields(entry["convergence"])["problem"]);
                  const version = number(entry["version"]);
                  const state = convergence(version, processesOf(service, services));
                  return (
                    <tr key={service}>
                      <td>
                        <a href={`/config/${service}`} class="document-name">
                          {document.title}
                        </a>{" "}
                        {aside.value.has(service) && <span class="tag changed">set aside</span>}
                        <div class="muted small">{document.about}</div>
                      </td>
                      <td class="number big-number">{version === undefined || version === 0 ? "–" : version}</td>
                      <td>
                        <State tone={state.tone}>{state.word}</State>
                        {problem !== "" && <div class="warn-text">not distributed: {problem}</div>}
                      </td>
                      <td class="break">
                        {text(newest["by"]) === "" ? (
                          <span class="muted">no version yet</span>
                        ) : (
                          <>
                            <strong>{text(newest["by"])}</strong> <span class="muted small nowrap">{dateTime(number(newest["time_ns"]))}</span>
                            <div>{text(newest["reason"])}</div>
                          </>
                        )}
                      </td>
                      <td class="nowrap">
                        <a class="button small" href={`/config/${service}`}>
                          Open
                        </a>{" "}
                        <a class="button small" href={`/config/${service}/history`}>
                          History
                        </a>
                      </td>
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

const VIEWS = [
  ["edit", "Document"],
  ["history", "History"],
  ["processes", "Processes"],
] as const;

function One({ service, view }: { service: string; view: string }): JSX.Element {
  const document = DOCUMENTS[service];
  const shown = VIEWS.find(([id]) => id === view)?.[0] ?? "edit";
  return (
    <>
      <PageHead title={document?.title ?? service} about={document?.about ?? ""}>
        <a href="/config">All documents</a>
      </PageHead>
      <nav class="tabs" aria-label={document?.title ?? service}>
        {VIEWS.map(([id, title]) => (
          <a key={id} href={id === "edit" ? `/config/${service}` : `/config/${service}/${id}`} aria-current={shown === id ? "page" : undefined}>
            {title}
          </a>
        ))}
      </nav>
      {shown === "edit" && <Editor service={service} role={document?.role ?? "risk"} />}
      {shown === "history" && <History service={service} role={document?.role ?? "risk"} />}
      {shown === "processes" && <Processes service={service} />}
    </>
  );
}

function Processes({ service }: { service: string }): JSX.Element {
  const seen = status.value;
  const processes = processesOf(service, seen?.value.services ?? []);
  return (
    <Panel title="Who runs which version" aged at={seen?.at} flush>
      {processes.length === 0 ? (
        <Empty>No process of this service has reported.</Empty>
      ) : (
        <Scroll label="Processes">
          <table>
            <thead>
              <tr>
                <th>Member</th>
                <th>State</th>
                <th class="number">Runs</th>
                <th class="number">Wanted</th>
                <th>Why</th>
              </tr>
            </thead>
            <tbody>
              {processes.map((process) => {
                const state = judge(process);
                return (
                  <tr key={process.member}>
                    <td>
                      <strong>{process.member || process.service}</strong> <span class="muted small">{process.host}</span>
                    </td>
                    <td>
                      <State tone={state.tone}>{state.word}</State>
                    </td>
                    <td class="number">{process.version ?? "–"}</td>
                    <td class="number">{process.wanted ?? "–"}</td>
                    <td class="break">{process.reason}</td>
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
