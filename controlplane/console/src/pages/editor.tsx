/**
 * Editing a document: as a form or as text, checked by its schema while typing and by the server before it is applied. What is
 * applied was seen as a difference first. A version that somebody else made meanwhile stops it.
 */

import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { ApiProblem, newKey, type FieldProblem } from "../core/api";
import { may } from "../core/model";
import { fields, hasUnsafeInteger, list, number, text, type Fields } from "../core/read";
import { guard } from "../core/router";
import { ask, configChanged, who } from "../core/state";
import { check, initial } from "../schema/check";
import { Form, showPlace, type FormContext } from "../schema/form";
import { isWithin, pathText, withValue, type Path } from "../schema/path";
import { lineOf, parseText, toYaml } from "../schema/text";
import { useLoad } from "../ui/load";
import { Dialog, Empty, Note, Panel, Problem, toast } from "../ui/parts";
import { Changes, readChanges, readRehearsal, Rehearsed, type Change, type Rehearsal } from "./changes";
import { aside, bodyOf, setAside, takeOut, Together, type Draft } from "./together";

interface Base {
  version: number;
  etag: string;
  document: unknown;
  unsafe: boolean;
}

/** The stored document, or what a first version begins with. */
function readBase(answer: { value: unknown; etag: string; raw: string }): Base {
  const own = fields(answer.value);
  const version = number(own["version"]) ?? 0;
  return {
    version,
    etag: answer.etag === "" ? `"${version}"` : answer.etag,
    document: own["document"],
    unsafe: hasUnsafeInteger(answer.raw.replaceAll(/"time_ns":\s*\d+/g, "")),
  };
}

export function Editor({ service, role }: { service: string; role: "operator" | "risk" }): JSX.Element {
  const stored = useLoad(`/v1/config/${service}`);
  const schema = useLoad(`/v1/config/${service}/schema`);
  const none = stored.problem instanceof ApiProblem && stored.problem.status === 404;
  const root = fields(schema.answer?.value);
  if (schema.answer === undefined || (stored.answer === undefined && !none)) {
    return (
      <>
        <Problem problem={none ? schema.problem : (stored.problem ?? schema.problem)} />
        <Empty>Reading …</Empty>
      </>
    );
  }
  const base: Base =
    stored.answer === undefined
      ? { version: 0, etag: "", document: initial(root, root), unsafe: false }
      : readBase(stored.answer);
  return <Editing key={`${service} ${base.version} ${stored.at ?? 0}`} service={service} root={root} base={base} allowed={may(who.value?.role ?? "", role)} role={role} reload={stored.reload} />;
}

interface EditingProps {
  service: string;
  root: Fields;
  base: Base;
  allowed: boolean;
  role: string;
  reload(): void;
}

