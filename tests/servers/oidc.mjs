// A real OAuth 2 server for tests/oauth/test_end_to_end.py: npm's oidc-provider, and a few addresses only a test needs.
//
//   node oidc.mjs ROOT ACCESS_TTL      ROOT/node_modules holds oidc-provider; prints its port
//
//   /__approve?user_code=&sub=   somebody enters a device's code and says yes        /__deny?user_code=   … says no
//   /__mode?m=down|deny|ok       the token endpoint is down; the browser's user declines; all is as usual
//   /__revoke?sub=               whatever that user has allowed is allowed no more
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [root, ttl] = process.argv.slice(2);
const require = createRequire(`${root}/package.json`);
const { default: Provider } = await import(pathToFileURL(require.resolve('oidc-provider')));

let mode = 'ok';
const grants = new Map();

async function grantFor(sub, clientId) {
  const grant = new provider.Grant({ accountId: sub, clientId });
  grant.addOIDCScope('openid offline_access mail');
  const id = await grant.save();
  grants.set(sub, [...(grants.get(sub) ?? []), grant]);
  return id;
}

const client = {
  client_id: 'fetchd', application_type: 'native', token_endpoint_auth_method: 'none',
  redirect_uris: ['http://127.0.0.1/'],
  grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
};
const provider = new Provider('http://127.0.0.1', {
  clients: [
    client,
    { ...client, client_id: 'secretive', client_secret: 'client+secret/of-the-test 100%=', token_endpoint_auth_method: 'client_secret_basic' },
    { client_id: 'dovecot', client_secret: 'dovecot-secret', redirect_uris: [], response_types: [], grant_types: [] },
  ],
  scopes: ['openid', 'offline_access', 'mail'],
  features: {
    deviceFlow: { enabled: true }, introspection: { enabled: true, allowedPolicy: () => true },
    revocation: { enabled: true }, devInteractions: { enabled: false },
  },
  findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
  issueRefreshToken: async () => true,
  rotateRefreshToken: true,
  ttl: { AccessToken: Number(ttl), RefreshToken: 3600, DeviceCode: 60, Grant: 3600, Session: 60, Interaction: 60, AuthorizationCode: 30, IdToken: 60 },
  cookies: { keys: ['test'] },
  pkce: { required: () => true },
});

async function enter(query, decide) {
  const code = await provider.DeviceCode.findByUserCode(query.user_code.replaceAll('-', ''));
  await decide(code);
  await code.save();
  return 'ok';
}

const addresses = {
  '/__approve': ({ query }) => enter(query, async (code) => {
    Object.assign(code, {
      accountId: query.sub, authTime: Math.floor(Date.now() / 1000), scope: 'openid offline_access mail',
      grantId: await grantFor(query.sub, code.clientId),
    });
  }),
  '/__deny': ({ query }) => enter(query, async (code) => {
    Object.assign(code, { error: 'access_denied', errorDescription: 'the user declined' });
  }),
  '/__mode': ({ query }) => { mode = query.m; return mode; },
  '/__revoke': async ({ query }) => {
    for (const grant of grants.get(query.sub) ?? []) {
      await provider.AccessToken.revokeByGrantId(grant.jti);
      await provider.RefreshToken.revokeByGrantId(grant.jti);
      await grant.destroy();
    }
    return 'revoked';
  },
};

async function interact(ctx) {
  const { prompt, params } = await provider.interactionDetails(ctx.req, ctx.res);
  const sub = params.login_hint ?? 'alice';
  const yes = prompt.name === 'login'
    ? { login: { accountId: sub } }
    : { consent: { grantId: await grantFor(sub, params.client_id) } };
  const result = mode === 'deny' ? { error: 'access_denied', error_description: 'the user declined' } : yes;
  ctx.respond = false;
  await provider.interactionFinished(ctx.req, ctx.res, result, { mergeWithLastSubmission: true });
}

provider.use(async (ctx, next) => {
  if (ctx.path in addresses) ctx.body = await addresses[ctx.path](ctx);
  else if (ctx.path.startsWith('/interaction/')) await interact(ctx);
  else if (mode === 'down' && ctx.path.startsWith('/token')) ctx.status = 503;
  else await next();
});

const server = provider.listen(0, '127.0.0.1', () => console.log(server.address().port));
process.stdin.resume().on('end', () => process.exit());  // whoever started it has gone
