// Holds the conversation of conversation.json with one of the TypeScript SDKs and prints every answer as a line of JSON.
// Its argument is a JSON file: {sdk: "v2" | "v1", era: "modern" | "legacy", url | command, args, env, conversation}.
import { readFileSync } from "node:fs";
import { performance } from "node:perf_hooks";

const plan = JSON.parse(readFileSync(process.argv[2], "utf8"));
const steps = JSON.parse(readFileSync(plan.conversation, "utf8"));
const answers = {};
const strays = [];
let spoken;
const { client, call } = await connect();

print({
  step: "hello",
  protocol: client.getNegotiatedProtocolVersion?.() ?? spoken,
  server: client.getServerVersion(),
  instructions: client.getInstructions(),
});
for (const step of steps) {
  print({ step: step.step, ...(step.ask ? await ask(step.ask) : await use(step)) });
}
// What the server might still say after the last answer.
await new Promise((resolve) => setTimeout(resolve, 500));
print({ step: "goodbye", strays });
await client.close();

async function connect() {
  const info = { name: "interop", version: "1" };
  const server = { command: plan.command, args: plan.args, env: plan.env, stderr: "inherit" };
  const modes = { legacy: "legacy", modern: { pin: "2026-07-28" } };
  let client, transport, call;
  if (plan.sdk === "v2") {
    const http = await import("@modelcontextprotocol/client");
    const stdio = await import("@modelcontextprotocol/client/stdio");
    client = new http.Client(info, { versionNegotiation: { mode: modes[plan.era] } });
    transport = plan.url
      ? new http.StreamableHTTPClientTransport(new URL(plan.url))
      : new stdio.StdioClientTransport(server);
    call = (request, options) => client.callTool(request, options);
  } else {
    const { Client } = await import("@modelcontextprotocol/sdk/client/index.js");
    const http = await import("@modelcontextprotocol/sdk/client/streamableHttp.js");
    const stdio = await import("@modelcontextprotocol/sdk/client/stdio.js");
    client = new Client(info);
    transport = plan.url
      ? new http.StreamableHTTPClientTransport(new URL(plan.url))
      : new stdio.StdioClientTransport(server);
    call = (request, options) => client.callTool(request, undefined, options);
  }
  // Among others, progress for a call that has its answer.
  client.onerror = (error) => strays.push(String(error.message));
  // The older SDK tells the version to the transport alone.
  const tell = transport.setProtocolVersion?.bind(transport);
  transport.setProtocolVersion = (version) => {
    spoken = version;
    tell?.(version);
  };
  await client.connect(transport);
  return { client, call };
}

async function ask(what) {
  const methods = { tools: "listTools", resources: "listResources", prompts: "listPrompts" };
  return { items: (await client[methods[what]]())[what] };
}

async function use(step) {
  const reports = [];
  const started = performance.now();
  const elapsed = () => (performance.now() - started) / 1000;
  const options = {};
  if (step.progress) {
    options.onprogress = ({ progress, total, message }) => reports.push([elapsed(), progress, total ?? null, message]);
  }
  if (step.patience) {
    Object.assign(options, { timeout: step.patience * 1000, resetTimeoutOnProgress: true, maxTotalTimeout: 60_000 });
  }
  try {
    const answer = await call({ name: step.call, arguments: fill(step.arguments) }, options);
    const took = elapsed();
    answers[step.step] = answer.structuredContent;
    const { content, structuredContent, isError } = answer;
    return { content, structuredContent, isError, ...(step.progress && { reports, took }) };
  } catch (error) {
    return { thrown: { code: error.code, message: error.message } };
  }
}

function fill(given) {
  const put = (value) => {
    if (typeof value !== "string" || !value.startsWith("$")) return value;
    const [step, ...path] = value.slice(1).split(".");
    return path.reduce((found, key) => found?.[key], answers[step]) ?? `no ${value}`;
  };
  return Object.fromEntries(Object.entries(given).map(([name, value]) => [name, put(value)]));
}

function print(line) {
  console.log(JSON.stringify(line));
}
