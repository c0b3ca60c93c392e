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

/** Start what serves the gallery; gives its process, and its address, which `find` finds in a line of its output. */
async function start(python, words, { env, cwd, output, find }) {
  const child = spawn(python, ["-m", "wan_mcp", ...words], { env, cwd, stdio: ["ignore", output === "stdout" ? "pipe" : "ignore", output === "stderr" ? "pipe" : "ignore"] });
  processes.add(child);
  const ended = new Promise((resolve) => child.once("exit", resolve));
  const url = await new Promise((resolve, reject) => {
    createInterface({ input: child[output] }).on("line", (line) => find(line) && resolve(find(line)));
    ended.then(() => reject(new Error("the gallery did not start")));
  });
  const end = async () => {
    child.kill("SIGINT");
    await ended;
    processes.delete(child);
  };
  return { url, end };
}

/** Ask a server for a link to the gallery of who has a token. */
async function askForLink(server, token) {
  const answer = await fetch(server.replace(/mcp$/, "gallery/links"), { method: "POST", headers: { Authorization: `Bearer ${token}` } });
  return (await answer.json()).url;
}

/**
 * Fill a ledger and start the gallery on it; gives its address, its folder, and a way to end it or to run a command.
 * With `scopes` it is that of a server which people sign in to, and the address a link that works once; `linkOf` gives
 * one of ann, or of bea, who may only read.
 */
async function startGallery(python, { images = 40, painted = 12, subjects = [], scopes = null }) {
  const folder = mkdtempSync(join(tmpdir(), "wan-mcp-gallery-"));
  const env = environment(folder);
  const run = promisify(execFile);
  if (images) await run(python, [join(ROOT, "tests/fakes/filled_ledger.py"), join(folder, "state"), join(folder, "pictures"), String(images), String(painted), ...subjects], { env });
  if (scopes) env.WAN_MCP_TOKENS_FILE = join(folder, "tokens");
  const tokens = {};
  for (const [name, its] of scopes ? [["ann", scopes], ["bea", "wan:read"]] : []) tokens[name] = (await run(python, ["-m", "wan_mcp", "token", "create", name, "--scopes", its], { env, cwd: folder })).stdout.trim();
  const { url: home, end } = await (scopes
    ? start(python, ["serve", "--transport", "http", "--port", "0"], { env, cwd: folder, output: "stderr", find: (line) => /serves at (\S+)/.exec(line)?.[1] })
    : start(python, ["gallery", "--no-open"], { env, cwd: folder, output: "stdout", find: (line) => line }));
  const linkOf = (name) => askForLink(home, tokens[name]);
  const url = scopes ? await linkOf("ann") : home;
  // A command whose order still runs says so with its exit code.
  const command = (...words) => run(python, ["-m", "wan_mcp", ...words], { env, cwd: folder }).catch((error) => error.code === 3 || Promise.reject(error));
  return { url, linkOf, home: scopes ? home.replace(/mcp$/, "gallery/") : url, folder, end, command };
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
    url: gallery.home,
    link: gallery.url,
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
