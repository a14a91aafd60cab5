// The rules of the connection, each for itself.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  ACK_WAIT_MS, IN_FLIGHT_MAX, OUTBOX_MAX, Outbox, TRIES_MAX,
  afterClose, backoffMs, checkOrder, mayRetry, mergeChange, newNonce,
} from '../../web/salon-core.js';

const refs = (entries) => entries.map((entry) => entry.ref);

function outboxOf(...names) {
  const outbox = new Outbox();
  for (const name of names) outbox.add(name, name.split('/')[0], { content: name });
  return outbox;
}

test('backoff has full jitter below a ceiling that doubles from 0.5 s to 30 s', () => {
  const ceilings = [0, 1, 2, 3, 4, 5, 6, 7, 1000].map((attempt) => backoffMs(attempt, () => 1));
  assert.deepEqual(ceilings, [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]);
  assert.equal(backoffMs(5, () => 0), 0);
  assert.equal(backoffMs(1, () => 0.25), 250);
});

test('only the close codes 4500 to 4999 are final', () => {
  for (const code of [1000, 1001, 1006, 1009, 1012, 4000, 4008, 4010, 4029, 4499]) assert.equal(afterClose(code), 'return');
  for (const code of [4500, 4501, 4503, 4999]) assert.equal(afterClose(code), 'stop');
});

test('only what means "not now" is sent again', () => {
  assert.deepEqual(['unavailable', 'rate_limited', 'conflict', 'forbidden', 'internal'].map(mayRetry), [true, true, false, false, false]);
});

test('a change is merged only if its seq is higher', () => {
  const held = new Map();
  assert.ok(mergeChange(held, { id: 5, seq: 5, content: 'a' }));
  assert.ok(mergeChange(held, { id: 5, seq: 9, content: 'b' }));
  assert.ok(!mergeChange(held, { id: 5, seq: 9, content: 'again' }));
  assert.ok(!mergeChange(held, { id: 5, seq: 5, content: 'late' }));
  assert.equal(held.get(5).content, 'b');
  assert.equal(held.size, 1);
});

test('order: from, or else seq, is at most the previous seq + 1, and seq is above it', () => {
  assert.equal(checkOrder(7, { seq: 8 }), 'next');
  assert.equal(checkOrder(7, { seq: 12, from: 8 }), 'next');
  assert.equal(checkOrder(7, { seq: 12, from: 5 }), 'next');
  assert.equal(checkOrder(7, { seq: 12, from: 9 }), 'hole');
  assert.equal(checkOrder(7, { seq: 9 }), 'hole');
  assert.equal(checkOrder(7, { seq: 7 }), 'stale');
  assert.equal(checkOrder(7, { seq: 3, from: 1 }), 'stale');
  assert.equal(checkOrder(7, {}), 'stale');
});

test('a nonce has 128 bits and fits the 64 characters of the protocol', () => {
  assert.match(newNonce(), /^[0-9a-f]{32}$/);
  assert.notEqual(newNonce(), newNonce());
});

test('the outbox gives each frame once, in order', () => {
  const outbox = outboxOf('a/1', 'b/1', 'a/2');
  assert.deepEqual(refs(outbox.take(0)), ['a/1', 'b/1', 'a/2']);
  assert.deepEqual(outbox.take(1), []);
  outbox.settle('b/1');
  assert.equal(outbox.size, 2);
});

test('after a lost socket everything unanswered is given again, in order', () => {
  const outbox = outboxOf('a/1', 'a/2', 'a/3');
  outbox.take(0);
  outbox.settle('a/2');
  outbox.lost();
  assert.deepEqual(refs(outbox.take(5)), ['a/1', 'a/3']);
});

test('a frame that has to wait holds back its room, and no other', () => {
  const outbox = outboxOf('a/1');
  outbox.take(0);
  assert.ok(outbox.refuse('a/1', 0, 1500));
  outbox.add('a/2', 'a', {});
  outbox.add('b/1', 'b', {});
  assert.deepEqual(refs(outbox.take(1)), ['b/1']);
  assert.equal(outbox.wakeAt(1), 1500);
  assert.deepEqual(refs(outbox.take(1500)), ['a/1']);
  assert.deepEqual(outbox.take(1501), [], 'what is being retried goes alone');
  outbox.settle('a/1');
  assert.deepEqual(refs(outbox.take(1502)), ['a/2']);
});

test('a frame whose answer does not come is sent again', () => {
  const outbox = outboxOf('a/1');
  outbox.take(0);
  assert.equal(outbox.wakeAt(0), ACK_WAIT_MS);
  assert.deepEqual(outbox.take(ACK_WAIT_MS - 1), []);
  assert.deepEqual(refs(outbox.take(ACK_WAIT_MS)), ['a/1']);
});

test('the outbox has bounds: frames on the wire, frames kept, tries', () => {
  const outbox = new Outbox();
  for (let n = 0; n < OUTBOX_MAX; n += 1) outbox.add(`r${n}`, 'r', {});
  assert.throws(() => outbox.add('one more', 'r', {}), { code: 'too_large' });
  assert.equal(outbox.take(0).length, IN_FLIGHT_MAX);
  assert.equal(outbox.take(0).length, 0);
  outbox.settle('r0');
  assert.deepEqual(refs(outbox.take(0)), [`r${IN_FLIGHT_MAX}`]);
  for (let n = 1; n < TRIES_MAX; n += 1) assert.ok(outbox.refuse('r1', 0, 0));
  assert.ok(!outbox.refuse('r1', 0, 0));
});

test('draining takes everything out', () => {
  const outbox = outboxOf('a/1', 'b/1');
  assert.deepEqual(refs(outbox.drain()), ['a/1', 'b/1']);
  assert.equal(outbox.size, 0);
});
