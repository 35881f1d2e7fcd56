/** The frame around the pages: trading state, connection, halt, pages, keys. */

import type { JSX } from "preact";
import { useEffect, useErrorBoundary } from "preact/hooks";
import { signal } from "@preact/signals";
import { duration } from "./core/format";
import { fields, number, text } from "./core/read";
import { go, PAGES, place, type Page } from "./core/router";
import { ageText, isStale } from "./core/stale";
import { ask, connection, listen, logout, now, status, statusAge, token, trading, watched, who } from "./core/state";
import { may } from "./core/model";
import { nextTheme, theme } from "./core/theme";
import { Icon } from "./ui/icons";
import { Login } from "./ui/login";
import { Age, Dialog, Note, Toasts } from "./ui/parts";
import { asking, ModeWord, MODES, TradingDialogs } from "./ui/trading-mode";
import { Overview } from "./pages/overview";
import { Channels } from "./pages/channels";
import { Market } from "./pages/market";
import { TradingPage } from "./pages/trading";
import { Machine } from "./pages/machine";
import { Models } from "./pages/models";
import { Config } from "./pages/config";
import { Audit } from "./pages/audit";
import { Tokens } from "./pages/tokens";
import mark from "./styles/mark.svg";

const TITLES: Record<Page, { title: string; key: string; view: () => JSX.Element }> = {
  overview: { title: "Overview", key: "o", view: Overview },
  channels: { title: "Channels", key: "c", view: Channels },
  market: { title: "Market", key: "m", view: Market },
  trading: { title: "Trading", key: "t", view: TradingPage },
  machine: { title: "Machine", key: "n", view: Machine },
  models: { title: "Models", key: "l", view: Models },
  config: { title: "Configuration", key: "f", view: Config },
  audit: { title: "Audit", key: "a", view: Audit },
  tokens: { title: "Tokens", key: "k", view: Tokens },
};

const help = signal(false);

export function App(): JSX.Element {
  useEffect(() => {
    if (token.value !== "" && watched.value === undefined) listen();
  }, [token.value]);
  // Asked again whenever the connection is there anew, until it is known.
  useEffect(() => {
    if (token.value === "" || who.value !== undefined) return;
    ask
      .value("/v1/whoami")
      .then((answer) => {
        const own = fields(answer.value);
        who.value = { name: text(own["name"]), role: text(own["role"]), expiresNs: number(own["expires_ns"]) };
      })
      .catch(() => undefined);
  }, [token.value, connection.value.state]);
  useKeys();
  if (token.value === "") {
    return (
      <>
        <Login />
        <Toasts />
      </>
    );
  }
  return (
    <>
      <a class="skip" href="#main" onClick={focusMain}>
        To the content
      </a>
      <Bar />
      <ConnectionBanner />
      <TradingBanner />
      <div class="layout">
        <Side />
        <main id="main" tabIndex={-1}>
          <Guarded key={place.value.page} />
        </main>
      </div>
      <TradingDialogs />
      {help.value && <Help />}
      <Toasts />
    </>
  );
}

function focusMain(event: Event): void {
  event.preventDefault();
  document.querySelector<HTMLElement>("main")?.focus();
}

/** A page that breaks says so; the bar with the halt stays. */
function Guarded(): JSX.Element {
  const [error, again] = useErrorBoundary();
  const page = TITLES[place.value.page];
  document.title = `${MODES[trading.value?.value.mode ?? "unknown"].word} · ${page.title} · feedplane`;
  if (error !== undefined) {
    return (
      <Note tone="bad" alert>
        <p>
          <strong>This page could not be shown.</strong> {error instanceof Error ? error.message : ""}
        </p>
        <button type="button" onClick={again}>
          Try again
        </button>
      </Note>
    );
  }
  const View = page.view;
  return <View />;
}

function Bar(): JSX.Element {
  const state = trading.value?.value;
  const mode = state?.mode ?? "unknown";
  return (
    <header class="bar">
      <a class="brand" href="/overview" aria-label="feedplane, overview">
        <img src={mark} alt="" />
        <span>feedplane</span>
      </a>
      <div class="bar-state" aria-live="polite">
        <ModeWord big />
        {state !== undefined && state.reason !== "" && (
          <span class="bar-reason">
            {state.by !== "" && <strong>{state.by}: </strong>}
            {state.reason}
          </span>
        )}
      </div>
      <span class="bar-space" />
      <div class="bar-link">
        <Age at={status.value?.at} />
        <span class="muted bar-who">{who.value === undefined ? "" : `${who.value.name} · ${who.value.role}`}</span>
      </div>
      {mode !== "active" && mode !== "unknown" && may(who.value?.role ?? "", "risk") && (
        <button type="button" onClick={() => (asking.value = "resume")}>
          Resume
        </button>
      )}
      <button type="button" class="danger halt" aria-keyshortcuts="h" onClick={() => (asking.value = "halt")}>
        HALT
      </button>
    </header>
  );
}

function ConnectionBanner(): JSX.Element | null {
  const link = connection.value;
  if (link.state === "refused") {
    return (
      <div class="banner bad" role="alert">
        <strong>NOT ALLOWED</strong>
        <span>This token may not follow the events ({link.status}).</span>
      </div>
    );
  }
  const age = statusAge.value;
  if (!isStale(age)) return null;
  // The first second after loading is no loss of connection yet.
  if (status.value === undefined && link.state !== "waiting") return null;
  const wait = link.state === "waiting" ? Math.max(0, link.until - now.value) : undefined;
  return (
    <div class="banner bad" role="alert">
      <strong>CONNECTION LOST</strong>
      <span>
        What you see is {age === undefined ? "nothing yet" : ageText(age)}. {link.state === "waiting" ? `${sentence(link.why)}.` : ""}
      </span>
      <span class="nowrap" aria-hidden="true">
        {wait === undefined ? (link.state === "open" ? "Nothing is heard from the control plane." : "Connecting …") : `Next try in ${(wait / 1000).toFixed(1)} s`}
      </span>
    </div>
  );
}