function Editing({ service, root, base, allowed, role, reload }: EditingProps): JSX.Element {
  const kept = aside.value.get(service);
  const [draft, setDraft] = useState<unknown>(kept?.version === base.version ? kept.document : base.document);
  const [mode, setMode] = useState<"form" | "text">(base.unsafe ? "text" : "form");
  const [said, setSaid] = useState(() => toYaml(draft));
  const [refused, setRefused] = useState<FieldProblem[]>([]);
  const [problem, setProblem] = useState<unknown>();
  const [conflict, setConflict] = useState<number | undefined>();
  const [review, setReview] = useState<Reviewed[] | undefined>();
  const [busy, setBusy] = useState(false);
  const parsed = useMemo(() => (mode === "text" ? parseText(said) : undefined), [mode, said]);
  const value = mode === "text" ? parsed?.value : draft;
  const before = useMemo(() => JSON.stringify(base.document), [base]);
  const dirty = mode === "text" ? said !== toYaml(base.document) : JSON.stringify(draft) !== before;
  const shape = useMemo(() => (value === undefined ? [] : check(value, root)), [value, root]);
  const problems = useMemo(() => unique([...shape, ...refused.map((known) => mine(known, service))]), [shape, refused]);
  useLeaving(dirty && JSON.stringify(value) !== JSON.stringify(kept?.document));
  // What a browser cannot hold exactly is sent as the text that it is, which only works alone.
  const others = base.unsafe ? [] : [...aside.value].filter(([other]) => other !== service);
  const own: Draft = { version: base.version, document: value };

  const change = (path: Path, next: unknown): void => {
    const place = pathText(path);
    setDraft((now: unknown) => withValue(now, path, next));
    setRefused((now) => now.filter((known) => !isWithin(known.path, place) && !isWithin(place, known.path)));
    setProblem(undefined);
  };
  const toText = (): void => {
    setSaid(toYaml(draft));
    setMode("text");
  };
  const toForm = (): void => {
    if (parsed === undefined || parsed.problems.length > 0) return;
    setDraft(parsed.value);
    setMode("form");
  };
  const body = mode === "text" ? { text: { content: said, type: "application/yaml" } } : { body: draft };
  const condition = base.version === 0 ? { ifNoneMatch: "*" } : { ifMatch: base.etag };
  const take = (caught: unknown): void => {
    if (caught instanceof ApiProblem && caught.status === 412 && others.length === 0) setConflict(caught.currentVersion ?? 0);
    else if (caught instanceof ApiProblem && caught.errors.length > 0) {
      setRefused(caught.errors);
      setProblem(caught);
      const [first] = caught.errors;
      if (first !== undefined && mode === "form") setTimeout(() => showPlace(first.path), 0);
    } else setProblem(caught);
  };
  const send = (query: URLSearchParams, key?: string): Promise<{ value: unknown }> => {
    const idempotent = key === undefined ? {} : { idempotencyKey: key };
    return others.length === 0
      ? ask.peek()(`/v1/config/${service}?${query}`, { method: "PUT", ...body, ...condition, ...idempotent })
      : ask.peek()(`/v1/config?${query}`, { method: "POST", body: bodyOf([[service, own], ...others]), ...idempotent });
  };
  const look = async (): Promise<void> => {
    setBusy(true);
    setProblem(undefined);
    setRefused([]);
    try {
      const { value: answer } = await send(new URLSearchParams({ dry_run: "true" }));
      const of = fields(fields(answer)["documents"]);
      const several: [string, Draft][] = [[service, own], ...others];
      setReview(several.map(([name, { version }]) => reviewed(name, version, others.length === 0 ? answer : of[name])));
    } catch (caught) {
      take(caught);
    }
    setBusy(false);
  };
  const form: FormContext = { root, problems, readOnly: !allowed, change };
  return (
    <div class="stack editor">
      <div class="editor-bar">
        <span class="tag">{base.version === 0 ? "no version yet" : `version ${base.version}`}</span>
        {dirty && <span class="tag changed">changed, not applied</span>}
        <span class="space" />
        <div class="segments" role="group" aria-label="Edit as">
          <button type="button" aria-pressed={mode === "form"} disabled={base.unsafe || (parsed?.problems.length ?? 0) > 0} onClick={() => mode === "text" && toForm()}>
            Form
          </button>
          <button type="button" aria-pressed={mode === "text"} onClick={() => mode === "form" && toText()}>
            Text
          </button>
        </div>
        <button type="button" disabled={!dirty} onClick={() => { takeOut([service]); reload(); }}>
          Discard
        </button>
        <button
          type="button"
          title="Keep it, to be applied together with another document"
          disabled={!allowed || base.unsafe || !dirty || value === undefined || shape.length > 0}
          onClick={() => {
            setAside(service, own);
            toast("good", `${service} is set aside. It is applied with the next document that you review.`);
          }}
        >
          Set aside
        </button>
        <button type="button" class="primary" disabled={!allowed || busy || !dirty || value === undefined || shape.length > 0} onClick={() => void look()}>
          {busy ? "Checking …" : "Review changes"}
        </button>
      </div>
      {!allowed && <Note tone="warn">You may read this document. Changing it takes the role {role}.</Note>}
      {base.unsafe && <Note tone="warn">This document has a number that a browser cannot hold exactly. So it is edited as text.</Note>}
      <Together others={others} />
      <Meanwhile service={service} version={base.version} dirty={dirty} reload={reload} />
      {conflict !== undefined && <Conflict version={base.version} current={conflict} draft={() => (mode === "text" ? said : toYaml(draft))} reload={reload} />}
      <Wrong problems={problems} problem={problem} said={mode === "text" ? said : undefined} syntax={parsed?.problems ?? []} />
      {mode === "form" ? (
        <Panel title="Document">
          <Form form={form} schema={root} value={draft} />
        </Panel>
      ) : (
        <TextEditor said={said} readOnly={!allowed} onChange={(next) => { setSaid(next); setRefused([]); setProblem(undefined); }} lines={[...(parsed?.problems ?? []).map((known) => known.line), ...problems.map((known) => lineOf(said, known.path))]} />
      )}
      {review !== undefined && (
        <Apply
          documents={review}
          send={(reason, key) => send(new URLSearchParams({ reason }), key)}
          onClose={() => setReview(undefined)}
          onRefused={(caught) => { setReview(undefined); take(caught); }}
          onDone={() => { guard.ask = undefined; takeOut(review.map((known) => known.service)); setReview(undefined); reload(); }}
        />
      )}
    </div>
  );
}

