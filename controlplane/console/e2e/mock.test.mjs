/** The built console in a browser, against the mock of the contract: what must hold whatever the pipeline does. */

import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "node:test";
import { existsSync } from "node:fs";
import { launch, chromiumMissing } from "./browser.mjs";
import { accessible, DIST, fits, noComplaints, open, PAGES, picture, unfold } from "./helpers.mjs";
import { startMock } from "./mock.mjs";

const missing = chromiumMissing() ?? (existsSync(`${DIST}/index.html`) ? undefined : "the console is not built (npm run build)");
if (missing !== undefined) console.error(`SKIPPED: ${missing}`);

describe("the console on a mock", { skip: missing !== undefined }, () => {
  let browser;
  let mock;
  const pages = [];
  const visit = async (token, options) => {
    const page = await open(browser, mock.url, token, options);
    pages.push(page);
    return page;
  };
  before(async () => {
    browser = await launch();
  });
  after(async () => {
    await browser?.close();
    await mock?.close();
  });
  beforeEach(async () => {
    while (pages.length > 0) await pages.pop().context().close();
    await mock?.close();
    mock = await startMock({ dist: DIST });
  });

  it("lets nobody in without a token and says why a wrong one is refused", async () => {
    const page = await visit(undefined, { path: "/config" });
    await page.getByRole("heading", { name: "feedplane console" }).waitFor();
    await accessible(page, "login");
    await picture(page, "login-dark");
    await page.getByLabel("Token").fill("fp_wrong_token");
    await page.getByRole("button", { name: "Open the console" }).click();
    await page.getByText("does not know this token").waitFor();
    await page.getByLabel("Token").fill(mock.tokens.viewer);
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Configuration" }).waitFor();
    assert.equal(await page.evaluate(() => localStorage.getItem("feedplane.token")), null, "the token is not kept beyond the tab");
    noComplaints(page);
  });

  for (const scheme of ["dark", "light"]) {
    it(`shows every page without a serious fault for those who use other means, ${scheme}`, async () => {
      const page = await visit(mock.tokens.risk, { scheme });
      await page.getByText("live").first().waitFor();
      for (const [name, path] of [...PAGES, ["instrument", "/market/2:7"]]) {
        await page.evaluate((to) => { history.pushState(null, "", to); dispatchEvent(new PopStateEvent("popstate")); }, path);
        await page.waitForTimeout(900);
        await accessible(page, `${name} ${scheme}`);
        await picture(page, `mock-${name}-${scheme}`);
      }
      noComplaints(page);
    });
  }

  it("fits on a phone", async () => {
    const page = await visit(mock.tokens.risk, { phone: true, scheme: "light" });
    for (const [name, path] of [...PAGES, ["instrument", "/market/2:7"]]) {
      await page.goto(mock.url + path);
      await page.waitForTimeout(900);
      await fits(page, name);
      const halt = await page.getByRole("button", { name: "HALT", exact: true }).boundingBox();
      assert.ok(halt !== null && halt.x >= 0 && halt.x + halt.width <= 390 && halt.y < 100, `${name}: the halt is in reach`);
      await picture(page, `mock-${name}-phone`);
    }
    await page.getByRole("button", { name: "More" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Log out" }).click();
    await page.getByRole("heading", { name: "feedplane console" }).waitFor();
    noComplaints(page);
  });

  it("halts by one key and a confirmation, and resumes by a typed word", async () => {
    const page = await visit(mock.tokens.risk, { path: "/trading/orders" });
    await page.getByText("live").first().waitFor();
    await page.keyboard.press("h");
    await page.getByRole("dialog", { name: "Halt all trading?" }).waitFor();
    await accessible(page, "halt dialog");
    await picture(page, "mock-halt");
    await page.keyboard.press("Enter");
    await page.locator(".bar .state.big", { hasText: "Halted" }).waitFor();
    assert.equal(mock.world.trading.mode, "halted");
    await page.getByRole("button", { name: "Resume" }).click();
    const dialog = page.getByRole("dialog", { name: "Resume trading?" });
    await dialog.getByLabel("Reason").fill("checked, all well");
    const send = dialog.getByRole("button", { name: "Resume trading" });
    assert.equal(await send.isDisabled(), true);
    await dialog.getByLabel("Type RESUME to confirm").fill("resume");
    assert.equal(await send.isDisabled(), true);
    await dialog.getByLabel("Type RESUME to confirm").fill("RESUME");
    await accessible(page, "resume dialog");
    await picture(page, "mock-resume");
    await send.click();
    await page.locator(".bar .state.big", { hasText: "Trading" }).waitFor();
    assert.equal(mock.world.trading.mode, "active");
    noComplaints(page);
  });

  it("does not resume when somebody halted meanwhile", async () => {
    const page = await visit(mock.tokens.risk);
    await page.locator(".age.live").first().waitFor();
    await page.keyboard.press("h");
    await page.getByRole("dialog").getByRole("button", { name: /HALT NOW/ }).waitFor();
    await page.keyboard.press("Enter");
    await page.locator(".bar .state.big", { hasText: "Halted" }).waitFor();
    await page.locator(".bar").getByRole("button", { name: "Resume" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel("Reason").fill("x");
    await dialog.getByLabel("Type RESUME to confirm").fill("RESUME");
    mock.world.trading = { ...mock.world.trading, reason: "halted again", revision: 99 };
    await dialog.getByRole("button", { name: "Resume trading" }).click();
    await dialog.getByText("Somebody changed the trading state meanwhile").waitFor();
    assert.equal(mock.world.trading.mode, "halted");
    await dialog.getByRole("button", { name: "Read it again" }).click();
    await dialog.getByText("halted again").waitFor();
  });

  it("shows a viewer what it may not do, and does not offer the tokens", async () => {
    const page = await visit(mock.tokens.viewer, { path: "/config/strategy" });
    await page.getByText("Changing it takes the role risk").waitFor();
    assert.equal(await page.getByRole("link", { name: "Tokens" }).count(), 0);
    await page.keyboard.press("h");
    assert.equal(await page.getByRole("dialog").getByRole("button", { name: /HALT NOW/ }).isDisabled(), true);
  });

  it("marks what is older than two seconds, says that the connection is lost, and recovers", async () => {
    const page = await visit(mock.tokens.risk);
    await page.locator(".age.live").first().waitFor();
    mock.world.mute = true;
    await page.getByText("CONNECTION LOST").waitFor({ timeout: 15_000 });
    await page.locator(".panel.stale").first().waitFor();
    assert.match(await page.locator(".panel.stale .age.stale").first().innerText(), /\d.* old/);
    await accessible(page, "stale");
    await picture(page, "mock-stale");
    mock.world.mute = false;
    await page.locator(".bar .age.live").waitFor({ timeout: 20_000 });
    await page.getByText("CONNECTION LOST").waitFor({ state: "detached" });
    noComplaints(page);
  });

  it("refuses a wrong limit at its field, here and by the server", async () => {
    const page = await visit(mock.tokens.risk, { path: "/config/strategy" });
    await unfold(page, "risk.total");
    const field = page.getByLabel("open_orders_max").first();
    await field.fill("many");
    await page.locator("[data-path='risk.total.open_orders_max']").getByText("is no number").waitFor();
    assert.equal(await page.getByRole("button", { name: "Review changes" }).isDisabled(), true);
    await field.fill("0");
    await page.getByRole("button", { name: "Review changes" }).click();
    await page.locator("[data-path='risk.total.open_orders_max']").getByText("choose 1 to 100000").waitFor();
    assert.equal(await field.getAttribute("aria-invalid"), "true");
    assert.equal(await page.evaluate(() => document.activeElement?.id), "f-risk.total.open_orders_max", "the focus is at the field");
    await accessible(page, "refused limit");
    await picture(page, "mock-refused");
    await field.fill("120");
    await page.getByRole("button", { name: "Review changes" }).click();
    const dialog = page.getByRole("dialog", { name: "What changes in strategy" });
    await dialog.getByText("risk.total.open_orders_max").waitFor();
    await accessible(page, "diff dialog");
    await picture(page, "mock-diff");
    await dialog.getByLabel("Reason").fill("more room for the quoter");
    await dialog.getByRole("button", { name: "Apply as version 2" }).click();
    await page.getByText("version 2", { exact: true }).waitFor();
    assert.equal(mock.world.versions.strategy.at(-1).document.risk.total.open_orders_max, 120);
    assert.equal(mock.world.versions.strategy.at(-1).reason, "more room for the quoter");
    noComplaints(page);
  });

  it("adds a feed by the form", async () => {
    const page = await visit(mock.tokens.operator, { path: "/config/feeds" });
    await page.getByRole("button", { name: "+ Add to feeds" }).click();
    const added = page.locator("[data-path='feeds[2]']");
    await unfold(page, "feeds[2]");
    await added.getByLabel("name").fill("iex");
    await added.getByLabel("channel_id").fill("7");
    await added.getByLabel("publisher_id").fill("2");
    await added.getByLabel("protocol").selectOption("itch50");
    await unfold(page, "feeds[2].lines");
    await added.getByRole("button", { name: "+ Add a" }).click();
    await unfold(page, "feeds[2].lines.a");
    await added.getByLabel("group").fill("239.1.1.1");
    await added.getByLabel("port").fill("30001");
    await page.getByRole("button", { name: "Review changes" }).click();
    await page.getByRole("dialog").getByText("would take it while packets flow").waitFor();
    await page.getByRole("dialog").getByLabel("Reason").fill("a third feed");
    await page.getByRole("button", { name: "Apply as version 2" }).click();
    await page.getByText("version 2", { exact: true }).waitFor();
    assert.deepEqual(mock.world.versions.feeds.at(-1).document.feeds[2], { name: "iex", channel_id: 7, publisher_id: 2, protocol: "itch50", lines: { a: { group: "239.1.1.1", port: 30001 } } });
  });

  it("says before it is applied what waits for a start of the data plane", async () => {
    const page = await visit(mock.tokens.operator, { path: "/config/dataplane" });
    await page.getByRole("button", { name: "Text", exact: true }).click();
    const text = page.getByLabel("Document as YAML or JSON");
    const before = await text.inputValue();
    assert.match(before, /core: \d+/);
    await text.fill(before.replace(/core: \d+/, "core: 7"));
    await page.getByRole("button", { name: "Review changes" }).click();
    const dialog = page.getByRole("dialog", { name: "What changes in dataplane" });
    await dialog.getByText("Only a start of the data plane takes it").waitFor();
    await accessible(page, "rehearsal");
    await picture(page, "mock-rehearsal");
    await dialog.getByRole("button", { name: "Back" }).click();
    assert.equal(mock.world.versions.dataplane.length, 1, "nothing was applied");
    noComplaints(page);
  });

  it("applies two documents together, or none of them", async () => {
    const page = await visit(mock.tokens.operator, { path: "/config/feeds" });
    const before = { feeds: mock.world.versions.feeds.length, dataplane: mock.world.versions.dataplane.length };
    const rewrite = async (pattern, to) => {
      await page.getByRole("button", { name: "Text", exact: true }).click();
      const text = page.getByLabel("Document as YAML or JSON");
      const said = await text.inputValue();
      assert.match(said, pattern);
      await text.fill(said.replace(pattern, to));
    };
    await rewrite(/channel_id: \d+/, "channel_id: 4711");
    await page.getByRole("button", { name: "Set aside" }).click();
    await page.getByRole("link", { name: "All documents" }).click();
    await page.getByRole("row", { name: /Feeds/ }).getByText("set aside").waitFor();
    await page.getByRole("link", { name: "Data plane" }).click();
    await page.getByText("applied together with this document").waitFor();
    await rewrite(/core: \d+/, "core: 5");
    await page.getByRole("button", { name: "Review changes" }).click();
    const dialog = page.getByRole("dialog", { name: "What changes in dataplane and feeds" });
    await dialog.getByRole("region", { name: "feeds" }).getByText("4711").waitFor();
    await dialog.getByRole("region", { name: "dataplane" }).getByText("workers[0].core").waitFor();
    await accessible(page, "two documents");
    await picture(page, "mock-together");
    await dialog.getByLabel("Reason").fill("both at once");
    // Somebody is faster with one of them: neither is applied.
    const last = mock.world.versions.feeds.at(-1);
    mock.world.versions.feeds.push({ ...last, version: last.version + 1 });
    await dialog.getByRole("button", { name: "Apply together" }).click();
    await page.getByText(/feeds has version \d+ now/).waitFor();
    assert.equal(mock.world.versions.dataplane.length, before.dataplane);
    mock.world.versions.feeds.pop();
    await page.getByRole("button", { name: "Review changes" }).click();
    await dialog.getByLabel("Reason").fill("both at once");
    await dialog.getByRole("button", { name: "Apply together" }).click();
    await page.getByText("stored and on its way").waitFor();
    assert.equal(mock.world.versions.feeds.length, before.feeds + 1);
    assert.equal(mock.world.versions.dataplane.length, before.dataplane + 1);
    assert.equal(mock.world.versions.feeds.at(-1).reason, "both at once");
    await page.getByText("applied together with this document").waitFor({ state: "detached" });
    noComplaints(page);
  });

  it("detaches and attaches an interface after a question, and offers neither to a viewer", async () => {
    const page = await visit(mock.tokens.operator, { path: "/machine" });
    const nic = page.getByRole("region", { name: "Interface eth1" });
    await nic.getByRole("button", { name: "Detach" }).click();
    const asked = page.getByRole("dialog", { name: "Detach the steering program: eth1" });
    await asked.getByText("A feed whose only line is on eth1 goes silent").waitFor();
    await accessible(page, "detach dialog");
    await asked.getByRole("button", { name: "Cancel" }).click();
    assert.notEqual(mock.world.counters["detached eth1"], true, "asked, and not done");
    await nic.getByRole("button", { name: "Detach" }).click();
    await asked.getByRole("button", { name: "Detach" }).click();
    await nic.getByText("detached").waitFor();
    assert.equal(mock.world.counters["detached eth1"], true);
    await accessible(page, "detached");
    await picture(page, "mock-detached");
    await nic.getByRole("button", { name: "Attach" }).click();
    await page.getByRole("dialog", { name: "Attach the steering program: eth1" }).getByRole("button", { name: "Attach" }).click();
    await nic.getByRole("button", { name: "Detach" }).waitFor();
    assert.equal(mock.world.counters["detached eth1"], false);
    noComplaints(page);
    const viewer = await visit(mock.tokens.viewer, { path: "/machine" });
    await viewer.getByText("eth1").first().waitFor();
    assert.equal(await viewer.getByRole("button", { name: /Detach|Attach|Replace programs/ }).count(), 0);
  });

  it("makes the first version of a document that has none", async () => {
    mock.world.versions.archiver = [];
    const page = await visit(mock.tokens.operator, { path: "/config/archiver" });
    await page.getByText("no version yet").waitFor();
    await page.getByLabel("shards").fill("1");
    await page.getByRole("button", { name: "Review changes" }).click();
    await page.getByRole("dialog").getByLabel("Reason").fill("the first");
    await page.getByRole("button", { name: "Apply as version 1" }).click();
    await page.getByText("version 1", { exact: true }).waitFor();
    assert.deepEqual(mock.world.versions.archiver.at(-1).document, { shards: 1 });
    noComplaints(page);
  });

  it("says 412 as what it is, and loads the current version", async () => {
    const page = await visit(mock.tokens.risk, { path: "/config/archiver" });
    await unfold(page, "batch");
    await page.getByLabel("rows_max").fill("40000");
    await page.getByRole("button", { name: "Review changes" }).click();
    await page.getByRole("dialog").getByLabel("Reason").fill("mine");
    const [first] = mock.world.versions.archiver;
    mock.world.versions.archiver.push({ ...first, version: 2, by: "olga", reason: "hers", document: { ...first.document, shards: 2 } });
    await page.getByRole("button", { name: "Apply as version 2" }).click();
    await page.getByText("Not applied: somebody was faster").waitFor();
    await picture(page, "mock-conflict");
    await accessible(page, "conflict");
    await page.getByRole("button", { name: "Load version 2" }).click();
    await page.getByText("version 2", { exact: true }).waitFor();
    assert.equal(await page.getByLabel("shards").inputValue(), "2");
    noComplaints(page);
  });

  it("edits as text, names the line that cannot be read, and gives the form what was written", async () => {
    const page = await visit(mock.tokens.risk, { path: "/config/gateway" });
    await page.getByRole("button", { name: "Text", exact: true }).click();
    const text = page.getByLabel("Document as YAML or JSON");
    const before = await text.inputValue();
    await text.fill(`${before}broken: [1, 2\n`);
    await page.getByText(/^line \d+:/).first().waitFor();
    assert.equal(await page.getByRole("button", { name: "Form", exact: true }).isDisabled(), true);
    await accessible(page, "text");
    await picture(page, "mock-text");
    await text.fill(before.replace("message_burst: 50", "message_burst: 60"));
    await page.getByRole("button", { name: "Review changes" }).click();
    await page.getByRole("dialog").getByLabel("Reason").fill("as text");
    await page.getByRole("button", { name: "Apply as version 2" }).click();
    await page.getByText("version 2", { exact: true }).waitFor();
    assert.equal(mock.world.versions.gateway.at(-1).document.sessions[0].limits.message_burst, 60);
  });

  it("shows what a version changed and rolls back to one", async () => {
    const [first] = mock.world.versions.archiver;
    mock.world.versions.archiver.push({ ...first, version: 2, by: "olga", reason: "shorter batches", document: { ...first.document, batch: { rows_max: 1, wait_ms: 1 } } });
    const page = await visit(mock.tokens.risk, { path: "/config/archiver/history" });
    await page.getByRole("button", { name: "What changed" }).first().click();
    await page.getByText("batch.rows_max").waitFor();
    await page.getByRole("button", { name: "Roll back to it" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel("Reason").fill("as it was");
    await accessible(page, "rollback dialog");
    await dialog.getByRole("button", { name: "Roll back to version 1" }).click();
    await page.getByText("as it was").waitFor();
    assert.deepEqual(mock.world.versions.archiver.at(-1).document, first.document);
    noComplaints(page);
  });

  it("shows a book and trades that move, and finds an instrument by its symbol", async () => {
    const page = await visit(mock.tokens.viewer);
    await page.getByRole("heading", { name: "Pipeline" }).waitFor();
    await page.keyboard.press("/");
    await page.waitForFunction(() => document.activeElement?.id === "instrument-search");
    await page.keyboard.type("aap");
    await page.locator(".instrument-list a", { hasText: "AAPL" }).waitFor();
    await page.waitForTimeout(500);
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "AAPL" }).waitFor();
    await page.locator(".ladder .depth.bid strong").first().waitFor();
    await page.locator("canvas").first().waitFor();
    const rows = await page.locator("[aria-label='Last trades'] tbody tr").count();
    await page.waitForTimeout(2_000);
    assert.ok((await page.locator("[aria-label='Last trades'] tbody tr").count()) > rows, "trades come");
    noComplaints(page);
  });

  it("shows many channels as a table whose rows open", async () => {
    const [latest] = mock.world.versions.feeds;
    const [first] = latest.document.feeds;
    latest.document = { feeds: Array.from({ length: 40 }, (_, i) => ({ ...first, name: `feed-${i}`, channel_id: 100 + i })) };
    const page = await visit(mock.tokens.viewer, { path: "/channels" });
    await page.getByRole("heading", { name: "40 channels" }).waitFor();
    await page.getByRole("button", { name: "feed-39 139" }).click();
    await page.getByRole("heading", { name: "feed-39 · channel 139" }).waitFor();
    await accessible(page, "many channels");
    await picture(page, "mock-many-channels");
    noComplaints(page);
  });

  it("goes to every page by keys, and lists the keys", async () => {
    const page = await visit(mock.tokens.risk);
    await page.getByText("live").first().waitFor();
    for (const [key, path] of [["c", "/channels"], ["m", "/market"], ["t", "/trading"], ["n", "/machine"], ["l", "/models"], ["f", "/config"], ["a", "/audit"], ["k", "/tokens"], ["o", "/overview"]]) {
      await page.keyboard.press("g");
      await page.keyboard.press(key);
      await page.waitForFunction((to) => location.pathname === to, path);
    }
    await page.keyboard.press("?");
    await page.getByRole("dialog", { name: "Keys" }).waitFor();
    await accessible(page, "keys");
    await picture(page, "mock-keys");
    await page.keyboard.press("Escape");
    await page.getByRole("dialog").waitFor({ state: "detached" });
    await page.keyboard.press("d");
    assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), "light");
    noComplaints(page);
  });

  it("makes a token, shows its secret once, and revokes it", async () => {
    const page = await visit(mock.tokens.risk, { path: "/tokens" });
    await page.getByRole("button", { name: "New token" }).click();
    await page.getByLabel("Name of the person or program").fill("nightly");
    await page.getByRole("button", { name: "Make it" }).click();
    await page.getByText("fp_t3_").waitFor();
    await page.getByRole("button", { name: "I have it" }).click();
    await page.getByRole("row", { name: /nightly/ }).getByRole("button", { name: "Revoke" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Revoke" }).click();
    await page.getByRole("row", { name: /nightly.*revoked/i }).waitFor();
    assert.equal(await page.getByText("fp_t3_").count(), 0);
  });

  it("does not move what is shown when data comes", async () => {
    const page = await visit(mock.tokens.risk);
    await page.locator(".picture").waitFor();
    await page.waitForTimeout(1_500);
    const shift = await page.evaluate(
      () =>
        new Promise((resolve) => {
          let sum = 0;
          new PerformanceObserver((list) => {
            for (const entry of list.getEntries()) if (!entry.hadRecentInput) sum += entry.value;
          }).observe({ type: "layout-shift", buffered: false });
          setTimeout(() => resolve(sum), 4_000);
        }),
    );
    assert.ok(shift < 0.02, `layout shift of ${shift}`);
  });
});
