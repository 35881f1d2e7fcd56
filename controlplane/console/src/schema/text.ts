/** A document as text: YAML or JSON, and on which line a place of it is. */

import { LineCounter, isNode, parseDocument, stringify, type Document } from "yaml";
import { parsePath } from "./path";

export interface Parsed {
  value: unknown;
  problems: { line: number; message: string }[];
}

/** Aliases are counted: a few lines could otherwise stand for gigabytes. */
const ALIASES_MAX = 100;

export function toYaml(value: unknown): string {
  return stringify(value, { lineWidth: 110, aliasDuplicateObjects: false });
}

export function parseText(said: string): Parsed {
  const counter = new LineCounter();
  const document = parseDocument(said, { lineCounter: counter, prettyErrors: false, uniqueKeys: true });
  const problems = [...document.errors, ...document.warnings].slice(0, 20).map((error) => ({
    line: counter.linePos(error.pos[0]).line,
    message: error.message,
  }));
  if (problems.length > 0) return { value: undefined, problems };
  try {
    return { value: document.toJS({ maxAliasCount: ALIASES_MAX }) as unknown, problems };
  } catch (error) {
    return { value: undefined, problems: [{ line: 1, message: error instanceof Error ? error.message : "cannot be read" }] };
  }
}

/** The line on which a place stands, or the nearest place around it; 1 when the text cannot be read. */
export function lineOf(said: string, place: string): number {
  const counter = new LineCounter();
  const document: Document = parseDocument(said, { lineCounter: counter });
  const steps = parsePath(place);
  for (let length = steps.length; length > 0; length -= 1) {
    const node = document.getIn(steps.slice(0, length), true);
    if (isNode(node) && node.range) return counter.linePos(node.range[0]).line;
  }
  return 1;
}
