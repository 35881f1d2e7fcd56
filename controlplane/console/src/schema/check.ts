/** What a document lacks by its schema: found while typing, and said with the place as the server would say it. */

import type { FieldProblem } from "../core/api";
import { fields, type Fields } from "../core/read";
import { nodeOf, type Branch, type Node } from "./model";
import { pathText, type Step } from "./path";

const PROBLEMS_MAX = 200;
const DEPTH_MAX = 64;

export function check(value: unknown, schema: unknown, root: Fields = fields(schema)): FieldProblem[] {
  const problems: FieldProblem[] = [];
  visit(value, schema, root, [], problems);
  return problems;
}

function visit(value: unknown, schema: unknown, root: Fields, path: Step[], problems: FieldProblem[]): void {
  if (problems.length >= PROBLEMS_MAX || path.length > DEPTH_MAX) return;
  const node = nodeOf(schema, root);
  const problem = (message: string): void => {
    problems.push({ path: pathText(path), message });
  };
  if (value === null && (node.nullable || node.kind === "any")) return;
  if (value === undefined || value === null) return problem("is missing");
  switch (node.kind) {
    case "string":
      return checkString(value, node, problem);
    case "number":
      return checkNumber(value, node, problem);
    case "boolean":
      if (typeof value !== "boolean") problem("is neither true nor false");
      return;
    case "enum":
      if (!node.values.some((known) => known.value === value)) {
        problem(`is none of ${node.values.map((known) => known.label).join(", ")}`);
      }
      return;
    case "array":
      if (!Array.isArray(value)) return problem("is no list");
      if (value.length < node.minItems) problem(`has ${value.length} entries; at least ${node.minItems}`);
      if (node.maxItems !== undefined && value.length > node.maxItems) problem(`has ${value.length} entries; at most ${node.maxItems}`);
      value.forEach((item, index) => visit(item, node.items, root, [...path, index], problems));
      return;
    case "object":
      return checkObject(value, node, root, path, problems, problem);
    case "choice": {
      const branch = branchFor(value, node.branches, root);
      if (branch === undefined) problem(`is none of: ${node.branches.map((known) => known.label).join(", ")}`);
      else visit(value, branch.schema, root, path, problems);
      return;
    }
    case "any":
      return;
  }
}

function checkString(value: unknown, node: Extract<Node, { kind: "string" }>, problem: (message: string) => void): void {
  if (typeof value !== "string") return problem("is no text");
  if (value.length < node.minLength) problem(`has ${value.length} characters; at least ${node.minLength}`);
  if (node.maxLength !== undefined && value.length > node.maxLength) problem(`has ${value.length} characters; at most ${node.maxLength}`);
  if (node.format === "ipv4" && !isIpv4(value)) problem("is no IPv4 address, as in 239.1.1.1");
}

function isIpv4(value: string): boolean {
  const parts = value.split(".");
  return parts.length === 4 && parts.every((part) => /^\d{1,3}$/.test(part) && Number(part) <= 255);
}

function checkNumber(value: unknown, node: Extract<Node, { kind: "number" }>, problem: (message: string) => void): void {
  if (typeof value !== "number" || !Number.isFinite(value)) return problem("is no number");
  if (node.integer && !Number.isInteger(value)) return problem("is no whole number");
  if (node.integer && !Number.isSafeInteger(value)) return problem("is too large for this form; edit it as text");
  const { minimum, maximum } = node;
  if ((minimum !== undefined && value < minimum) || (maximum !== undefined && value > maximum)) {
    if (minimum !== undefined && maximum !== undefined) problem(`is ${value}; choose ${minimum} to ${maximum}`);
    else problem(minimum !== undefined ? `is ${value}; at least ${minimum}` : `is ${value}; at most ${maximum ?? ""}`);
  }
}

function checkObject(
  value: unknown,
  node: Extract<Node, { kind: "object" }>,
  root: Fields,
  path: Step[],
  problems: FieldProblem[],
  problem: (message: string) => void,
): void {
  if (typeof value !== "object" || Array.isArray(value)) return problem("is no set of fields");
  const own = value as Fields;
  const known = new Set(node.properties.map((property) => property.name));
  for (const property of node.properties) {
    const there = Object.hasOwn(own, property.name);
    if (!there && !property.required) continue;
    visit(there ? own[property.name] : undefined, property.schema, root, [...path, property.name], problems);
  }
  for (const name of Object.keys(own)) {
    if (known.has(name)) continue;
    if (!node.open) problems.push({ path: pathText([...path, name]), message: "is not known here; take it away" });
    else if (node.extra !== undefined) visit(own[name], node.extra, root, [...path, name], problems);
  }
}

/** Which shape a value has: the one that fits, or the one that it means to be by its type or its only field. */
export function branchFor(value: unknown, branches: Branch[], root: Fields): Branch | undefined {
  const tagged = branches.find((branch) => branch.tag !== undefined && Object.hasOwn(fields(value), branch.tag));
  if (tagged !== undefined) return tagged;
  const clean = branches.find((branch) => check(value, branch.schema, root).length === 0);
  return clean ?? branches.find((branch) => branch.tag === undefined && sameType(value, nodeOf(branch.schema, root)));
}

function sameType(value: unknown, node: Node): boolean {
  switch (node.kind) {
    case "string":
      return typeof value === "string";
    case "number":
      return typeof value === "number";
    case "boolean":
      return typeof value === "boolean";
    case "array":
      return Array.isArray(value);
    case "object":
      return typeof value === "object" && value !== null && !Array.isArray(value);
    default:
      return node.kind === "any";
  }
}

/** The least value of a shape: its default, or what is required of it. Fields are left empty for a person to fill in. */
export function initial(schema: unknown, root: Fields, depth = 0): unknown {
  const node = nodeOf(schema, root);
  if (node.fallback !== undefined && node.fallback !== null) return structuredClone(node.fallback);
  if (node.nullable && depth > 0) return null;
  if (depth > 16) return null;
  switch (node.kind) {
    case "string":
      return "";
    case "number":
      return node.minimum !== undefined && node.minimum > 0 ? node.minimum : 0;
    case "boolean":
      return false;
    case "enum":
      return node.values[0]?.value ?? null;
    case "array":
      return [];
    case "object":
      return Object.fromEntries(
        node.properties
          .filter((property) => property.required)
          .map((property) => [property.name, initial(property.schema, root, depth + 1)]),
      );
    case "choice":
      return node.branches[0] === undefined ? null : initial(node.branches[0].schema, root, depth + 1);
    case "any":
      return null;
  }
}
