/**
 * A form made from a JSON Schema. It holds no state of a document: it shows a value and says what a person wants it to be. What
 * is wrong stands at its field, whoever found it: this page while typing, or the server.
 */

import type { ComponentChildren, JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { FieldProblem } from "../core/api";
import { fields, text, type Fields } from "../core/read";
import { branchFor, initial } from "./check";
import { nodeOf, type Branch, type Node, type Property } from "./model";
import { isWithin, pathText, type Path } from "./path";

export interface FormContext {
  root: Fields;
  problems: FieldProblem[];
  readOnly: boolean;
  change(path: Path, value: unknown): void;
}

interface FieldProps {
  form: FormContext;
  schema: unknown;
  path: Path;
  value: unknown;
  label: string;
  required: boolean;
  /** What stands beside the label: taking an entry away. */
  actions?: ComponentChildren;
  depth: number;
}

/** Entries of a list that are shown before a person asks for more. */
const SHOWN_MAX = 30;
const TICKS_MAX = 12;

export function Form({ form, schema, value }: { form: FormContext; schema: unknown; value: unknown }): JSX.Element {
  const node = nodeOf(schema, form.root);
  if (node.kind !== "object") return <FieldView form={form} schema={schema} path={[]} value={value} label="document" required depth={0} />;
  return (
    <div class="form">
      <Properties form={form} node={node} path={[]} value={fields(value)} depth={0} />
    </div>
  );
}

function idOf(path: Path): string {
  return `f-${pathText(path)}`;
}

function FieldView(props: FieldProps): JSX.Element {
  const { form, schema, value, path } = props;
  const node = nodeOf(schema, form.root);
  const absent = value === undefined || value === null;
  switch (node.kind) {
    case "object":
    case "array":
      if (absent) return <Absent {...props} node={node} />;
      if (node.kind === "array") return <ListView {...props} node={node} value={Array.isArray(value) ? (value as unknown[]) : []} />;
      return (
        <Section {...props} node={node} summary={summaryOf(value)}>
          <Properties form={form} node={node} path={path} value={fields(value)} depth={props.depth + 1} />
        </Section>
      );
    case "choice":
      if (absent && !props.required) return <Absent {...props} node={node} />;
      return <ChoiceView {...props} node={node} />;
    default:
      return <Leaf {...props} node={node} />;
  }
}

function Properties({ form, node, path, value, depth }: { form: FormContext; node: Extract<Node, { kind: "object" }>; path: Path; value: Fields; depth: number }): JSX.Element {
  const known = new Set(node.properties.map((property) => property.name));
  const unknown = Object.keys(value).filter((name) => !known.has(name));
  const leaf = (property: Property): boolean => !["object", "array", "choice"].includes(nodeOf(property.schema, form.root).kind);
  const rank = (property: Property): number => (property.required ? 0 : 2) + (leaf(property) ? 0 : 1);
  const sorted = [...node.properties].sort((x, y) => rank(x) - rank(y));
  return (
    <>
      {sorted.map((property) => (
        <FieldView
          key={property.name}
          form={form}
          schema={property.schema}
          path={[...path, property.name]}
          value={value[property.name]}
          label={property.name}
          required={property.required}
          depth={depth}
        />
      ))}
      {unknown.map((name) => (
        <div key={name} class="field" data-path={pathText([...path, name])}>
          <span class="label">
            <code>{name}</code>
          </span>
          <div class="field-input">
            <code class="break">{JSON.stringify(value[name])}</code>
            <Errors form={form} path={[...path, name]} deep />
            {!form.readOnly && (
              <button type="button" class="small" onClick={() => form.change([...path, name], undefined)}>
                Take away
              </button>
            )}
          </div>
        </div>
      ))}
    </>
  );
}

function errorsAt(form: FormContext, path: Path, deep: boolean): FieldProblem[] {
  const own = pathText(path);
  return form.problems.filter((problem) => problem.service === undefined && (deep ? isWithin(problem.path, own) : problem.path === own));
}

function Errors({ form, path, deep }: { form: FormContext; path: Path; deep: boolean }): JSX.Element | null {
  const found = errorsAt(form, path, deep);
  if (found.length === 0) return null;
  return (
    <div id={`${idOf(path)}-error`}>
      {found.map((problem) => (
        <p key={problem.message} class="field-error">
          <span aria-hidden="true">■</span> {problem.message}
        </p>
      ))}
    </div>
  );
}

/** `code` in backticks, the rest as it is. */
export function Described({ said }: { said: string }): JSX.Element | null {
  if (said === "") return null;
  const parts = said.replaceAll("\n", " ").split("`");
  return <p class="described">{parts.map((part, index) => (index % 2 === 1 ? <code key={index}>{part}</code> : part))}</p>;
}

function Label({ label, required, forId }: { label: string; required: boolean; forId?: string }): JSX.Element {
  const inner = (
    <>
      <code>{label}</code>
      {required && (
        <span class="required" title="needed">
          {" "}
          *
        </span>
      )}
    </>
  );
  return forId === undefined ? <span class="label">{inner}</span> : <label for={forId}>{inner}</label>;
}

function Leaf({ form, path, value, label, required, actions, node }: FieldProps & { node: Node }): JSX.Element {
  const id = idOf(path);
  const wrong = errorsAt(form, path, true).length > 0;
  const described = node.description === "" ? undefined : `${id}-about`;
  const shared = {
    id,
    disabled: form.readOnly,
    "aria-invalid": wrong,
    "aria-describedby": [wrong ? `${id}-error` : undefined, described].filter((part) => part !== undefined).join(" ") || undefined,
  };
  const change = (next: unknown): void => form.change(path, next);
  return (
    <div class="field" data-path={pathText(path)}>
      <Label label={label} required={required} forId={id} />
      <div class="field-input">
        <div class="row tight">
          <Input node={node} value={value} required={required} change={change} shared={shared} />
          {actions}
        </div>
        <Errors form={form} path={path} deep />
        <div id={described}>
          <Described said={node.description} />
        </div>
      </div>
    </div>
  );
}

type Shared = Record<string, unknown>;

function fallbackText(node: Node): string {
  if (node.fallback === undefined || node.fallback === null) return "not set";
  return `default: ${typeof node.fallback === "string" ? node.fallback : JSON.stringify(node.fallback)}`;
}

function Input({ node, value, required, change, shared }: { node: Node; value: unknown; required: boolean; change(next: unknown): void; shared: Shared }): JSX.Element {
  const emptied = required && !node.nullable ? "" : undefined;
  switch (node.kind) {
    case "enum": {
      const at = node.values.findIndex((known) => known.value === value);
      const said = at < 0 ? (value === undefined || value === null ? "" : "?") : String(at);
      return (
        <select {...shared} value={said} onChange={(event) => change(event.currentTarget.value === "" ? undefined : node.values[Number(event.currentTarget.value)]?.value)}>
          {(!required || said === "") && <option value="">{fallbackText(node)}</option>}
          {said === "?" && <option value="?">{text(value)}</option>}
          {node.values.map((known, index) => (
            <option key={known.label} value={String(index)}>
              {known.label}
            </option>
          ))}
        </select>
      );
    }
    case "boolean": {
      const said = value === true ? "yes" : value === false ? "no" : "";
      return (
        <select {...shared} value={said} onChange={(event) => change(event.currentTarget.value === "" ? undefined : event.currentTarget.value === "yes")}>
          {(!required || said === "") && <option value="">{node.fallback === undefined ? "not set" : `default: ${node.fallback === true ? "yes" : "no"}`}</option>}
          <option value="yes">yes</option>
          <option value="no">no</option>
        </select>
      );
    }
    case "number":
      return (
        <input
          {...shared}
          class="number-input"
          inputMode={node.integer ? "numeric" : "decimal"}
          autocomplete="off"
          value={value === undefined || value === null ? "" : text(value)}
          placeholder={required ? "" : fallbackText(node)}
          onInput={(event) => change(event.currentTarget.value.trim() === "" ? emptied : readNumber(event.currentTarget.value))}
        />
      );
    case "string":
      return <TextInput value={text(value)} placeholder={required ? "" : fallbackText(node)} change={(said) => change(said === "" ? emptied : said)} shared={shared} />;
    default:
      return <AnyInput value={value} change={change} shared={shared} />;
  }
}

/** One line, or several when the text was long at first: a field does not change its kind under somebody's hands. */
function TextInput({ value, placeholder, change, shared }: { value: string; placeholder: string; change(said: string): void; shared: Shared }): JSX.Element {
  const [long] = useState(value.length > 64 || value.includes("\n"));
  const rows = Math.min(8, Math.max(2, Math.ceil(value.length / 64) + value.split("\n").length - 1));
  return long ? (
    <textarea {...shared} class="long-text" rows={rows} spellcheck={false} value={value} onInput={(event) => change(event.currentTarget.value)} />
  ) : (
    <input {...shared} class="text-input" autocomplete="off" spellcheck={false} value={value} placeholder={placeholder} onInput={(event) => change(event.currentTarget.value)} />
  );
}

/** A number as it was typed; what is none stays text, so that it can be corrected, and is refused by its schema. */
function readNumber(said: string): unknown {
  const clean = said.trim().replaceAll(/[_\s]/g, "");
  return /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.test(clean) ? Number(clean) : said;
}

/** What the form does not understand, as JSON. */
function AnyInput({ value, change, shared }: { value: unknown; change(next: unknown): void; shared: Shared }): JSX.Element {
  const [typed, setTyped] = useState<string | undefined>();
  const [bad, setBad] = useState(false);
  return (
    <>
      <textarea
        {...shared}
        class="long-text"
        rows={2}
        spellcheck={false}
        value={typed ?? (value === undefined ? "" : JSON.stringify(value))}
        onInput={(event) => {
          const said = event.currentTarget.value;
          setTyped(said);
          try {
            change(said.trim() === "" ? undefined : (JSON.parse(said) as unknown));
            setBad(false);
          } catch {
            setBad(true);
          }
        }}
      />
      {bad && <p class="field-error">is no JSON yet</p>}
    </>
  );
}

function summaryOf(value: unknown): string {
  const own = fields(value);
  const name = text(own["name"] ?? own["venue"]);
  if (name !== "") return name;
  const instrument = fields(own["instrument"]);
  if (Object.keys(instrument).length > 0) return Object.values(instrument).map(text).join(":");
  const said = Object.entries(own)
    .filter(([, inner]) => inner !== null && typeof inner !== "object")
    .slice(0, 3)
    .map(([field, inner]) => `${field} ${text(inner)}`)
    .join(", ");
  return said.length > 70 ? `${said.slice(0, 69)}…` : said;
}

function Section({ form, path, label, required, actions, depth, node, summary, children }: FieldProps & { node: Node; summary: string; children: ComponentChildren }): JSX.Element {
  const wrong = errorsAt(form, path, true).length;
  const [open, setOpen] = useState(depth < 1 || wrong > 0);
  // What is found wrong inside opens it; that it is put right does not close it under somebody's hands.
  useEffect(() => {
    if (wrong > 0) setOpen(true);
  }, [wrong > 0]);
  const removable = !required && actions === undefined && !form.readOnly;
  return (
    <details class={`section depth-${Math.min(depth, 4)}`} open={open} onToggle={(event) => setOpen(event.currentTarget.open)} data-path={pathText(path)} id={depth === 0 ? text(path[0]) : undefined}>
      <summary>
        <span class="section-title">
          <code>{label}</code>
          {required && <span class="required"> *</span>}
        </span>
        {summary !== "" && <span class="muted section-summary">{summary}</span>}
        {wrong > 0 && <span class="section-wrong">■ {wrong} wrong</span>}
      </summary>
      <div class="section-body">
        <div class="section-head">
          <Described said={node.description} />
          {actions}
          {removable && (
            <button type="button" class="small quiet" onClick={() => form.change(path, undefined)}>
              Take <code>{label}</code> away
            </button>
          )}
        </div>
        <Errors form={form} path={path} deep={false} />
        {children}
      </div>
    </details>
  );
}

function Absent({ form, schema, path, label, required, node, actions }: FieldProps & { node: Node }): JSX.Element {
  return (
    <div class="field absent" data-path={pathText(path)}>
      <Label label={label} required={required} />
      <div class="field-input">
        <div class="row tight">
          <button type="button" class="small" id={idOf(path)} disabled={form.readOnly} onClick={() => form.change(path, node.kind === "array" ? [] : initial(schema, form.root))}>
            + Add <code>{label}</code>
          </button>
          <span class="muted small">{node.fallback === undefined || node.fallback === null ? "not set" : "as by default"}</span>
          {actions}
        </div>
        <Errors form={form} path={path} deep />
        <Described said={node.description} />
      </div>
    </div>
  );
}

function ChoiceView(props: FieldProps & { node: Extract<Node, { kind: "choice" }> }): JSX.Element {
  const { form, path, value, label, required, actions, node, depth } = props;
  const branch = branchFor(value, node.branches, form.root);
  const at = branch === undefined ? -1 : node.branches.indexOf(branch);
  const id = idOf(path);
  const own = errorsAt(form, path, false).length > 0;
  const inner = branch === undefined ? undefined : insideOf(branch, path, value, form);
  return (
    <div class={`choice ${inner === undefined ? "plain" : ""}`} data-path={pathText(path)}>
      <div class="field">
        <Label label={label} required={required} forId={id} />
        <div class="field-input">
          <div class="row tight">
            <select
              id={id}
              disabled={form.readOnly}
              aria-invalid={own}
              aria-describedby={own ? `${id}-error` : undefined}
              value={String(at)}
              onChange={(event) => {
                const next = node.branches[Number(event.currentTarget.value)];
                form.change(path, next === undefined ? undefined : initial(next.schema, form.root));
              }}
            >
              {(at < 0 || !required) && <option value="-1">{at < 0 && value !== undefined ? brief(value) : "not set"}</option>}
              {node.branches.map((known, index) => (
                <option key={known.label} value={String(index)}>
                  {known.label}
                </option>
              ))}
            </select>
            {actions}
          </div>
          <Errors form={form} path={path} deep={false} />
          <Described said={branch?.description || node.description} />
        </div>
      </div>
      {inner !== undefined && (
        <div class="choice-inner">
          <FieldView form={form} {...inner} depth={depth + 1} />
        </div>
      )}
    </div>
  );
}

function brief(value: unknown): string {
  const said = JSON.stringify(value);
  return said.length > 40 ? `${said.slice(0, 39)}…` : said;
}

type Inner = Pick<FieldProps, "schema" | "path" | "value" | "label" | "required">;

/** What of a shape is still to be filled in: the field behind its tag, or all of it; nothing of a word. */
function insideOf(branch: Branch, path: Path, value: unknown, form: FormContext): Inner | undefined {
  if (branch.tag !== undefined) {
    const schema = fields(branch.schema["properties"])[branch.tag];
    return { schema, path: [...path, branch.tag], value: fields(value)[branch.tag], label: branch.tag, required: true };
  }
  const node = nodeOf(branch.schema, form.root);
  if (node.kind === "enum" && node.values.length === 1) return undefined;
  return { schema: branch.schema, path, value, label: branch.label, required: true };
}

function ListView(props: FieldProps & { node: Extract<Node, { kind: "array" }>; value: unknown[] }): JSX.Element {
  const { form, path, value, node, depth } = props;
  const [shown, setShown] = useState(SHOWN_MAX);
  const items = nodeOf(node.items, form.root);
  if (items.kind === "enum" && items.values.length <= TICKS_MAX) {
    return <Ticks {...props} node={node} values={items.values} />;
  }
  const remove = (index: number): JSX.Element => (
    <button type="button" class="small quiet" disabled={form.readOnly} aria-label={`Take entry ${index + 1} of ${props.label} away`} onClick={() => form.change([...path, index], undefined)}>
      Take away
    </button>
  );
  const copy = (index: number): JSX.Element => (
    <button type="button" class="small quiet" disabled={form.readOnly} aria-label={`Copy entry ${index + 1} of ${props.label}`} onClick={() => form.change(path, [...value.slice(0, index + 1), structuredClone(value[index]), ...value.slice(index + 1)])}>
      Copy
    </button>
  );
  return (
    <Section {...props} node={node} summary={`${value.length} ${value.length === 1 ? "entry" : "entries"}`}>
      {value.slice(0, shown).map((item, index) => (
        <FieldView
          key={index}
          form={form}
          schema={node.items}
          path={[...path, index]}
          value={item}
          label={String(index + 1)}
          required
          depth={depth + 1}
          actions={
            form.readOnly ? undefined : (
              <>
                {copy(index)}
                {remove(index)}
              </>
            )
          }
        />
      ))}
      <div class="row">
        {value.length > shown && (
          <button type="button" class="small" onClick={() => setShown(shown + 100)}>
            Show more ({value.length - shown})
          </button>
        )}
        {!form.readOnly && (
          <button type="button" class="small" id={idOf(path)} onClick={() => { setShown(Math.max(shown, value.length + 1)); form.change([...path, value.length], initial(node.items, form.root) ?? ""); }}>
            + Add to <code>{props.label}</code>
          </button>
        )}
      </div>
    </Section>
  );
}

/** A list of a few words: one tick each, in the schema's order. */
function Ticks({ form, path, value, label, required, node, values }: FieldProps & { node: Node; value: unknown[]; values: { value: unknown; label: string }[] }): JSX.Element {
  const toggle = (word: unknown, on: boolean): void =>
    form.change(
      path,
      values.map((known) => known.value).filter((known) => (known === word ? on : value.includes(known))),
    );
  return (
    <fieldset class="field ticks" data-path={pathText(path)} id={idOf(path)} tabIndex={-1}>
      <legend class="label">
        <code>{label}</code>
        {required && <span class="required"> *</span>}
      </legend>
      <div class="field-input">
        <div class="row">
          {values.map((known) => (
            <label key={known.label} class="tick">
              <input type="checkbox" disabled={form.readOnly} checked={value.includes(known.value)} onChange={(event) => toggle(known.value, event.currentTarget.checked)} />
              {known.label}
            </label>
          ))}
        </div>
        <Errors form={form} path={path} deep />
        <Described said={node.description} />
      </div>
    </fieldset>
  );
}

/** Opens what is around a place and puts the focus on it. */
export function showPlace(place: string): void {
  const all = [...document.querySelectorAll<HTMLElement>("[data-path]")].filter((element) => isWithin(place, element.dataset["path"] ?? ""));
  all.sort((x, y) => (y.dataset["path"] ?? "").length - (x.dataset["path"] ?? "").length);
  const [nearest] = all;
  if (nearest === undefined) return;
  for (let up: HTMLElement | null = nearest; up !== null; up = up.parentElement) {
    if (up instanceof HTMLDetailsElement) up.open = true;
  }
  const input = nearest.querySelector<HTMLElement>("input, select, textarea, summary, button") ?? nearest;
  input.focus({ preventScroll: true });
  nearest.scrollIntoView({ block: "center" });
}
