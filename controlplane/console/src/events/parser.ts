/**
 * Server-sent events out of a byte stream (WHATWG HTML, 9.2.6), with bounds: a line or an event that never ends must not eat
 * the page's memory. What is too long is dropped whole and counted, and the next event is read as if nothing had been.
 */

export interface ServerEvent {
  readonly name: string;
  readonly data: string;
  readonly id: string;
}

/** The largest event kept, characters. A status of a full data plane is some 100 kB. */
export const EVENT_CHARS_MAX = 4 * 1024 * 1024;

export class EventParser {
  dropped = 0;
  #decoder = new TextDecoder("utf-8");
  #line = "";
  #data: string[] = [];
  #size = 0;
  #name = "";
  #id = "";
  #tooLong = false;
  #lineTooLong = false;
  #sawReturn = false;

  constructor(
    private readonly onEvent: (event: ServerEvent) => void,
    private readonly onComment: () => void = () => undefined,
    private readonly charsMax = EVENT_CHARS_MAX,
  ) {}

  push(bytes: Uint8Array): void {
    let chunk = this.#decoder.decode(bytes, { stream: true });
    if (this.#sawReturn && chunk.startsWith("\n")) chunk = chunk.slice(1);
    if (chunk.length > 0) this.#sawReturn = chunk.endsWith("\r");
    let start = 0;
    for (let at = 0; at < chunk.length; at += 1) {
      const code = chunk.charCodeAt(at);
      if (code !== 10 && code !== 13) continue;
      this.#append(chunk.slice(start, at));
      this.#endLine();
      if (code === 13 && chunk.charCodeAt(at + 1) === 10) at += 1;
      start = at + 1;
    }
    this.#append(chunk.slice(start));
  }

  #append(part: string): void {
    if (this.#lineTooLong || part === "") return;
    if (this.#line.length + part.length > this.charsMax) {
      this.#lineTooLong = true;
      this.#tooLong = true;
      this.#line = "";
      return;
    }
    this.#line += part;
  }

  #endLine(): void {
    const line = this.#line;
    this.#line = "";
    if (this.#lineTooLong) {
      this.#lineTooLong = false;
      return;
    }
    if (line === "") return this.#endEvent();
    if (line.startsWith(":")) return this.onComment();
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? "" : line.slice(colon + 1);
    if (value.startsWith(" ")) value = value.slice(1);
    if (field === "event") this.#name = value;
    else if (field === "id" && !value.includes("\0")) this.#id = value;
    else if (field === "data") this.#addData(value);
  }

  #addData(value: string): void {
    this.#size += value.length + 1;
    if (this.#size > this.charsMax) {
      this.#tooLong = true;
      this.#data = [];
      return;
    }
    this.#data.push(value);
  }

  #endEvent(): void {
    const event = { name: this.#name || "message", data: this.#data.join("\n"), id: this.#id };
    const tooLong = this.#tooLong;
    const empty = this.#data.length === 0;
    this.#data = [];
    this.#size = 0;
    this.#name = "";
    this.#tooLong = false;
    if (tooLong) this.dropped += 1;
    else if (!empty) this.onEvent(event);
  }
}