function sentence(said: string): string {
  return said.charAt(0).toUpperCase() + said.slice(1);
}

function TradingBanner(): JSX.Element | null {
  const state = trading.value?.value;
  if (state === undefined || (!state.pending && state.problem === "")) return null;
  return (
    <div class="banner warn" role="alert">
      <strong>{state.pending ? "NOT IN REDIS YET" : "TRADING STATE"}</strong>
      <span>
        {state.problem === "" ? "" : `${sentence(state.problem)}. `}
        {state.pending && "What was said is kept, and written as soon as Redis is there. Without Redis the gateway sends nothing new."}
      </span>
    </div>
  );
}

function Side(): JSX.Element {
  const role = who.value?.role ?? "";
  const shown = PAGES.filter((page) => page !== "tokens" || may(role, "risk"));
  return (
    <nav class="side" aria-label="Pages">
      <ul>
        {shown.map((page) => (
          <li key={page}>
            <a class="page-link" href={`/${page}`} aria-current={place.value.page === page ? "page" : undefined}>
              <Icon page={page} />
              {TITLES[page].title}
            </a>
          </li>
        ))}
        <li class="phone-only">
          <button type="button" class="page-link" onClick={() => (help.value = true)}>
            <svg class="icon" width="20" height="20" viewBox="0 0 24 24" fill="currentColor" aria-hidden="true">
              <path d="M5 10a2 2 0 1 0 0 4 2 2 0 0 0 0-4zM12 10a2 2 0 1 0 0 4 2 2 0 0 0 0-4zM19 10a2 2 0 1 0 0 4 2 2 0 0 0 0-4z" />
            </svg>
            More
          </button>
        </li>
      </ul>
      <div class="side-foot">
        <button type="button" class="quiet small" onClick={nextTheme} aria-label={`Theme: ${theme.value}. Change it`}>
          Theme: {theme.value}
        </button>
        <button type="button" class="quiet small" onClick={() => (help.value = true)}>
          Keys <kbd>?</kbd>
        </button>
        <button type="button" class="quiet small" onClick={() => logout()}>
          Log out
        </button>
      </div>
    </nav>
  );
}

function Help(): JSX.Element {
  const close = (): void => {
    help.value = false;
  };
  const expires = who.value?.expiresNs;
  return (
    <Dialog title="Keys, theme, log out" onClose={close}>
      <dl class="pairs keys">
        <dt>
          <kbd>h</kbd> then <kbd>Enter</kbd>
        </dt>
        <dd>halt all trading</dd>
        <dt>
          <kbd>?</kbd>
        </dt>
        <dd>this list</dd>
        <dt>
          <kbd>/</kbd>
        </dt>
        <dd>search an instrument</dd>
        <dt>
          <kbd>d</kbd>
        </dt>
        <dd>dark, light, or as the machine is set</dd>
        <dt>
          <kbd>Esc</kbd>
        </dt>
        <dd>close what is open</dd>
        {PAGES.map((page) => [
          <dt key={`${page} key`}>
            <kbd>g</kbd> <kbd>{TITLES[page].key}</kbd>
          </dt>,
          <dd key={`${page} title`}>{TITLES[page].title}</dd>,
        ])}
      </dl>
      {expires !== undefined && <p class="muted small">Your token ends in {duration((expires - Date.now() * 1e6) / 1e6)}.</p>}
      <div class="row">
        <button type="button" onClick={nextTheme}>
          Theme: {theme.value}
        </button>
        <button type="button" onClick={() => logout()}>
          Log out
        </button>
      </div>
      <div class="dialog-actions">
        <button type="button" class="primary" onClick={close} autofocus>
          Close
        </button>
      </div>
    </Dialog>
  );
}

/** Focuses what a page is about to show: at the first frame that has it, within two seconds or so. */
function focusWhenThere(selector: string, frames = 120): void {
  requestAnimationFrame(() => {
    const found = document.querySelector<HTMLElement>(selector);
    if (found !== null) found.focus();
    else if (frames > 0) focusWhenThere(selector, frames - 1);
  });
}

/** Keys work where nothing is typed and no dialog is open. `g` waits a second for the page's letter. */
function useKeys(): void {
  useEffect(() => {
    let goAt = 0;
    const onKey = (event: KeyboardEvent): void => {
      if (token.value === "" || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
      const on = event.target as HTMLElement | null;
      if (on?.closest("input, textarea, select, [contenteditable], dialog") !== null && on !== null) return;
      if (document.querySelector("dialog[open]") !== null) return;
      const key = event.key.toLowerCase();
      const page = PAGES.find((known) => TITLES[known].key === key);
      if (event.timeStamp - goAt < 1_000 && page !== undefined) {
        goAt = 0;
        go(`/${page}`);
      } else if (key === "g") goAt = event.timeStamp;
      else if (key === "h") asking.value = "halt";
      else if (key === "?") help.value = true;
      else if (key === "d") nextTheme();
      else if (key === "/") {
        go("/market");
        focusWhenThere("#instrument-search");
      } else return;
      event.preventDefault();
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, []);
}
