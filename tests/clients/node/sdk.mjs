// The client of @modelcontextprotocol/sdk (1.x), or of @modelcontextprotocol/client (2.x), as a program.
//
// node sdk.mjs 1|2 SERVER_URL CALLBACK_URL CLIENT_METADATA_JSON
// It says `AUTHORIZE url` and reads the URL of the callback from standard input. Then it lists the tools and calls
// `whoami`; at each further line of input it calls again. What comes back is one line of JSON.
import readline from "node:readline";

const [line, serverUrl, callbackUrl, metadata] = process.argv.slice(2);
const { Client, StreamableHTTPClientTransport, UnauthorizedError } = await library(line);
const input = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const kept = {};

const provider = {
  redirectUrl: callbackUrl,
  clientMetadata: JSON.parse(metadata),
  state: () => "a-state-of-the-client",
  clientInformation: () => kept.client,
  saveClientInformation: (client) => void (kept.client = client),
  tokens: () => kept.tokens,
  saveTokens: (tokens) => void (kept.tokens = tokens),
  codeVerifier: () => kept.verifier,
  saveCodeVerifier: (verifier) => void (kept.verifier = verifier),
  redirectToAuthorization: (url) => console.log(`AUTHORIZE ${url}`),
};

let client = new Client({ name: "sdk", version: "1" });
let transport = new StreamableHTTPClientTransport(new URL(serverUrl), { authProvider: provider });
try {
  await client.connect(transport);
  fail("it connected before anybody approved");
} catch (error) {
  if (!(error instanceof UnauthorizedError)) fail(error);
  const { value } = await input.next();
  const returned = new URL(value).searchParams;
  if (returned.get("state") !== "a-state-of-the-client") fail("the state came back changed");
  // 2.x wants all parameters, since it compares `iss` (RFC 9207); 1.x wants the code.
  await transport.finishAuth(line === "2" ? returned : returned.get("code"));
}
transport = new StreamableHTTPClientTransport(new URL(serverUrl), { authProvider: provider });
client = new Client({ name: "sdk", version: "1" });
await client.connect(transport);
const { tools } = await client.listTools();
let called = await client.callTool({ name: "whoami", arguments: {} });
say({ tools: tools.map((tool) => tool.name), whoami: called.content[0].text, tokens: kept.tokens, client: kept.client });
for await (const _ of { [Symbol.asyncIterator]: () => input }) {
  called = await client.callTool({ name: "whoami", arguments: {} });
  say({ whoami: called.content[0].text, tokens: kept.tokens });
}
await client.close();
process.exit(0);

async function library(line) {
  if (line === "2") return import("@modelcontextprotocol/client");
  const [client, transport, auth] = await Promise.all([
    import("@modelcontextprotocol/sdk/client/index.js"),
    import("@modelcontextprotocol/sdk/client/streamableHttp.js"),
    import("@modelcontextprotocol/sdk/client/auth.js"),
  ]);
  return { ...client, ...transport, ...auth };
}

function say(found) {
  console.log(`RESULT ${JSON.stringify(found)}`);
}

function fail(reason) {
  console.error("FAILED", reason);
  process.exit(1);
}
