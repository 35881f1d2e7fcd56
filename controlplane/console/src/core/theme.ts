/** Dark, light, or as the machine is set. Kept in this browser. */

import { effect, signal } from "@preact/signals";

export type Theme = "auto" | "light" | "dark";
const KEY = "feedplane.theme";
const THEMES: readonly Theme[] = ["auto", "light", "dark"];

const kept = localStorage.getItem(KEY);
export const theme = signal<Theme>(THEMES.find((known) => known === kept) ?? "auto");

/** Counts changes of what is seen: charts are drawn anew. */
export const painted = signal(0);

effect(() => {
  const { dataset } = document.documentElement;
  if (theme.value === "auto") delete dataset["theme"];
  else dataset["theme"] = theme.value;
  localStorage.setItem(KEY, theme.value);
  painted.value = painted.peek() + 1;
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => (painted.value += 1));

export function nextTheme(): void {
  theme.value = THEMES[(THEMES.indexOf(theme.value) + 1) % THEMES.length] ?? "auto";
}

/** A colour of the design as the browser works it out now, for a canvas. */
export function colour(name: string): string {
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}