/** A problem that names this document is one of its fields; another document's is only listed. */
function mine(problem: FieldProblem, service: string): FieldProblem {
  return problem.service === service ? { path: problem.path, message: problem.message } : problem;
}

function unique(problems: FieldProblem[]): FieldProblem[] {
  const seen = new Set<string>();
  return problems.filter(({ path, message }) => {
    const key = `${path} ${message}`;
    return !seen.has(key) && seen.add(key) !== undefined;
  });
}

/** Asks before changes are lost by leaving the page. */
function useLeaving(dirty: boolean): void {
  useEffect(() => {
    if (!dirty) return;
    const ask = (): boolean => confirm("Your changes are not applied. Leave them?");
    const onUnload = (event: BeforeUnloadEvent): void => event.preventDefault();
    guard.ask = ask;
    addEventListener("beforeunload", onUnload);
    return () => {
      if (guard.ask === ask) guard.ask = undefined;
      removeEventListener("beforeunload", onUnload);
    };
  }, [dirty]);
}

/** Says that a newer version is there; reads it by itself when nothing is lost by that. */
function Meanwhile({ service, version, dirty, reload }: { service: string; version: number; dirty: boolean; reload(): void }): JSX.Element | null {
  const loaded = useLoad("/v1/config", 5_000, configChanged.value);
  const entry = list(fields(loaded.answer?.value)["items"]).map(fields).find((known) => known["service"] === service);
  const newest = number(entry?.["version"]) ?? 0;
  const newer = newest > version;
  useEffect(() => {
    if (newer && !dirty) reload();
  }, [newer, dirty]);
  if (!newer || !dirty) return null;
  return (
    <Note tone="warn">
      <strong>
        Version {newest} was made by {text(fields(entry?.["newest"])["by"])} meanwhile.
      </strong>{" "}
      Yours begins from version {version} and will not be taken. <a href={`/config/${service}/history`}>See what changed</a>
    </Note>
  );
}

function Conflict({ version, current, draft, reload }: { version: number; current: number; draft(): string; reload(): void }): JSX.Element {
  return (
    <Note tone="bad" alert>
      <p>
        <strong>Not applied: somebody was faster.</strong> You edited version {version}; {current === 0 ? "there is another version now" : `version ${current} is current`}. Nothing was changed.
      </p>
      <div class="row">
        <button type="button" class="small" onClick={() => void navigator.clipboard.writeText(draft()).then(() => toast("good", "Your draft is copied."), () => toast("warn", "It could not be copied."))}>
          Copy my draft
        </button>
        <button type="button" class="small primary" onClick={reload}>
          Load {current === 0 ? "the current version" : `version ${current}`}
        </button>
      </div>
    </Note>
  );
}

