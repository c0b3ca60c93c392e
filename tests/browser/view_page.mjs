// What a scenario needs: our real server, a host page in a real browser, and the view in its frame.

import { createServer } from "node:http";
import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { MODULES, importMap, load } from "./packages.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));
const ROOT = join(HERE, "../..");
const APPS = "io.modelcontextprotocol/ui";
const TYPES = { ".js": "text/javascript", ".mjs": "text/javascript", ".html": "text/html; charset=utf-8" };

/** Start our server in the sandbox region and open a conversation with it over stdio. */
export async function startServer(python) {
  const { Client } = await load("@modelcontextprotocol/client");
  const { StdioClientTransport } = await load("@modelcontextprotocol/client/stdio");
  const state = mkdtempSync(join(tmpdir(), "wan-mcp-browser-"));
  const transport = new StdioClientTransport({
    command: python,
    args: ["-m", "wan_mcp"],
    cwd: state,
    env: {
      PATH: process.env.PATH,
      PYTHONPATH: [join(ROOT, "server"), join(ROOT, "tools"), process.env.PYTHONPATH].filter(Boolean).join(":"),
      HOME: state,
      DASHSCOPE_REGION: "sandbox",
      WAN_MCP_STATE_DIR: join(state, "state"),
      WAN_MCP_OUTPUT_DIR: join(state, "pictures"),
    },
  });
  const capabilities = { extensions: { [APPS]: { mimeTypes: ["text/html;profile=mcp-app"] } } };
  const client = new Client({ name: "browser-test", version: "1" }, { capabilities });
  await client.connect(transport);
  return client;
}

/** Read the view as a host does: by the address that the tool names. */
export async function readView(client) {
  const { tools } = await client.listTools();
  const uri = tools.find((tool) => tool.name === "generate_image")._meta.ui.resourceUri;
  const [content] = (await client.readResource({ uri })).contents;
  return { html: content.text, ui: content._meta.ui, mimeType: content.mimeType };
}

/** The policy that a host makes of what a view declares. */
export function policy({ csp }) {
  const of = (key) => (csp[key] ?? []).join(" ");
  return [
    "default-src 'none'",
    `script-src 'self' 'unsafe-inline' ${of("resourceDomains")}`,
    `style-src 'self' 'unsafe-inline' ${of("resourceDomains")}`,
    `img-src 'self' data: ${of("resourceDomains")}`,
    `font-src 'self' ${of("resourceDomains")}`,
    `media-src 'self' data: ${of("resourceDomains")}`,
    `connect-src ${of("connectDomains") || "'none'"}`,
    `frame-src ${of("frameDomains") || "'none'"}`,
    `base-uri ${of("baseUriDomains") || "'self'"}`,
    "object-src 'none'",
  ].join("; ");
}

/** Serve the host page and the library on loopback, the view under its own policy. */
export async function serveSite(view) {
  const map = JSON.stringify(importMap(["@modelcontextprotocol/ext-apps/app-bridge"], "/modules"));
  const site = createServer((request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url, "http://site").pathname));
    try {
      if (path === "/view.html") {
        response.setHeader("content-security-policy", policy(view.ui));
        response.setHeader("content-type", TYPES[".html"]);
        response.end(view.html);
        return;
      }
      const file = path.startsWith("/modules/") ? join(MODULES, path.slice(9)) : join(HERE, path);
      let body = readFileSync(file);
      if (path === "/host.html") {
        body = String(body).replace("<!-- import map -->", `<script type="importmap">${map}</script>`);
      }
      response.setHeader("content-type", TYPES[extname(file)] ?? "application/octet-stream");
      response.end(body);
    } catch {
      response.statusCode = 404;
      response.end();
    }
  });
  await new Promise((resolve) => site.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${site.address().port}`, close: () => site.close() };
}

const CAPABILITIES = { serverTools: {}, serverResources: {}, updateModelContext: { text: {} } };

/**
 * Open a host page with the view in it. `passing(params, call)` may answer a call itself; `call` is the server's.
 * Gives the page, the frame of the view, and all that went wrong or left for the network.
 */
export async function openHost(browser, site, client, { view, width = 640, height = 900, theme = "light", passing, ...options }) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: options.colorScheme ?? "light", reducedMotion: options.reducedMotion ?? "reduce", forcedColors: options.forcedColors ?? "none" });
  context.setDefaultTimeout(10_000);
  const page = await context.newPage();
  const troubles = [];
  const requests = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) troubles.push(message.text());
  });
  page.on("pageerror", (error) => troubles.push(String(error)));
  page.on("request", (request) => requests.push(request.url()));
  const call = (params) => client.callTool(params, { timeout: 60_000 });
  await page.exposeFunction("passCall", (params) => (passing ? passing(params, call) : call(params)).catch((error) => ({ refused: error.message })));
  await page.exposeFunction("passRead", (params) => client.readResource(params).catch((error) => ({ refused: error.message })));
  await page.goto(`${site.url}/host.html`);
  await page.waitForFunction(() => window.openView);
  const hostContext = { theme, displayMode: "inline", availableDisplayModes: ["inline"], ...options.context };
  if (theme === null) delete hostContext.theme;
  await page.evaluate((given) => window.openView(given), {
    view: "/view.html",
    capabilities: options.capabilities ?? CAPABILITIES,
    context: hostContext,
    permissions: view.ui.permissions,
  });
  const frame = page.frames().find((each) => each.url().endsWith("/view.html"));
  return {
    page,
    frame,
    troubles,
    requests,
    call,
    seen: () => page.evaluate(() => window.seen),
    send: (method, params) => page.evaluate(([name, given]) => window.bridge[name](given), [method, params]),
    close: () => context.close(),
  };
}
