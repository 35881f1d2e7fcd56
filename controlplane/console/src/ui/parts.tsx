/** The parts that pages are made of. Whatever shows live data says how old it is. */

import type { ComponentChildren, JSX } from "preact";
import { useId, useLayoutEffect, useRef } from "preact/hooks";
import { signal } from "@preact/signals";
import { now } from "../core/state";
import { ageMs, ageText, isStale } from "../core/stale";
import { ApiProblem } from "../core/api";

export type Tone = "good" | "warn" | "bad" | "calm";

const SHAPES: Record<Tone, JSX.Element> = {
  good: <circle cx="8" cy="8" r="7" fill="currentColor" />,
  warn: <path d="M8 0.5 15.7 15H0.3z" fill="currentColor" />,
  bad: <path d="M1.5 1.5h13v13h-13z" fill="currentColor" />,
  calm: <circle cx="8" cy="8" r="6" fill="none" stroke="currentColor" stroke-width="2.5" stroke-dasharray="4 3" />,
};

/** A state as a word with a shape, so that it is read without colour. */
export function State({ tone, children, big = false }: { tone: Tone; children: ComponentChildren; big?: boolean }): JSX.Element {
  return (
    <span class={`state ${tone}${big ? " big" : ""}`}>
      <svg viewBox="0 0 16 16" aria-hidden="true">
        {SHAPES[tone]}
      </svg>
      {children}
    </span>
  );
}

/** How old something is: `live`, or its age when that is above two seconds. */
export function Age({ at, said = 0 }: { at: number | undefined; said?: number }): JSX.Element {
  const age = ageMs(at, now.value, said);
  if (!isStale(age)) return <span class="age live">live</span>;
  return <span class="age stale">▲ {ageText(age)}</span>;
}

interface PanelProps {
  title: string;
  children: ComponentChildren;
  /** When it arrived; leave it out for what does not age. */
  at?: number | undefined;
  aged?: boolean;
  /** The age that it had when it was sent, ms. */
  said?: number;
  actions?: ComponentChildren;
  flush?: boolean;
  class?: string;
}

export function Panel({ title, children, at, aged = false, said = 0, actions, flush = false, class: more = "" }: PanelProps): JSX.Element {
  const id = useId();
  const stale = aged && isStale(ageMs(at, now.value, said));
  return (
    <section class={`panel ${stale ? "stale" : ""} ${more}`} aria-labelledby={id}>
      <header>
        <h2 id={id}>{title}</h2>
        {aged && <Age at={at} said={said} />}
        <span class="space" />
        {actions}
      </header>
      <div class={`body ${flush ? "flush" : ""}`}>{children}</div>
    </section>
  );
}

/** A table that scrolls by itself, by keyboard, too. */
export function Scroll({ label, children, tall = false }: { label: string; children: ComponentChildren; tall?: boolean }): JSX.Element {
  return (
    // A region that scrolls must be reached by keyboard.
    <div class={`table-wrap ${tall ? "tall" : ""}`} role="region" aria-label={label} tabIndex={0}>
      {children}
    </div>
  );
}

export function Note({ tone, children, alert = false }: { tone: Tone; children: ComponentChildren; alert?: boolean }): JSX.Element {
  return (
    <div class={`note ${tone}`} role={alert ? "alert" : undefined}>
      <State tone={tone}>
        <span class="hidden-text">{tone}</span>
      </State>
      <div>{children}</div>
    </div>
  );
}

/** What a request was refused with, its fields too. */
export function Problem({ problem }: { problem: unknown }): JSX.Element | null {
  if (problem === undefined || problem === null) return null;
  const said = problem instanceof ApiProblem ? problem.said : problem instanceof Error ? problem.message : String(problem as string);
  const errors = problem instanceof ApiProblem ? problem.errors : [];
  return (
    <Note tone="bad" alert>
      <p>{said}</p>
      {errors.length > 0 && (
        <ul>
          {errors.map((error) => (
            <li key={`${error.path} ${error.message}`}>
              <code>{error.path}</code> {error.message}
            </li>
          ))}
        </ul>
      )}
    </Note>
  );
}

interface DialogProps {
  title: string;
  children: ComponentChildren;
  onClose(): void;
  class?: string;
}

/** A modal dialog: the browser keeps the focus in it and gives it back; Escape closes it. */
export function Dialog({ title, children, onClose, class: more = "" }: DialogProps): JSX.Element {
  const id = useId();
  const ref = useRef<HTMLDialogElement>(null);
  // Before anything else can happen: the next key already belongs to the dialog.
  useLayoutEffect(() => {
    const dialog = ref.current;
    const before = document.activeElement;
    dialog?.showModal();
    return () => {
      dialog?.close();
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);
  return (
    <dialog
      ref={ref}
      class={more}
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
    >
      <div class="dialog-body">
        <h2 id={id}>{title}</h2>
        {children}
      </div>
    </dialog>
  );
}

interface Toast {
  id: number;
  tone: Tone;
  said: string;
}
const toasts = signal<Toast[]>([]);
let toastId = 0;

/** Says something in the corner for six seconds; read out by a screen reader. */
export function toast(tone: Tone, said: string): void {
  const id = (toastId += 1);
  toasts.value = [...toasts.value.slice(-3), { id, tone, said }];
  setTimeout(() => (toasts.value = toasts.value.filter((known) => known.id !== id)), 6_000);
}

export function Toasts(): JSX.Element {
  return (
    <div class="toasts" role="status" aria-live="polite">
      {toasts.value.map((known) => (
        <Note key={known.id} tone={known.tone}>
          {known.said}
        </Note>
      ))}
    </div>
  );
}

export function PageHead({ title, about, children }: { title: string; about?: string; children?: ComponentChildren }): JSX.Element {
  return (
    <div class="page-head">
      <div>
        <h1>{title}</h1>
        {about !== undefined && <p>{about}</p>}
      </div>
      <span class="space" />
      {children}
    </div>
  );
}

export function Empty({ children }: { children: ComponentChildren }): JSX.Element {
  return <p class="empty">{children}</p>;
}

/** A line of recent values, without axes: its shape is the message, its numbers stand beside it. */
export function Spark({ values, tone, label }: { values: number[]; tone: "a" | "b" | "accent"; label: string }): JSX.Element {
  const width = 160;
  const height = 34;
  const most = Math.max(1, ...values);
  const step = width / Math.max(1, values.length - 1);
  const points = values.map((value, index) => `${(index * step).toFixed(1)},${(height - 2 - (value / most) * (height - 4)).toFixed(1)}`);
  return (
    <svg class={`spark ${tone}`} viewBox={`0 0 ${width} ${height}`} preserveAspectRatio="none" role="img" aria-label={label}>
      {points.length > 1 && <polyline points={points.join(" ")} fill="none" stroke="currentColor" stroke-width="2" vector-effect="non-scaling-stroke" />}
    </svg>
  );
}
