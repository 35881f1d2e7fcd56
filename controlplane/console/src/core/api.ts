/** Requests to `/v1`. An error is a problem of RFC 9457, whatever the server (or something before it) answered. */

import { fields, list, number, text } from "./read";

export interface FieldProblem {
  path: string;
  message: string;
  /** Another document, when that is where it is wrong. */
  service?: string;
}

export class ApiProblem extends Error {
  constructor(
    readonly status: number,
    readonly title: string,
    readonly detail: string,
    readonly errors: FieldProblem[] = [],
    readonly currentVersion?: number,
    readonly retryAfterS?: number,
  ) {
    super(detail === "" ? title : detail);
  }

  /** One line for a person. */
  get said(): string {
    const wait = this.retryAfterS === undefined ? "" : ` Try again in ${this.retryAfterS} s.`;
    if (this.status === 0) return this.detail;
    return `${this.title}${this.detail === "" || this.detail === this.title ? "" : `: ${this.detail}`} (${this.status})${wait}`;
  }
}

export interface Answer<T = unknown> {
  value: T;
  etag: string;
  status: number;
  raw: string;
}

export interface Asking {
  method?: "GET" | "POST" | "PUT" | "DELETE";
  body?: unknown;
  /** Sent as it is, instead of `body`. */
  text?: { content: string; type: string };
  accept?: string;
  ifMatch?: string;
  ifNoneMatch?: string;
  idempotencyKey?: string;
  signal?: AbortSignal;
}

export type Ask = <T = unknown>(path: string, asking?: Asking) => Promise<Answer<T>>;

/** The largest answer that is read, characters. */
const ANSWER_CHARS_MAX = 16 * 1024 * 1024;
const TIMEOUT_MS = 15_000;

export function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A function that asks with this token; `onUnauthorized` is told when the token is not (or no longer) good. */
export function asker(token: string, onUnauthorized: () => void, send: typeof fetch = (...a) => fetch(...a)): Ask {
  return async <T>(path: string, asking: Asking = {}): Promise<Answer<T>> => {
    const headers: Record<string, string> = { Accept: asking.accept ?? "application/json" };
    if (token !== "") headers["Authorization"] = `Bearer ${token}`;
    if (asking.ifMatch !== undefined) headers["If-Match"] = asking.ifMatch;
    if (asking.ifNoneMatch !== undefined) headers["If-None-Match"] = asking.ifNoneMatch;
    if (asking.idempotencyKey !== undefined) headers["Idempotency-Key"] = asking.idempotencyKey;
    let body: string | undefined;
    if (asking.text !== undefined) {
      body = asking.text.content;
      headers["Content-Type"] = asking.text.type;
    } else if (asking.body !== undefined) {
      body = JSON.stringify(asking.body);
      headers["Content-Type"] = "application/json";
    }
    const limit = new AbortController();
    const timer = setTimeout(() => limit.abort(), TIMEOUT_MS);
    asking.signal?.addEventListener("abort", () => limit.abort(), { once: true });
    let answer: Response;
    let said: string;
    try {
      const request: RequestInit = { method: asking.method ?? "GET", headers, cache: "no-store", signal: limit.signal };
      answer = await send(path, body === undefined ? request : { ...request, body });
      said = await answer.text();
    } catch {
      throw new ApiProblem(0, "No answer", "The control plane cannot be reached. Nothing that you see is certain to be so still.");
    } finally {
      clearTimeout(timer);
    }
    if (said.length > ANSWER_CHARS_MAX) throw new ApiProblem(0, "Too much", "The answer is too large to be shown.");
    if (!answer.ok) {
      if (answer.status === 401) onUnauthorized();
      throw problem(answer, said);
    }
    return {
      value: parse(answer, said) as T,
      etag: answer.headers.get("ETag") ?? "",
      status: answer.status,
      raw: said,
    };
  };
}

function parse(answer: Response, said: string): unknown {
  if (said === "") return undefined;
  if (!(answer.headers.get("Content-Type") ?? "").includes("json")) return said;
  try {
    return JSON.parse(said) as unknown;
  } catch {
    throw new ApiProblem(0, "No JSON", "The answer cannot be read. Is something else answering at this address?");
  }
}

function problem(answer: Response, said: string): ApiProblem {
  let body: unknown;
  try {
    body = JSON.parse(said) as unknown;
  } catch {
    body = {};
  }
  const of = fields(body);
  const errors = list(of["errors"]).map((entry): FieldProblem => {
    const { path, message, service } = fields(entry);
    const found: FieldProblem = { path: text(path), message: text(message) };
    return text(service) === "" ? found : { ...found, service: text(service) };
  });
  return new ApiProblem(
    answer.status,
    text(of["title"]) || answer.statusText || "Refused",
    text(of["detail"]),
    errors,
    number(of["current_version"]),
    number(answer.headers.get("Retry-After")),
  );
}
