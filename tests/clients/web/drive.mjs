// Serves the page, opens it in Chromium and runs one case: `node drive.mjs CASE`, with CHROMIUM in the environment.
// SCREENSHOT there is a file for a picture of the docs page.
// Says its origin on a line, as soon as it has one, and then wants a line with where closd is: {"api", "token"}.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const FLAGS = [
  "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
  // No word to anybody outside of this machine.
  "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
];

const script = await readFile(new URL("page.js", import.meta.url));
const server = createServer((request, answer) => {
  const isScript = request.url === "/page.js";
  answer.setHeader("content-type", isScript ? "text/javascript" : "text/html");
  answer.end(isScript ? script : "<!doctype html><title>page</title><script src=page.js></script>");
});
await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
// One server, two origins: closd is told of the first only.
const origin = `http://localhost:${server.address().port}`;
const foreign = `http://127.0.0.1:${server.address().port}`;
console.log(JSON.stringify({ origin }));

const lines = createInterface({ input: process.stdin });
const daemon = JSON.parse((await lines[Symbol.asyncIterator]().next()).value);
const bearer = `bearer.${daemon.token}`;

// A new, empty profile in a temporary folder, gone at the end.
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: FLAGS });
const context = await browser.newContext();

async function open(url = origin) {
  const tab = await context.newPage();
  await tab.goto(url);
  return tab;
}

const run = (tab, name, ...more) =>
  tab.evaluate(([name, args]) => globalThis.page[name](...args), [name, [daemon, ...more]]);

const cases = {
  async calls() {
    const tab = await open();
    await run(tab, "grpcWeb");
    await run(tab, "headers");
  },

  async sockets() {
    await run(await open(), "thirty", bearer);
  },

  async ticket() {
    await run(await open(), "ticket");
  },

  // More than the six connections that a browser opens to one host.
  async tabs() {
    const tabs = [];
    for (let at = 0; at < 7; at++) {
      tabs.push(await open());
      await run(tabs[at], "tab", bearer);
    }
    await run(tabs[6], "make", "seen-by-all");
    const seen = await Promise.all(tabs.map((tab) => tab.evaluate(() => globalThis.seen)));
    assert.deepEqual(seen, tabs.map(() => "seen-by-all"));
  },

  async foreign() {
    const through = await run(await open(foreign), "intrude");
    assert.deepEqual(through, [], "what a foreign page can do");
    assert.equal(await run(await open(), "count"), 0, "what it has left behind");
  },

  // The page of closd itself: nothing from elsewhere, and what is typed there is sent.
  async docs() {
    const tab = await context.newPage();
    const asked = [];
    const complaints = [];
    tab.on("request", (request) => asked.push(request.url()));
    tab.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
    tab.on("pageerror", (error) => complaints.push(String(error)));
    await tab.goto(`${daemon.api}/docs`);
    const route = (verb, path) => tab.locator("details", { has: tab.getByText(path, { exact: true }) })
      .filter({ has: tab.locator(`.verb.${verb}`) });
    const send = async (verb, path, fill = async () => {}) => {
      const box = route(verb, path);
      await box.locator("summary").click();
      await fill(box);
      await box.getByRole("button", { name: "Send" }).click();
      return box.locator("pre").first();
    };
    const shows = async (output, text) => {
      await output.getByText(text).waitFor();
    };
    await shows(await send("get", "/api/v2/services"), "TOKEN_MISSING");
    await tab.getByLabel("Bearer token").fill(daemon.token);
    await shows(await send("post", "/api/v2/groups", (box) => box.getByLabel("Body").fill('{"name": "tried"}')), "201 Created");
    await shows(await send("get", "/api/v2/groups/{name}", (box) => box.getByLabel("name").fill("tried")), '"name": "tried"');
    await shows(await send("get", "/api/v2/events/watch", (box) => box.getByLabel("after", { exact: true }).fill("0")), "group.created");
    assert.deepEqual(asked.filter((url) => !url.startsWith(`${daemon.api}/`)), [], "asked elsewhere");
    // The browser reports the 401 that was wanted.
    assert.deepEqual(complaints.filter((text) => !text.includes("401")), [], "complaints");
    if (process.env.SCREENSHOT) await tab.screenshot({ path: process.env.SCREENSHOT });
  },
};

try {
  await cases[process.argv[2]]();
} finally {
  await browser.close();
  server.close();
  lines.close();
}
