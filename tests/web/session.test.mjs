// Renewing a login session: once, by one tab, and what a page's call makes of it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { call } from '../../web/http.js';
import { checkSession } from '../../web/salon-session.js';

/** A server whose access has run out until it is renewed; it counts what it was asked. */
function server({ access = false, refresh = 204 } = {}) {
  const asked = [];
  const body = (status, value) => new Response(status === 204 ? null : JSON.stringify(value), { status });
  return {
    asked,
    count: (line) => asked.filter((one) => one === line).length,
    fetch: async (path, { method }) => {
      asked.push(`${method} ${path}`);
      await new Promise((done) => setTimeout(done, 1));
      if (path === '/api/account/refresh') {
        access ||= refresh === 204;
        return body(refresh, {});
      }
      if (path === '/api/account/password') return body(401, { code: access ? 'invalid_credentials' : 'unauthenticated' });
      if (path === '/api/account/login') return body(401, { code: 'unauthenticated' });
      return access ? body(200, { user: { id: 7 } }) : body(401, { code: 'unauthenticated' });
    },
  };
}

/** Web Locks for one name, as the tabs of one browser share them. */
function webLocks() {
  let last = null;
  return {
    async request(name, { ifAvailable, signal }, run) {
      if (ifAvailable && last) return run(null);
      assert.ok(ifAvailable || signal, 'no wait without an end');
      const before = last;
      const mine = (async () => {
        await before;
        return run({ name });
      })();
      const settled = mine.catch(() => {});
      last = settled;
      try {
        return await mine;
      } finally {
        if (last === settled) last = null;
      }
    },
  };
}

async function withFetch(fetch, run) {
  const real = globalThis.fetch;
  globalThis.fetch = fetch;
  try {
    return await run();
  } finally {
    globalThis.fetch = real;
  }
}

test('while the access holds nothing is renewed', async () => {
  const { fetch, asked } = server({ access: true });
  assert.deepEqual(await checkSession({ fetch, locks: webLocks() }), { state: 'ok', user: { id: 7 } });
  assert.deepEqual(asked, ['GET /api/account']);
});

test('of tabs that find it out at once, one renews', async () => {
  const { fetch, count } = server();
  const locks = webLocks();
  // Each has the module for itself, as tabs have: what they share are the locks.
  const tabs = await Promise.all([1, 2, 3, 4].map((tab) => import(`../../web/salon-session.js?tab=${tab}`)));
  const found = await Promise.all(tabs.map((tab) => tab.checkSession({ fetch, locks })));
  assert.deepEqual(new Set(found.map((session) => session.state)), new Set(['ok']));
  assert.equal(count('POST /api/account/refresh'), 1);
});

test('a refused renewal is certain, and each tab finds it out', async () => {
  const { fetch } = server({ refresh: 401 });
  const locks = webLocks();
  const found = await Promise.all([1, 2].map(() => checkSession({ fetch, locks })));
  assert.deepEqual(found, [{ state: 'logged_out' }, { state: 'logged_out' }]);
});

test('a server that cannot renew now logs nobody out', async () => {
  const { fetch } = server({ refresh: 503 });
  assert.equal((await checkSession({ fetch, locks: webLocks() })).state, 'busy');
});

test('without locks it is renewed all the same', async () => {
  const { fetch, count } = server();
  assert.equal((await checkSession({ fetch, locks: undefined })).state, 'ok');
  assert.equal(count('POST /api/account/refresh'), 1);
});

test('without locks the calls of one page share one renewal', async () => {
  const { fetch, count } = server();
  const found = await Promise.all([1, 2, 3].map(() => checkSession({ fetch, locks: null })));
  assert.deepEqual(found.map(({ state }) => state), ['ok', 'ok', 'ok']);
  assert.equal(count('POST /api/account/refresh'), 1);
});

test('with a token its giver is asked for another one, and nothing is renewed', async () => {
  const asked = [];
  const fetch = async (path, { headers }) => {
    asked.push(headers.Authorization);
    const good = headers.Authorization === 'Bearer new';
    return new Response(JSON.stringify({ user: { id: 7 } }), { status: good ? 200 : 401 });
  };
  const session = await checkSession({ fetch, token: async (refused) => (refused ? 'new' : 'old') });
  assert.equal(session.state, 'ok');
  assert.deepEqual(asked, ['Bearer old', 'Bearer new']);
  assert.deepEqual(await checkSession({ fetch, token: 'old' }), { state: 'logged_out' });
});

test('a call is made again after a renewal, logging out too', async () => {
  for (const path of ['/api/rooms', '/api/account/logout']) {
    const { fetch, count } = server();
    await withFetch(fetch, () => call('POST', path, {}));
    assert.equal(count(`POST ${path}`), 2);
    assert.equal(count('POST /api/account/refresh'), 1);
  }
});

test('a call that stays refused is made twice at most', async () => {
  const { fetch, count } = server({ refresh: 401 });
  await assert.rejects(withFetch(fetch, () => call('GET', '/api/rooms')), { code: 'unauthenticated' });
  assert.equal(count('GET /api/rooms'), 1);
});

test('a wrong password is tried once', async () => {
  const { fetch, count } = server({ access: true });
  await assert.rejects(withFetch(fetch, () => call('POST', '/api/account/password', {})), { code: 'invalid_credentials' });
  assert.equal(count('POST /api/account/password'), 1);
  const doors = server();
  await assert.rejects(withFetch(doors.fetch, () => call('POST', '/api/account/login', {})), { code: 'unauthenticated' });
  assert.deepEqual(doors.asked, ['POST /api/account/login']);
});
