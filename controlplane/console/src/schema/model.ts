/**
 * A JSON Schema (2020-12, as schemars writes it) as what a form needs to know at one place: what kind of value stands there,
 * what it may be, what it is for. References are followed; a schema that uses what is not known here becomes `any`, which is edited
 * as text, so that nothing is lost by a form that understands less than the server.
 */

import { fields, list, number, text, type Fields } from "../core/read";

export interface About {
  title: string;
  description: string;
  /** The value that holds when nothing is said; `undefined` when there is none. */
  fallback: unknown;
  /** `null` may stand here, too. */
  nullable: boolean;
}

export interface Property {
  name: string;
  required: boolean;
  schema: Fields;
}

export type Node = About &
  (
    | { kind: "string"; format: string; pattern: string; minLength: number; maxLength: number | undefined }
    | { kind: "number"; integer: boolean; minimum: number | undefined; maximum: number | undefined }
    | { kind: "boolean" }
    | { kind: "enum"; values: { value: unknown; label: string; description: string }[] }
    | { kind: "object"; properties: Property[]; open: boolean; extra: Fields | undefined }
    | { kind: "array"; items: Fields; minItems: number; maxItems: number | undefined }
    | { kind: "choice"; branches: Branch[] }
    | { kind: "any" }
  );

/** One of several shapes. `tag`: it is an object with this one field, as Rust's enums are written. */
export interface Branch {
  label: string;
  description: string;
  schema: Fields;
  tag: string | undefined;
}

const REFERENCES_MAX = 32;

/** What stands at a place with this schema; `root` has the definitions. */
export function nodeOf(schema: unknown, root: Fields): Node {
  const own = follow(fields(schema), root);
  if (own === undefined) return { ...about({}, false), kind: "any" };
  const alternatives = list(own["oneOf"]).length > 0 ? list(own["oneOf"]) : list(own["anyOf"]);
  if (alternatives.length > 0) return choiceOf(own, alternatives.map(fields), root);
  const types = typesOf(own);
  const nullable = types.includes("null");
  const of = about(own, nullable);
  if (Object.hasOwn(own, "const")) return { ...of, kind: "enum", values: [constant(own)] };
  if (Array.isArray(own["enum"])) {
    return { ...of, kind: "enum", values: own["enum"].map((value) => ({ value, label: text(value), description: "" })) };
  }
  const [type, ...others] = types.filter((name) => name !== "null");
  if (type === undefined || others.length > 0) return { ...of, kind: "any" };
  switch (type) {
    case "string":
      return {
        ...of,
        kind: "string",
        format: text(own["format"]),
        pattern: text(own["pattern"]),
        minLength: number(own["minLength"]) ?? 0,
        maxLength: number(own["maxLength"]),
      };
    case "integer":
    case "number":
      return {
        ...of,
        kind: "number",
        integer: type === "integer",
        minimum: number(own["minimum"]),
        maximum: number(own["maximum"]),
      };
    case "boolean":
      return { ...of, kind: "boolean" };
    case "array":
      return {
        ...of,
        kind: "array",
        items: fields(own["items"]),
        minItems: number(own["minItems"]) ?? 0,
        maxItems: number(own["maxItems"]),
      };
    case "object":
      return { ...of, ...objectOf(own) };
    default:
      return { ...of, kind: "any" };
  }
}

function objectOf(own: Fields): Extract<Node, { kind: "object" }> {
  const required = new Set(list(own["required"]).map(text));
  const properties = Object.entries(fields(own["properties"])).map(([name, schema]) => ({
    name,
    required: required.has(name),
    schema: fields(schema),
  }));
  const extra = own["additionalProperties"];
  const rank = (property: Property): number => (property.name === "name" ? 0 : property.required ? 1 : 2);
  properties.sort((a, b) => rank(a) - rank(b));
  return {
    kind: "object",
    properties,
    open: extra !== false,
    extra: typeof extra === "object" && extra !== null ? fields(extra) : undefined,
  } as Extract<Node, { kind: "object" }>;
}

function choiceOf(own: Fields, alternatives: Fields[], root: Fields): Node {
  const isNull = (schema: Fields): boolean => text(follow(schema, root)?.["type"]) === "null";
  const some = alternatives.filter((schema) => !isNull(schema));
  const nullable = some.length < alternatives.length;
  const [only] = some;
  if (some.length === 1 && only !== undefined) {
    const inner = nodeOf(only, root);
    const outer = about(own, nullable || inner.nullable);
    return {
      ...inner,
      nullable: outer.nullable,
      description: outer.description || inner.description,
      fallback: outer.fallback ?? inner.fallback,
    };
  }
  const of = about(own, nullable);
  const followed = some.map((schema) => follow(schema, root) ?? {});
  if (followed.every((schema) => Object.hasOwn(schema, "const"))) {
    return { ...of, kind: "enum", values: followed.map(constant) };
  }
  return { ...of, kind: "choice", branches: followed.map((schema, index) => branchOf(schema, some[index] ?? {}, root)) };
}

function constant(schema: Fields): { value: unknown; label: string; description: string } {
  return { value: schema["const"], label: text(schema["const"]), description: text(schema["description"]) };
}

function branchOf(schema: Fields, original: Fields, root: Fields): Branch {
  const description = text(schema["description"]);
  const names = Object.keys(fields(schema["properties"]));
  const required = list(schema["required"]);
  const [tag] = names;
  if (names.length === 1 && tag !== undefined && required.includes(tag)) {
    return { label: tag, description, schema, tag };
  }
  if (Object.hasOwn(schema, "const")) return { label: text(schema["const"]), description, schema, tag: undefined };
  const reference = text(original["$ref"]).split("/").pop() ?? "";
  const node = nodeOf(schema, root);
  const kind = { string: "text", array: "list", object: "fields", enum: "word", any: "value" } as Record<string, string>;
  return { label: text(schema["title"]) || reference || kind[node.kind] || node.kind, description, schema, tag: undefined };
}

/** The schema behind its references, with what is said beside a reference laid over it; `undefined` when they go in a circle. */
function follow(schema: Fields, root: Fields): Fields | undefined {
  let at = schema;
  let over: Fields = {};
  for (let step = 0; step < REFERENCES_MAX; step += 1) {
    const reference = at["$ref"];
    if (typeof reference !== "string") return { ...at, ...over };
    const beside = Object.fromEntries(Object.entries(at).filter(([name]) => name !== "$ref"));
    over = { ...beside, ...over };
    at = target(reference, root);
  }
  return undefined;
}

function target(reference: string, root: Fields): Fields {
  if (!reference.startsWith("#/")) return {};
  let at: unknown = root;
  for (const part of reference.slice(2).split("/")) {
    const name = part.replaceAll("~1", "/").replaceAll("~0", "~");
    const own = fields(at);
    at = Object.hasOwn(own, name) ? own[name] : undefined;
  }
  return fields(at);
}

function typesOf(schema: Fields): string[] {
  const type = schema["type"];
  if (typeof type === "string") return [type];
  if (Array.isArray(type)) return type.map(text);
  return Object.hasOwn(schema, "properties") ? ["object"] : [];
}

function about(schema: Fields, nullable: boolean): About {
  return {
    title: text(schema["title"]),
    description: text(schema["description"]),
    fallback: schema["default"],
    nullable,
  };
}
