// An OAuth authorization server that others wrote (oidc-provider), on a loopback port, which approves of everything.
// Its arguments are a folder, where its keys are kept from one start to the next, a port, and the resources that it
// issues tokens for. Prints its address.
import { generateKeyPairSync } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { Provider } from "oidc-provider";

const [folder, port, ...resources] = process.argv.slice(2);
const address = `http://127.0.0.1:${port}`;
const scopes = ["wan:read", "wan:order", "wan:cancel"];
const person = "ann";

const provider = new Provider(address, {
  jwks: { keys: [findKey(join(folder, "issuer-key.json"))] },
  cookies: { keys: ["not a secret"] },
  scopes: ["openid", "offline_access", ...scopes],
  clientDefaults: { id_token_signed_response_alg: "ES256" },
  clients: ["known", "late"].map((client_id) => ({
    client_id,
    redirect_uris: ["http://127.0.0.1:1/callback"],
    grant_types: ["authorization_code", "refresh_token"],
    application_type: "native",
    token_endpoint_auth_method: "none",
  })),
  features: {
    devInteractions: { enabled: false },
    registration: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => undefined,
      useGrantedResource: () => true,
      getResourceServerInfo(_context, resource) {
        if (!resources.includes(resource)) throw new Error(`no such resource: ${resource}`);
        return {
          scope: scopes.join(" "),
          audience: resource,
          accessTokenTTL: 600,
          accessTokenFormat: "jwt",
          jwt: { sign: { alg: "ES256" } },
        };
      },
    },
  },
  formats: {
    customizers: {
      // What the client `late` gets for its code has expired by then; what it gets for a refresh token has not.
      jwt(context, _token, jwt) {
        const { client, params } = context.oidc;
        if (client.clientId === "late" && params.grant_type === "authorization_code") {
          jwt.payload.iat -= 3600;
          jwt.payload.exp -= 3600;
        }
      },
    },
  },
  findAccount: (_context, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  interactions: { url: (_context, interaction) => `/approve/${interaction.uid}` },
});

const answer = provider.callback();
createServer(async (request, response) => {
  if (!request.url.startsWith("/approve/")) return answer(request, response);
  try {
    await provider.interactionFinished(request, response, await approve(request, response));
  } catch (error) {
    response.writeHead(500).end(String(error));
  }
}).listen(Number(port), "127.0.0.1", () => console.log(`The issuer is at ${address} now.`));

async function approve(request, response) {
  const { prompt, params, session, grantId } = await provider.interactionDetails(request, response);
  if (prompt.name === "login") return { login: { accountId: person } };
  const grant = grantId
    ? await provider.Grant.find(grantId)
    : new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  grant.addOIDCScope((prompt.details.missingOIDCScope ?? []).join(" "));
  for (const [resource, missing] of Object.entries(prompt.details.missingResourceScopes ?? {})) {
    grant.addResourceScope(resource, missing.join(" "));
  }
  return { consent: { grantId: await grant.save() } };
}

function findKey(file) {
  if (!existsSync(file)) {
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const key = { ...privateKey.export({ format: "jwk" }), kid: "first", alg: "ES256", use: "sig" };
    writeFileSync(file, JSON.stringify(key));
  }
  return JSON.parse(readFileSync(file, "utf8"));
}
