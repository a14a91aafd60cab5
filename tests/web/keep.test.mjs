// Unsent messages over a reload, in storage and locks as the pages of one browser share them.

import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import { test } from 'node:test';
import { Keep, STORED_FOR_MS, STORED_MAX } from '../../web/salon-keep.js';
import { harness, memoryStorage, message, webLocks } from './harness.mjs';

const ALICE = { id: 7, username: 'alice', role: 'user' };

/** Pages of one browser. */
function browser({ locks = webLocks() } = {}) {
  const storage = memoryStorage();
  return { storage, page: () => harness({ options: { storage, locks } }) };
}

/** What a page's end does, however it ends: its locks go. Here they hang on the Keep, which nobody closes but us. */
async function settle() {
  for (let turn = 0; turn < 20; turn += 1) await setImmediate();
}

function keepOf(storage, locks, now = () => 1_000) {
  return new Keep({ storage, locks, scope: 'x', now });
}

const unsent = (nonce, at = 1_000) => ({ room: 'general', nonce, content: `m-${nonce}`, at });
const nonces = (test) => test.socket.sent.filter(({ type }) => type === 'send').map(({ nonce }) => nonce);

test('what a page leaves is taken over by the next one, in order', async () => {
  const { storage } = browser();
  const locks = webLocks();
  const first = keepOf(storage, locks);
  first.open(() => assert.fail('there was nothing'));
  for (const nonce of ['c', 'a', 'b']) first.put(unsent(nonce));
  first.remove('a');
  first.close();
  await settle();
  const taken = [];
  keepOf(storage, locks).open((left) => taken.push(...left));
  await settle();
  assert.deepEqual(taken.map(({ nonce, content }) => [nonce, content]), [['c', 'm-c'], ['b', 'm-b']]);
});

test('what a living page has stays its own; when it goes, one of the others takes it', async () => {
  const { storage } = browser();
  const locks = webLocks();
  const [first, ...others] = [1, 2, 3].map(() => keepOf(storage, locks));
  first.open(() => {});
  first.put(unsent('n'));
  await settle();
  const taken = [[], []];
  others.forEach((other, at) => other.open((left) => taken[at].push(...left)));
  await settle();
  assert.deepEqual(taken, [[], []]);
  first.close();
  await settle();
  assert.equal(taken.flat().length, 1, 'one page, not both');
});

test('without locks everybody takes everything: the nonce keeps it single', async () => {
  const { storage } = browser();
  keepOf(storage, undefined).put(unsent('n'));
  const taken = [];
  keepOf(storage, undefined).open((left) => taken.push(...left));
  await settle();
  assert.equal(taken[0].nonce, 'n');
});

test('what is stored has bounds: messages of a page, and age; what is no entry of ours is left out', async () => {
  const { storage } = browser();
  const locks = webLocks();
  const first = keepOf(storage, locks);
  for (let n = 0; n < STORED_MAX + 5; n += 1) first.put(unsent(`n${n}`));
  assert.equal(storage.length, STORED_MAX);
  first.close();
  storage.setItem('salon-outbox x broken', '{');
  storage.setItem('somebody else', '{}');
  const taken = [];
  keepOf(storage, locks, () => 1_000 + STORED_FOR_MS).open((left) => taken.push(...left));
  await settle();
  assert.deepEqual([taken.length, storage.length], [0, 1]);
});

test('a storage that takes nothing costs nothing but the reload', () => {
  const full = { ...memoryStorage(), setItem: () => { throw new DOMException('full', 'QuotaExceededError'); } };
  keepOf(full, webLocks()).put(unsent('n'));
  keepOf(null, undefined).put(unsent('n'));
});