function Wrong({ problems, problem, said, syntax }: { problems: FieldProblem[]; problem: unknown; said: string | undefined; syntax: { line: number; message: string }[] }): JSX.Element | null {
  const count = problems.length + syntax.length;
  if (count === 0) return <Problem problem={problem} />;
  const other = problem instanceof ApiProblem && problem.errors.length > 0 ? problem.said : undefined;
  return (
    <Note tone="bad" alert={problem !== undefined}>
      <p>
        <strong>{count === 1 ? "One thing is wrong." : `${count} things are wrong.`}</strong> {other}
      </p>
      <ul class="wrong-list">
        {syntax.map((known) => (
          <li key={`${known.line} ${known.message}`}>
            line {known.line}: {known.message}
          </li>
        ))}
        {problems.slice(0, 20).map((known) => (
          <li key={`${known.path} ${known.message}`}>
            {said === undefined ? (
              <button type="button" class="link" onClick={() => showPlace(known.path)}>
                <code>{placeOf(known)}</code>
              </button>
            ) : (
              <>
                line {lineOf(said, known.path)}: <code>{placeOf(known)}</code>
              </>
            )}{" "}
            {known.message}
          </li>
        ))}
      </ul>
    </Note>
  );
}

function placeOf(problem: FieldProblem): string {
  const path = problem.path || "document";
  return problem.service === undefined ? path : `${problem.service}: ${path}`;
}

function TextEditor({ said, readOnly, onChange, lines }: { said: string; readOnly: boolean; onChange(next: string): void; lines: number[] }): JSX.Element {
  const gutter = useRef<HTMLDivElement>(null);
  const count = said.split("\n").length;
  const wrong = new Set(lines);
  return (
    <section class="panel code" aria-label="Document as text">
      <div class="gutter" ref={gutter} aria-hidden="true">
        {Array.from({ length: count }, (_, index) => (
          <div key={index} class={wrong.has(index + 1) ? "wrong" : ""}>
            {index + 1}
          </div>
        ))}
      </div>
      <textarea
        aria-label="Document as YAML or JSON"
        value={said}
        readOnly={readOnly}
        spellcheck={false}
        wrap="off"
        onScroll={(event) => gutter.current?.scrollTo(0, event.currentTarget.scrollTop)}
        onInput={(event) => onChange(event.currentTarget.value)}
      />
    </section>
  );
}

/** One document of what is about to be applied. */
interface Reviewed {
  service: string;
  version: number;
  changes: Change[];
  rehearsal: Rehearsal | undefined;
}

function reviewed(service: string, version: number, answer: unknown): Reviewed {
  return { service, version, changes: readChanges(answer), rehearsal: readRehearsal(answer) };
}

interface ApplyProps {
  documents: Reviewed[];
  send(reason: string, key: string): Promise<unknown>;
  onClose(): void;
  onRefused(caught: unknown): void;
  onDone(): void;
}

function Apply({ documents, send, onClose, onRefused, onDone }: ApplyProps): JSX.Element {
  const [reason, setReason] = useState("");
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<unknown>();
  const key = useRef(newKey());
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    setBusy(true);
    try {
      await send(reason.trim(), key.current);
      toast("good", `${documents.map(({ service, version }) => `Version ${version + 1} of ${service}`).join(", ")}: stored and on its way.`);
      onDone();
    } catch (caught) {
      // No answer: the same key makes a second try harmless. Anything else is for the editor.
      if (caught instanceof ApiProblem && caught.status !== 0 && caught.status !== 429) onRefused(caught);
      else setProblem(caught);
      setBusy(false);
    }
  };
  return (
    <Dialog title={`What changes in ${documents.map((known) => known.service).join(" and ")}`} onClose={onClose} class="wide">
      {documents.map(({ service, changes, rehearsal }) => (
        <section key={service} class="stack" aria-label={service}>
          {documents.length > 1 && <h3>{service}</h3>}
          <Changes changes={changes} />
          {rehearsal !== undefined && <Rehearsed said={rehearsal} />}
        </section>
      ))}
      <form class="bare" onSubmit={(event) => void submit(event)}>
        <label for="apply-reason">Reason</label>
        <input id="apply-reason" value={reason} maxLength={256} required autofocus placeholder="Why is it changed?" onInput={(event) => setReason(event.currentTarget.value)} />
        <Problem problem={problem} />
        <div class="dialog-actions">
          <button type="button" onClick={onClose}>
            Back
          </button>
          <button type="submit" class="primary" disabled={busy || reason.trim() === "" || documents.every((known) => known.changes.length === 0)}>
            {busy ? "Applying …" : documents.length > 1 ? "Apply together" : `Apply as version ${(documents[0]?.version ?? 0) + 1}`}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
