// What a scenario of the gallery needs: the real program on a full ledger, and its page in a real browser.

import { execFile, spawn } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "../..");
const shared = new Map();
const processes = new Set();

function environment(folder) {
  return {
    PATH: process.env.PATH,
    PYTHONPATH: [join(ROOT, "server"), join(ROOT, "tools"), join(ROOT, "tests"), process.env.PYTHONPATH].filter(Boolean).join(":"),
    HOME: folder,
    DASHSCOPE_REGION: "sandbox",
    WAN_MCP_STATE_DIR: join(folder, "state"),
    WAN_MCP_OUTPUT_DIR: join(folder, "pictures"),
  };
}

/** Fill a ledger and start the gallery on it; gives its address, its folder, and a way to end it or to run a command. */
async function startGallery(python, { images = 40, painted = 12, subjects = [] }) {
  const folder = mkdtempSync(join(tmpdir(), "wan-mcp-gallery-"));
  const env = environment(folder);
  const run = promisify(execFile);
  if (images) await run(python, [join(ROOT, "tests/fakes/filled_ledger.py"), join(folder, "state"), join(folder, "pictures"), String(images), String(painted), ...subjects], { env });
  const child = spawn(python, ["-m", "wan_mcp", "gallery", "--no-open"], { env, cwd: folder, stdio: ["ignore", "pipe", "ignore"] });
  processes.add(child);
  const ended = new Promise((resolve) => child.once("exit", resolve));
  const url = await new Promise((resolve, reject) => {
    createInterface({ input: child.stdout }).once("line", resolve);
    ended.then(() => reject(new Error("the gallery did not start")));
  });
  const end = async () => {
    child.kill("SIGINT");
    await ended;
    processes.delete(child);
  };
  // A command whose order still runs says so with its exit code.
  const command = (...words) => run(python, ["-m", "wan_mcp", ...words], { env, cwd: folder }).catch((error) => error.code === 3 || Promise.reject(error));
  return { url, folder, end, command };
}

/** End what is still running. */
export async function endGalleries() {
  for (const gallery of shared.values()) await (await gallery).end();
  for (const child of processes) child.kill("SIGKILL");
}

/** Open the page. Scenarios that change nothing share one gallery; those with an `album` have their own. */
export async function openGallery(browser, python, { album, width = 1280, height = 900, colorScheme = "light", locale = "en-GB", pardoned, ...options }) {
  if (!album && !shared.has("small")) shared.set("small", startGallery(python, {}));
  const gallery = await (album ? startGallery(python, album) : shared.get("small"));
  const context = await browser.newContext({ viewport: { width, height }, colorScheme, locale, reducedMotion: options.reducedMotion ?? "reduce", forcedColors: options.forcedColors ?? "none" });
  context.setDefaultTimeout(15_000);
  const page = await context.newPage();
  const troubles = [];
  const requests = [];
  const posted = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type()) && !pardoned?.test(message.text())) troubles.push(message.text());
  });
  page.on("pageerror", (error) => troubles.push(String(error)));
  page.on("request", (request) => {
    requests.push(request.url());
    if (request.method() === "POST") posted.push(request.url());
  });
  if (!options.closed) await page.goto(gallery.url);
  return {
    page,
    frame: page,
    url: gallery.url,
    gallery,
    troubles,
    requests,
    posts: () => requests.filter((url) => url.endsWith("/again")).length,
    edits: () => posted.filter((url) => /\/edit\/\d+$/.test(url)).length,
    close: async () => {
      await context.close();
      if (album) await gallery.end();
    },
  };
}
