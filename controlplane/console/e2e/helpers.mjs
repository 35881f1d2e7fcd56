/** What the tests of the mock and of the real pipeline share: pages with a token, axe, pictures, complaints of the browser. */

import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { DESKTOP, PHONE } from "./browser.mjs";

const axeSource = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
export const DIST = process.env.FEEDPLANE_CONSOLE_DIST ?? fileURLToPath(new URL("../dist", import.meta.url));
export const PICTURES = process.env.FEEDPLANE_PICTURES ?? fileURLToPath(new URL("../../../target/pictures/console", import.meta.url));
mkdirSync(PICTURES, { recursive: true });

/** Opens the console with this token. `page.complaints` gathers errors of scripts and of the security policy. */
export async function open(browser, url, token, { path = "/overview", phone = false, scheme = "dark", allow = [] } = {}) {
  const context = await browser.newContext({
    viewport: phone ? PHONE : DESKTOP,
    deviceScaleFactor: phone ? 2 : 1,
    hasTouch: phone,
    colorScheme: scheme,
    reducedMotion: "reduce",
    ignoreHTTPSErrors: true,
  });
  if (token !== undefined) await context.addInitScript((secret) => sessionStorage.setItem("feedplane.token", secret), token);
  const page = await context.newPage();
  page.complaints = [];
  page.on("pageerror", (error) => page.complaints.push(`script: ${error.message}`));
  page.on("console", (message) => {
    const said = message.text();
    // A refused request is logged by the browser; whether it was to be refused, the tests say.
    if (message.type() === "error" && !/Failed to load resource|net::ERR/.test(said) && !allow.some((known) => known.test(said))) page.complaints.push(`console: ${said}`);
  });
  await page.goto(url + path);
  return page;
}

export function noComplaints(page) {
  assert.deepEqual(page.complaints, [], "the browser complained");
}

/** Runs axe in the page; what is serious or critical fails. */
export async function accessible(page, name) {
  await page.evaluate(axeSource);
  const result = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"], rules: { "color-contrast": { enabled: true } } }));
  const bad = result.violations.filter((violation) => ["serious", "critical"].includes(violation.impact));
  const said = bad.flatMap((violation) => violation.nodes.slice(0, 5).map((node) => `${violation.id}: ${node.target.join(" ")}: ${node.failureSummary?.replaceAll("\n", " ").slice(0, 200)}`));
  assert.deepEqual(said, [], `${name} is not accessible`);
}

export async function picture(page, name, full = false) {
  await page.screenshot({ path: `${PICTURES}/${name}.png`, fullPage: full });
}

/** Nothing is wider than the screen: a phone must not scroll sideways. */
export async function fits(page, name) {
  const [wide, room] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
  assert.ok(wide <= room, `${name} is ${wide} wide, the screen ${room}`);
}

export const PAGES = [
  ["overview", "/overview"],
  ["channels", "/channels"],
  ["market", "/market"],
  ["orders", "/trading/orders"],
  ["positions", "/trading/positions"],
  ["denials", "/trading/denials"],
  ["limits", "/trading/limits"],
  ["machine", "/machine"],
  ["models", "/models"],
  ["config", "/config"],
  ["config-feeds", "/config/feeds"],
  ["config-strategy", "/config/strategy"],
  ["config-gateway", "/config/gateway"],
  ["config-history", "/config/strategy/history"],
  ["config-processes", "/config/strategy/processes"],
  ["audit", "/audit"],
  ["tokens", "/tokens"],
];

/** Opens a section of the form, if it is not open. */
export async function unfold(page, path) {
  const section = page.locator(`details[data-path='${path}']`);
  await section.waitFor();
  if ((await section.getAttribute("open")) === null) await section.locator("> summary").click();
}
