/**
 * Reading JSON that somebody else wrote. Nothing is trusted to have the shape that it should have: what is missing or
 * of another type is `undefined`, `[]` or `""`, and the page shows a dash instead of breaking.
 */

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type Fields = Record<string, unknown>;

export function fields(value: unknown): Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : {};
}

export function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

export function text(value: unknown): string {
  if (typeof value === "string") return value;
  return typeof value === "number" || typeof value === "boolean" ? String(value) : "";
}

/** A finite number, also when it was written as text (prices are). */
export function number(value: unknown): number | undefined {
  if (typeof value === "number") return Number.isFinite(value) ? value : undefined;
  if (typeof value !== "string" || value.trim() === "") return undefined;
  const parsed = Number(value);
  return Number.isFinite(parsed) ? parsed : undefined;
}

export function flag(value: unknown): boolean | undefined {
  return typeof value === "boolean" ? value : undefined;
}

/** The numbers among an object's fields. */
export function numbers(value: unknown): Record<string, number> {
  const found: Record<string, number> = {};
  for (const [name, field] of Object.entries(fields(value))) {
    const parsed = number(field);
    if (parsed !== undefined) found[name] = parsed;
  }
  return found;
}

/**
 * Whether a JSON text has a whole number that JavaScript would round. Such a document is not edited as a form: saving it
 * would change a number that nobody touched.
 */
export function hasUnsafeInteger(json: string): boolean {
  const withoutStrings = json.replace(/"(?:[^"\\]|\\.)*"/g, '""');
  for (const [digits] of withoutStrings.matchAll(/(?<![\d.])-?\d{16,}(?![\d.eE])/g)) {
    if (!Number.isSafeInteger(Number(digits))) return true;
  }
  return false;
}
