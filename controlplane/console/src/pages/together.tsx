/**
 * Drafts that wait to be applied with another document's: some changes are refused alone, as a feed that no worker takes. They
 * are kept in this page's memory, and go in one request: all of them are applied, or none.
 */

import { effect, signal } from "@preact/signals";
import type { JSX } from "preact";
import { token } from "../core/state";
import { Note } from "../ui/parts";

export interface Draft {
  /** The version that it was made from; 0 for none. */
  version: number;
  document: unknown;
}

export const aside = signal<ReadonlyMap<string, Draft>>(new Map());

// They are of whoever is logged in.
effect(() => {
  if (token.value === "") aside.value = new Map();
});

export function setAside(service: string, draft: Draft): void {
  aside.value = new Map(aside.value).set(service, draft);
}

export function takeOut(services: string[]): void {
  aside.value = new Map([...aside.value].filter(([service]) => !services.includes(service)));
}

/** The body of `POST /v1/config`. */
export function bodyOf(drafts: [string, Draft][]): { documents: Record<string, { base_version: number; document: unknown }> } {
  return { documents: Object.fromEntries(drafts.map(([service, { version, document }]) => [service, { base_version: version, document }])) };
}

/** Names what will be applied together with this document. */
export function Together({ others }: { others: [string, Draft][] }): JSX.Element | null {
  if (others.length === 0) return null;
  return (
    <Note tone="calm">
      <p>What is set aside is checked and applied together with this document, all or nothing:</p>
      <ul class="wrong-list">
        {others.map(([service, { version }]) => (
          <li key={service}>
            <a href={`/config/${service}`}>{service}</a>, {version === 0 ? "its first version" : `made from version ${version}`}{" "}
            <button type="button" class="link" onClick={() => takeOut([service])} aria-label={`Take out ${service}`}>
              Take out
            </button>
          </li>
        ))}
      </ul>
    </Note>
  );
}
