/**
 * The built console in a browser, served by the real control plane of a real pipeline: an exchange's feed comes in on two lines,
 * strategies trade on it, and everything is watched and changed by the page.
 */

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { launch, chromiumMissing } from "./browser.mjs";
import { accessible, fits, noComplaints, open, PAGES, picture, unfold } from "./helpers.mjs";
import { pipelineMissing, startPipeline, until } from "./pipeline.mjs";

const missing = chromiumMissing() ?? pipelineMissing();
if (missing !== undefined) console.error(`SKIPPED: the console on the real pipeline: ${missing}`);

describe("the console on the real pipeline", { skip: missing !== undefined }, () => {
  let browser;
  let pipeline;
  const contexts = [];
  const visit = async (options) => {
    while (contexts.length > 0) await contexts.pop().close();
    const page = await open(browser, pipeline.url, pipeline.token, options);
    contexts.push(page.context());
    page.setDefaultTimeout(60_000);
    return page;
  };
  const version = async (service) => (await pipeline.ask(`/v1/config/${service}`)).body?.version ?? 0;
  const converged = (service, wanted) =>
    until(`${service} to run version ${wanted}`, async () => {
      const { body } = await pipeline.ask("/v1/config");
      const entry = body.items.find((item) => item.service === service);
      return entry.version === wanted && entry.convergence.converged && entry.convergence.processes.length > 0;
    }, pipeline.said);
  const apply = async (page, reason, service, wanted) => {
    await page.getByRole("button", { name: "Review changes" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel("Reason").fill(reason);
    await picture(page, `real-${service}-diff`);
    await dialog.getByRole("button", { name: `Apply as version ${wanted}` }).click();
    await page.getByText(`version ${wanted}`, { exact: true }).waitFor();
  };

  before(async () => {
    browser = await launch();
    pipeline = await startPipeline();
    // Pictures and tables are of a pipeline that has something to tell.
    await until("trades", async () => (await pipeline.ask("/v1/positions")).body?.items?.length > 0, pipeline.said);
  });
  after(async () => {
    await browser?.close();
    await pipeline?.stop();
  });

  it("says nothing against the security policy, and shows the flow of every stage", async () => {
    const page = await visit();
    await page.locator(".age.live").first().waitFor();
    for (const title of ["Worker", "Publisher", "Features", "Strategies", "Gateway", ...(pipeline.hasArchive ? ["Archiver"] : [])]) {
      const node = page.locator(".picture a.node", { has: page.locator("text.node-title", { hasText: new RegExp(`^${title}$`) }) });
      await node.locator(".node-state", { hasText: "running" }).waitFor();
    }
    await page.waitForFunction(() => [...document.querySelectorAll(".picture .node-main")].filter((main) => /^[1-9]/.test(main.textContent ?? "")).length >= 4);
    const policy = (await page.request.get(pipeline.url)).headers()["content-security-policy"] ?? "";
    for (const rule of ["default-src 'self'", "script-src 'self';", "style-src 'self';", "connect-src 'self'", "frame-ancestors 'none'"]) assert.ok(policy.includes(rule), policy);
    noComplaints(page);
  });

  for (const scheme of ["dark", "light"]) {
    it(`has no serious fault for those who use other means on any page, ${scheme}`, async () => {
      const page = await visit({ scheme });
      await page.locator(".age.live").first().waitFor();
      const { body } = await pipeline.ask("/v1/instruments?query=S1");
      const [{ publisher_id: publisher, instrument_id: instrument }] = body.items;
      for (const [name, path] of [...PAGES, ["instrument", `/market/${publisher}:${instrument}`]]) {
        await page.evaluate((to) => { history.pushState(null, "", to); dispatchEvent(new PopStateEvent("popstate")); }, path);
        await page.waitForTimeout(name === "instrument" ? 4_000 : 1_500);
        await accessible(page, `${name} ${scheme}`);
        await picture(page, `${name}-desktop-${scheme}`);
      }
      noComplaints(page);
    });
  }

  it("fits on a phone", async () => {
    const page = await visit({ phone: true, scheme: "dark" });
    await page.locator(".age.live").first().waitFor();
    for (const [name, path] of PAGES) {
      await page.evaluate((to) => { history.pushState(null, "", to); dispatchEvent(new PopStateEvent("popstate")); }, path);
      await page.waitForTimeout(1_500);
      await fits(page, name);
      await picture(page, `${name}-phone-dark`);
    }
    noComplaints(page);
  });

  it("finds an instrument and shows its book, trades and features as they come", async () => {
    const page = await visit();
    await page.keyboard.press("/");
    await page.waitForFunction(() => document.activeElement?.id === "instrument-search");
    await page.keyboard.type("S1");
    await page.locator(".instrument-list a", { hasText: /^S1/ }).first().click();
    await page.getByRole("heading", { name: "S1", exact: true }).waitFor();
    await page.locator(".ladder .depth.bid strong").first().waitFor();
    await page.waitForFunction(() => document.querySelectorAll(".ladder .depth strong").length === 20 && [...document.querySelectorAll(".ladder .depth.bid strong")].some((cell) => /\d/.test(cell.textContent ?? "")));
    await page.locator("[aria-label='Last trades'] tbody tr").first().waitFor();
    await page.getByText("basic.mid").waitFor();
    const panel = page.locator(".panel", { has: page.getByRole("heading", { name: "Book" }) });
    await panel.locator(".age.live").waitFor();
    const before = await panel.locator(".ladder").innerText();
    await page.waitForFunction((was) => document.querySelector(".ladder")?.innerText !== was, before);
    await page.waitForTimeout(3_000);
    await picture(page, "book-desktop-dark");
    noComplaints(page);
  });

  it("adds a feed by the form, and its packets come", async () => {
    const wanted = (await version("feeds")) + 1;
    const feed = pipeline.otherFeed;
    const page = await visit({ path: "/config/feeds" });
    await page.getByRole("button", { name: "+ Add to feeds" }).click();
    const at = (await page.locator("details[data-path^='feeds['] > summary").count()) && 1;
    const place = `feeds[${at}]`;
    await unfold(page, place);
    const added = page.locator(`details[data-path='${place}']`);
    await added.getByLabel("name").fill("second");
    await added.getByLabel("channel_id").fill("77");
    await added.getByLabel("publisher_id").fill(String(feed.publisher_id));
    await added.getByLabel("protocol").selectOption(feed.protocol);
    await unfold(page, `${place}.lines`);
    for (const line of ["a", "b"]) {
      await added.getByRole("button", { name: `+ Add ${line}`, exact: true }).click();
      await unfold(page, `${place}.lines.${line}`);
      const fields = page.locator(`details[data-path='${place}.lines.${line}']`);
      await fields.getByLabel("group").fill(feed.lines[line].group);
      await fields.getByLabel("port").fill(String(feed.lines[line].port));
    }
    await picture(page, "real-feed-form");
    await apply(page, "a second feed", "feeds", wanted);
    await converged("feeds", wanted);
    pipeline.other();
    await page.goto(`${pipeline.url}/channels`);
    const panel = page.locator(".panel", { has: page.getByRole("heading", { name: /^second · channel 77/ }) });
    await panel.getByText("both lines").waitFor();
    await page.waitForTimeout(4_000);
    await picture(page, "channels-two-desktop-dark");
    noComplaints(page);
  });

  it("changes a rule of a strategy, and the strategy runs the new version", async () => {
    const wanted = (await version("strategy")) + 1;
    const page = await visit({ path: "/config/strategy" });
    await page.getByLabel("when").first().waitFor({ state: "attached" });
    for (const path of ["strategies", "strategies[1]", "strategies[1].rules", "strategies[1].rules.rules", "strategies[1].rules.rules[0]"]) await unfold(page, path);
    const when = page.locator("[id='f-strategies[1].rules.rules[0].when']");
    await when.fill("good && imbalance > 0.4 && position < 200");
    await picture(page, "real-rule-form");
    await apply(page, "buys later, and less", "strategy", wanted);
    await converged("strategy", wanted);
    const { body } = await pipeline.ask("/v1/config/strategy");
    assert.equal(body.document.strategies[1].rules.rules[0].when, "good && imbalance > 0.4 && position < 200");
    await page.goto(`${pipeline.url}/config`);
    await page.getByRole("row", { name: /^Strategy/ }).getByText(/converged/).waitFor();
    await picture(page, "config-converged-desktop-dark");
    noComplaints(page);
  });

  it("has a wrong limit refused at its field, and nothing is changed by it", async () => {
    const was = await version("strategy");
    const page = await visit({ path: "/config/strategy" });
    await unfold(page, "risk.total");
    const field = page.locator("[id='f-risk.total.open_orders_max']");
    await field.fill("0");
    await page.getByRole("button", { name: "Review changes" }).click();
    await page.locator("[data-path='risk.total.open_orders_max'] .field-error", { hasText: "choose 1 to 100000" }).waitFor();
    assert.equal(await field.getAttribute("aria-invalid"), "true");
    await accessible(page, "refused limit");
    await picture(page, "limit-refused-desktop-dark");
    assert.equal(await version("strategy"), was);
    await page.getByRole("button", { name: "Discard" }).click();
  });

  it("halts and resumes, and who follows obeys", async () => {
    const page = await visit({ path: "/trading/orders" });
    await page.locator(".bar .state.big", { hasText: "Trading" }).waitFor();
    await page.keyboard.press("h");
    await page.getByRole("dialog", { name: "Halt all trading?" }).waitFor();
    await picture(page, "halt-desktop-dark");
    await page.keyboard.press("Enter");
    await page.locator(".bar .state.big", { hasText: "Halted" }).waitFor();
    await until("nothing to be open", async () => (await pipeline.ask("/v1/orders?state=open")).body?.items?.length === 0, pipeline.said);
    await picture(page, "halted-desktop-dark");
    await page.locator(".bar").getByRole("button", { name: "Resume" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel("Reason").fill("the test goes on");
    await dialog.getByLabel("Type RESUME to confirm").fill("RESUME");
    await dialog.getByRole("button", { name: "Resume trading" }).click();
    await page.locator(".bar .state.big", { hasText: "Trading" }).waitFor();
    assert.equal((await pipeline.ask("/v1/trading")).body.mode, "active");
    await page.goto(`${pipeline.url}/audit`);
    await page.getByRole("cell", { name: "the test goes on" }).waitFor();
    await picture(page, "audit-after-desktop-dark");
    noComplaints(page);
  });

  it("rolls a document back, and its processes follow", async () => {
    const newest = await version("strategy");
    const page = await visit({ path: "/config/strategy/history" });
    await page.getByRole("button", { name: "Roll back to it" }).first().click();
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel("Reason").fill("as it was before");
    await dialog.getByRole("button", { name: `Roll back to version ${newest - 1}` }).click();
    await page.getByRole("row").filter({ hasText: "as it was before" }).waitFor();
    await converged("strategy", newest + 1);
    noComplaints(page);
  });

  it("makes a token with which a viewer reads and changes nothing", async () => {
    const page = await visit({ path: "/tokens" });
    await page.getByRole("button", { name: "New token" }).click();
    await page.getByLabel("Name of the person or program").fill("vera");
    await page.getByRole("button", { name: "Make it" }).click();
    const secret = (await page.locator("pre.secret").innerText()).trim();
    assert.match(secret, /^fp_/);
    await page.getByRole("button", { name: "I have it" }).click();
    const viewer = await open(browser, pipeline.url, secret, { path: "/config/gateway" });
    contexts.push(viewer.context());
    await viewer.getByText("Changing it takes the role risk").waitFor();
    assert.equal(await viewer.getByRole("link", { name: "Tokens" }).count(), 0);
    await page.getByRole("row", { name: /vera/ }).getByRole("button", { name: "Revoke" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Revoke" }).click();
    await viewer.getByText("The token is not good").waitFor({ timeout: 60_000 });
    noComplaints(page);
  });
});
