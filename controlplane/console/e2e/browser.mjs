/** The browser of the tests: the distribution's Chromium, headless, with nothing of its own that goes to a network. */

import { existsSync } from "node:fs";
import { chromium } from "playwright-core";

export const CHROMIUM = process.env.FEEDPLANE_CHROMIUM ?? "/usr/bin/chromium";

export function chromiumMissing() {
  return existsSync(CHROMIUM) ? undefined : `there is no ${CHROMIUM} (Debian: chromium)`;
}

export function launch() {
  return chromium.launch({
    executablePath: CHROMIUM,
    headless: true,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
}

export const DESKTOP = { width: 1440, height: 900 };
export const PHONE = { width: 390, height: 844 };
