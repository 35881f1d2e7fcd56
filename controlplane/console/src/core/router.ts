/** Where the page is. The control plane answers each of these paths with the same page: `PAGES` in `controlplane/src/console.rs`. */

import { computed, signal } from "@preact/signals";

export const PAGES = ["overview", "channels", "market", "trading", "machine", "models", "config", "audit", "tokens"] as const;
export type Page = (typeof PAGES)[number];

export const path = signal(location.pathname);
addEventListener("popstate", () => (path.value = location.pathname));

export const place = computed<{ page: Page; rest: string[] }>(() => {
  const [first = "", ...rest] = path.value.split("/").filter((part) => part !== "").map(decode);
  const page = PAGES.find((known) => known === first) ?? "overview";
  return { page, rest };
});

/** Asked before the page changes; `false` keeps it, because something is not saved. */
export const guard: { ask: (() => boolean) | undefined } = { ask: undefined };

export function go(to: string): void {
  if (to === path.value) return;
  if (guard.ask !== undefined && !guard.ask()) return;
  guard.ask = undefined;
  history.pushState(null, "", to);
  path.value = location.pathname;
  scrollTo(0, 0);
  document.querySelector<HTMLElement>("main")?.focus({ preventScroll: true });
}

/** Clicks on links of this page change the page without loading it anew. */
document.addEventListener("click", (event) => {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const link = (event.target as Element | null)?.closest("a");
  const to = link?.getAttribute("href");
  if (!to?.startsWith("/") || to.startsWith("/v1") || link?.hasAttribute("download")) return;
  event.preventDefault();
  go(to);
});

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
