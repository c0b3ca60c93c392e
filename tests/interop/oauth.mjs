// Signs in with the TypeScript SDK, calls tools, and prints as lines of JSON what was asked of whom and answered.
// Its argument is a JSON file: {url, era, store, client_id?, resource?, calls: [{name, arguments}]}. `store` is a file for
// what the client remembers from one run to the next. `client_id` is one that the issuer knows: without one the client
// registers itself. `resource` takes the place of the server's own address.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { Client, StreamableHTTPClientTransport, UnauthorizedError } from "@modelcontextprotocol/client";

const plan = JSON.parse(readFileSync(process.argv[2], "utf8"));
const kept = existsSync(plan.store) ? JSON.parse(readFileSync(plan.store, "utf8")) : {};
const modes = { legacy: "legacy", modern: { pin: "2026-07-28" } };
const cookies = new Map();
const redirectUrl = "http://127.0.0.1:1/callback";
let waiting;

const provider = {
  redirectUrl,
  clientMetadata: {
    client_name: "interop",
    redirect_uris: [redirectUrl],
    grant_types: ["authorization_code", "refresh_token"],
    token_endpoint_auth_method: "none",
  },
  state: () => "the state",
  clientInformation: (asking) => kept.client ?? (plan.client_id && { client_id: plan.client_id, issuer: asking?.issuer }),
  saveClientInformation: (client) => keep({ client }),
  tokens: () => kept.tokens,
  saveTokens: (tokens) => keep({ tokens }),
  codeVerifier: () => kept.verifier,
  saveCodeVerifier: (verifier) => keep({ verifier }),
  discoveryState: () => kept.discovery,
  saveDiscoveryState: (discovery) => keep({ discovery }),
  invalidateCredentials: (what) => keep(what === "client" ? { client: undefined } : { tokens: undefined }),
  redirectToAuthorization: (address) => {
    waiting = address;
  },
  ...(plan.resource && { validateResourceURL: async () => new URL(plan.resource) }),
};

let client, transport;
try {
  await signedIn(async () => {
    client = new Client({ name: "interop", version: "1" }, { versionNegotiation: { mode: modes[plan.era] } });
    transport = new StreamableHTTPClientTransport(new URL(plan.url), { authProvider: provider, fetch: askAndTell });
    await client.connect(transport);
  });
  const made = {};
  for (const { name, arguments: given } of plan.calls) {
    const filled = given.task_id === "$" ? { ...given, task_id: made.task_id } : given;
    const answer = await signedIn(() => client.callTool({ name, arguments: filled }));
    Object.assign(made, answer.structuredContent);
    print({ called: name, isError: answer.isError ?? false, facts: answer.structuredContent, scope: kept.tokens.scope });
  }
  await client.close();
} catch (error) {
  print({ thrown: { name: error.name, code: error.code, message: error.message, status: error.data?.status } });
  process.exit(0);
}

async function signedIn(act) {
  for (let times = 0; ; times++) {
    try {
      return await act();
    } catch (error) {
      if (!(error instanceof UnauthorizedError) || waiting === undefined || times === 3) throw error;
      await transport.finishAuth(await browse(waiting));
    }
  }
}

// What a browser does whose user approves of everything: it follows redirects and keeps cookies.
async function browse(address) {
  const fields = Object.fromEntries(address.searchParams);
  print({ authorize: fields });
  waiting = undefined;
  while (!String(address).startsWith(redirectUrl)) {
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    const answer = await fetch(address, { redirect: "manual", headers: { cookie } });
    for (const set of answer.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(set);
      cookies.set(name, value);
    }
    const next = answer.headers.get("location");
    if (!next) throw new Error(`the issuer says ${answer.status}: ${(await answer.text()).slice(0, 500)}`);
    address = new URL(next, address);
  }
  if (address.searchParams.get("state") !== fields.state) throw new Error("the state has changed");
  return address.searchParams;
}

async function askAndTell(address, init) {
  const { origin, pathname } = new URL(address);
  const method = init?.method ?? "GET";
  const sent = init?.body instanceof URLSearchParams ? Object.fromEntries(init.body) : {};
  try {
    const answer = await fetch(address, init);
    const challenge = answer.headers.get("www-authenticate") ?? undefined;
    const { grant_type, resource, scope } = sent;
    print({ request: `${method} ${origin}${pathname}`, status: answer.status, challenge, grant_type, resource, scope });
    return answer;
  } catch (error) {
    print({ request: `${method} ${origin}${pathname}`, status: null });
    throw error;
  }
}

function keep(facts) {
  Object.assign(kept, facts);
  writeFileSync(plan.store, JSON.stringify(kept));
}

function print(line) {
  console.log(JSON.stringify(line));
}