test('a reload in mid-send: shown again before the connection stands, sent with its nonce, settled once', async () => {
  const { page, storage } = browser({ locks: null });
  const before = page();
  before.salon.connect({ user: ALICE });
  before.socket.welcome();
  const { nonce } = before.salon.send('general', 'hi', { reply_to: 3 });
  const after = page();
  after.salon.connect({ user: ALICE });
  await settle();
  const [{ room, content, reply_to, done }] = after.of('restored');
  assert.deepEqual({ room, content, reply_to }, { room: 'general', content: 'hi', reply_to: 3 });
  assert.deepEqual(after.salon.pending('general').map((one) => one.nonce), [nonce]);
  after.socket.welcome();
  assert.deepEqual(nonces(after), [nonce]);
  assert.deepEqual(after.socket.last('send').reply_to, 3);
  after.salon.join('general');
  after.socket.joined('general', 4, { messages: [message(4, { author_id: 7, nonce })] });
  assert.equal((await done).id, 4, 'the page before had come through');
  assert.equal(storage.length, 0);
  assert.equal(after.salon.unsent, 0);
});

test('without being told who is logged in, the welcome says it', async () => {
  const { page } = browser({ locks: null });
  const before = page();
  before.salon.connect();
  const { nonce } = before.salon.send('general', 'written before the welcome');
  before.socket.welcome();
  const after = page();
  after.salon.connect();
  after.socket.welcome();
  await settle();
  assert.deepEqual(nonces(after), [nonce]);
});

test('a message that is answered, refused or given up is not stored any longer', async () => {
  const { page, storage } = browser();
  const one = page();
  one.salon.connect({ user: ALICE });
  one.socket.welcome();
  const [acked, refused, given] = ['a', 'b', 'c'].map((content) => one.salon.send('general', content));
  assert.equal(storage.length, 3);
  one.socket.say({ type: 'ack', ref: acked.nonce, room: 'general', nonce: acked.nonce, id: 1, seq: 1 });
  one.socket.say({ type: 'error', ref: refused.nonce, room: 'general', code: 'forbidden', detail: 'muted' });
  assert.equal(one.salon.discard(given.nonce), false, 'it was on its way');
  await assert.rejects(given.done, { code: 'discarded' });
  assert.equal(storage.length, 0);
  one.salon.edit('general', 1, 'an edit is not kept: it might undo a later one');
  assert.equal(storage.length, 0);
});

test('written offline and given up before it went out: certainly not sent', async () => {
  const { page } = browser();
  const one = page();
  one.salon.connect({ user: ALICE });
  const { nonce } = one.salon.send('general', 'hm');
  assert.equal(one.salon.discard(nonce), true);
  one.socket.welcome();
  assert.deepEqual(nonces(one), []);
});

test("another user's messages never go out in one's own name, and wait for their writer", async () => {
  const { page, storage } = browser();
  const one = page();
  one.salon.connect({ user: ALICE });
  const { done, nonce } = one.salon.send('general', 'by alice');
  one.socket.welcome({ user: { id: 8, username: 'bob' } });
  await assert.rejects(done, { code: 'closed' });
  assert.deepEqual(nonces(one), []);
  assert.equal(storage.length, 1);
  one.salon.close();
  assert.equal(storage.length, 1);
  await settle();
  const later = page();
  later.salon.connect();
  later.socket.welcome();
  await later.clock.pass(0);
  await settle();
  assert.deepEqual(nonces(later), [nonce]);
});

test('who closes on purpose gives up what was not sent', async () => {
  const { page, storage } = browser();
  const one = page();
  one.salon.connect({ user: ALICE });
  const { done } = one.salon.send('general', 'never mind');
  one.salon.close();
  await assert.rejects(done, { code: 'closed' });
  assert.equal(storage.length, 0);
});

test('who closes for another user keeps what the first one wrote', async () => {
  const { page, storage } = browser({ locks: null });
  const one = page();
  one.salon.connect({ user: ALICE });
  const { done, nonce } = one.salon.send('general', 'later');
  one.salon.close({ keep: true });
  await assert.rejects(done, { code: 'closed' });
  assert.equal(storage.length, 1);
  one.salon.connect({ user: ALICE });
  one.socket.welcome();
  assert.deepEqual(nonces(one), [nonce]);
});

test('five messages written offline survive a reload and go out once, in order', async () => {
  const { page } = browser({ locks: null });
  const before = page();
  before.salon.connect({ user: ALICE });
  const written = [1, 2, 3, 4, 5].map((n) => before.salon.send('general', `m${n}`).nonce);
  const after = page();
  after.salon.connect({ user: ALICE });
  after.socket.welcome();
  assert.deepEqual(nonces(after), written);
});
