// The view and the gallery in a real browser: `node tests/browser/run.mjs [words of a scenario]`.
// Takes packages from WAN_MCP_NODE_MODULES or tests/interop/node_modules, Python from WAN_MCP_PYTHON or .venv,
// the browser from WAN_MCP_CHROMIUM or a usual place. Pictures go to WAN_MCP_SCREENSHOTS if that is set.

import assert from "node:assert/strict";
import { existsSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { galleryScenarios } from "./gallery_scenarios.mjs";
import { endGalleries, openGallery } from "./gallery_page.mjs";
import { load } from "./packages.mjs";
import { viewScenarios } from "./view_scenarios.mjs";
import { openHost, readView, serveSite, startServer } from "./view_page.mjs";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "../..");
const PYTHON = process.env.WAN_MCP_PYTHON ?? [join(ROOT, ".venv/bin/python")].find(existsSync) ?? "python3";
const CHROMIUM = process.env.WAN_MCP_CHROMIUM ?? ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);
const SCREENSHOTS = process.env.WAN_MCP_SCREENSHOTS;
const MOST_MILLISECONDS = 180_000;
const AT_ONCE = 3;

async function play(name, { run, ...options }, { browser, site, client, view }) {
  const isView = name.startsWith("the view");
  const host = isView ? await openHost(browser, site, client, { view, ...options }) : await openGallery(browser, PYTHON, options);
  const home = isView ? `${site.url}/` : host.url;
  const shot = async (as) => {
    if (SCREENSHOTS) await host.page.screenshot({ path: join(SCREENSHOTS, `${as}.png`), fullPage: isView });
  };
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${MOST_MILLISECONDS / 1000} s are over`)), MOST_MILLISECONDS);
  });
  try {
    await Promise.race([run(host, shot), late]);
    assert.deepEqual(host.troubles, [], "the console has complaints");
    const left = host.requests.filter((url) => !url.startsWith(home) && !url.startsWith("data:"));
    assert.deepEqual(left, [], "something was asked of the network");
    return true;
  } catch (error) {
    console.error(`failed: ${name}\n${error.stack}\n${host.troubles.join("\n")}`);
    if (SCREENSHOTS) await host.page.screenshot({ path: join(SCREENSHOTS, "failed.png"), fullPage: true });
    return false;
  } finally {
    clearTimeout(timer);
    // A page that is closed in the middle of a question must not end the others.
    await host.page.unrouteAll({ behavior: "ignoreErrors" });
    await host.close();
  }
}

async function main() {
  if (SCREENSHOTS) mkdirSync(SCREENSHOTS, { recursive: true });
  const { chromium } = await load("playwright-core");
  const client = await startServer(PYTHON);
  const view = await readView(client);
  assert.equal(view.mimeType, "text/html;profile=mcp-app");
  const site = await serveSite(view);
  const browser = await chromium.launch({
    executablePath: CHROMIUM,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
  const wanted = process.argv.slice(2).join(" ");
  const all = [...Object.entries(viewScenarios).map(([name, each]) => [`the view ${name}`, each]), ...Object.entries(galleryScenarios).map(([name, each]) => [`the gallery ${name}`, each])];
  const open = all.filter(([name]) => name.includes(wanted));
  assert.ok(open.length, `no scenario has ${wanted} in its name`);
  let failed = 0;
  const work = async () => {
    for (let next = open.shift(); next; next = open.shift()) {
      const [name, scenario] = next;
      const began = Date.now();
      const passed = await play(name, scenario, { browser, site, client, view });
      failed += passed ? 0 : 1;
      console.log(`${passed ? "ok    " : "FAILED"} ${((Date.now() - began) / 1000).toFixed(1).padStart(5)} s  ${name}`);
    }
  };
  try {
    await Promise.all(Array.from({ length: AT_ONCE }, work));
  } finally {
    await browser.close();
    await endGalleries();
    site.close();
    await client.close();
  }
  process.exitCode = failed ? 1 : 0;
}

await main();
