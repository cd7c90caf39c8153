// node-oidc-provider with everything in memory (plain maps; its own memory adapter keeps a thousand rows only).
//
//     node oidc_server.mjs PORT FOLDER      FOLDER is where npm has installed oidc-provider
//
// The bearer check is what its documentation has for a resource server in the same process: AccessToken.find.

import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [port, folder] = process.argv.slice(2);
const entry = pathToFileURL(join(folder, 'node_modules/oidc-provider/lib/index.js'));
const { Provider } = await import(entry.href);

const REDIRECT_URI = 'http://localhost:8123/callback';
const SECRET = 'bench-secret-that-is-long-enough-for-everybody';

class InMemory {
  static rows = new Map();
  static grants = new Map();

  constructor(model) {
    this.model = model;
  }

  key(id) {
    return `${this.model}:${id}`;
  }

  async upsert(id, payload) {
    const key = this.key(id);
    InMemory.rows.set(key, payload);
    if (payload.grantId !== undefined) {
      const members = InMemory.grants.get(payload.grantId);
      if (members) members.push(key);
      else InMemory.grants.set(payload.grantId, [key]);
    }
  }

  async find(id) {
    return InMemory.rows.get(this.key(id));
  }

  async consume(id) {
    InMemory.rows.get(this.key(id)).consumed = Math.floor(Date.now() / 1000);
  }

  async destroy(id) {
    InMemory.rows.delete(this.key(id));
  }

  async revokeByGrantId(grantId) {
    for (const key of InMemory.grants.get(grantId) ?? []) InMemory.rows.delete(key);
    InMemory.grants.delete(grantId);
  }
}

const provider = new Provider('http://127.0.0.1:1933', {
  adapter: InMemory,
  clients: [
    {
      client_id: 'bench',
      token_endpoint_auth_method: 'none',
      application_type: 'native',
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      redirect_uris: [REDIRECT_URI],
      scope: 'mcp',
    },
    {
      client_id: 'asker',
      client_secret: SECRET,
      grant_types: [],
      response_types: [],
      redirect_uris: [],
    },
  ],
  scopes: ['mcp'],
  features: {
    devInteractions: { enabled: false },
    introspection: { enabled: true },
    registration: { enabled: true },
    revocation: { enabled: true },
  },
  findAccount: async (ctx, sub) => ({ accountId: sub, claims: async () => ({ sub }) }),
  issueRefreshToken: async () => true,
  rotateRefreshToken: () => true,
  cookies: { keys: [randomUUID()] },
  ttl: { AccessToken: 36000, AuthorizationCode: 600, RefreshToken: 2592000, Grant: 2592000 },
});

async function grant(client) {
  const made = new provider.Grant({ accountId: 'alice', clientId: client.clientId });
  made.addOIDCScope('mcp');
  return made.save();
}

async function prepare(wish) {
  const client = await provider.Client.find('bench');
  const of = async () => ({
    accountId: 'alice', client, grantId: await grant(client), scope: 'mcp', gty: 'authorization_code',
  });
  const made = [];
  for (let i = 0; i < (wish.codes ?? 0); i += 1) {
    const code = new provider.AuthorizationCode({
      ...(await of()), redirectUri: REDIRECT_URI, codeChallenge: wish.challenge, codeChallengeMethod: 'S256',
    });
    made.push([await code.save(), client.clientId, REDIRECT_URI]);
  }
  for (let i = 0; i < (wish.refresh ?? 0); i += 1) {
    made.push([await new provider.RefreshToken({ ...(await of()), rotations: 0 }).save(), client.clientId]);
  }
  for (let i = 0; i < (wish.tokens ?? 0); i += 1) {
    made.push([await new provider.AccessToken(await of()).save()]);
  }
  if (wish.asker) made.push(['asker', SECRET]);
  return made;
}

function answer(response, status, body) {
  const text = JSON.stringify(body);
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
  response.end(text);
}

async function mcp(request, response) {
  const found = await provider.AccessToken.find((request.headers.authorization ?? '').replace(/^Bearer /i, ''));
  if (found === undefined || found.isExpired || !found.scopes.has('mcp')) answer(response, 401, { error: 'invalid_token' });
  else answer(response, 200, { jsonrpc: '2.0', id: 1, result: {} });
}

const others = provider.callback();

createServer((request, response) => {
  if (request.url === '/mcp') {
    mcp(request, response);
  } else if (request.url === '/ready') {
    answer(response, 200, {});
  } else if (request.url === '/prepare') {
    let body = '';
    request.on('data', (part) => { body += part; });
    request.on('end', async () => answer(response, 200, await prepare(JSON.parse(body))));
  } else {
    others(request, response);
  }
}).listen({ port: Number(port), host: '127.0.0.1', keepAliveTimeout: 75000 });
