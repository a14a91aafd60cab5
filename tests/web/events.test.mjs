// Event streams and calls in place of a socket that is blocked, against a server that the test plays.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { STREAMS_MAX } from '../../web/salon-events.js';
import { UPGRADES_FAILED_LATER_MAX, UPGRADES_FAILED_MAX } from '../../web/salon-line.js';
import { EventParser } from '../../web/salon-parser.js';
import { harness, memoryStorage, message } from './harness.mjs';

/** A Salon that has given up on sockets. */
async function blocked(more = {}) {
  const test = harness(more);
  test.salon.connect();
  for (let n = 0; n < UPGRADES_FAILED_MAX; n += 1) {
    test.socket.end(1006);
    await test.clock.pass(4_000);
  }
  return test;
}

/** One that has, besides, joined `general` at `seq`. */
async function inStream(seq, more = {}) {
  const test = await blocked(more);
  test.salon.join('general');
  await test.clock.pass(0);
  test.stream.joined(seq);
  await test.clock.pass(0);
  return test;
}

const sent = (id, content, nonce) => ({ ...message(id), author: 'alice', author_id: 7, content, nonce });

test('an event stream is read however it is cut, comments and other fields left out', () => {
  const text = ': hello\nretry: 1482\n\nevent: joined\nid: 57\ndata: {"a":1}\n\nevent: x\r\ndata: 1\r\ndata: 2\r\n\r\n:\n\ndata: {"é":":"}\n\n';
  const whole = [{ type: 'joined', data: '{"a":1}' }, { type: 'x', data: '1\n2' }, { type: '', data: '{"é":":"}' }];
  assert.deepEqual(new EventParser().feed(text), whole);
  for (const size of [1, 2, 3, 7]) {
    const parser = new EventParser();
    const events = [];
    for (let at = 0; at < text.length; at += size) events.push(...parser.feed(text.slice(at, at + size)));
    assert.deepEqual(events, whole, `in pieces of ${size}`);
  }
});

test('sockets that do not come up while HTTP works are given up after a bounded number', async () => {
  const test = await blocked();
  assert.equal(test.sockets.length, UPGRADES_FAILED_MAX);
  const { state, transport } = test.salon.status;
  assert.deepEqual({ state, transport }, { state: 'online', transport: 'events' });
});

test('sockets that are never answered are given up, too', async () => {
  const test = harness();
  test.salon.connect();
  await test.clock.pass(60_000);
  assert.equal(test.salon.status.transport, 'events');
  assert.equal(test.salon.status.state, 'online');
});

test('where sockets worked before, more of them have to fail', async () => {
  const test = harness();
  test.salon.connect();
  test.socket.welcome();
  for (let n = 0; n < UPGRADES_FAILED_LATER_MAX; n += 1) {
    test.socket.end(1006);
    assert.equal(test.salon.status.transport, 'websocket');
    await test.clock.pass(test.salon.status.retry_at - test.clock.now());
  }
  test.socket.end(1006);
  await test.clock.pass(0);
  assert.equal(test.salon.status.transport, 'events');
});

test('a dead network, an access that had run out, and a busy server are no reason to give sockets up', async () => {
  let access;
  const renewed = { 'GET /api/account': () => (access = !access) ? 401 : 200, 'POST /api/account/refresh': 204 };
  for (const answers of [{ 'GET /api/account': 'dead' }, { 'GET /api/account': 503 }, renewed]) {
    access = false;
    const test = harness({ answers });
    test.salon.connect();
    await test.clock.pass(600_000);
    assert.ok(test.sockets.length > 10);
    assert.equal(test.salon.status.transport, 'websocket');
  }
});

test('a room is a stream: joined, changes, and what is said by calls', async () => {
  const test = await inStream(5, { answers: { 'POST /api/rooms/general/messages': ({ content, nonce }) => [201, sent(7, content, nonce)] } });
  assert.equal(test.of('joined')[0].seq, 5);
  test.stream.say(message(6));
  const { done, nonce } = test.salon.send('general', 'hi', { reply_to: 6 });
  await test.clock.pass(0);
  const { id, seq, duplicate } = await done;
  assert.deepEqual({ id, seq, duplicate }, { id: 7, seq: 7, duplicate: false });
  assert.deepEqual(test.bodies.at(-1), { content: 'hi', nonce, reply_to: 6 });
  test.stream.say(sent(7, 'hi', nonce));
  await test.clock.pass(0);
  assert.deepEqual(test.of('change').map((change) => change.seq), [6, 7]);
  assert.equal(test.of('violation').length, 0);
});

test('edits, deletions and read marks are calls, one after the other', async () => {
  const changed = { ...message(5), seq: 6 };
  const test = await inStream(5, { answers: {
    'PATCH /api/rooms/general/messages/5': [200, changed],
    'DELETE /api/rooms/general/messages/5': [200, { ...changed, seq: 7 }],
    'PUT /api/rooms/general/read': 204,
  } });
  const edited = test.salon.edit('general', 5, 'better');
  const deleted = test.salon.delete('general', 5);
  for (const seq of [3, 4, 5]) test.salon.read('general', seq);
  test.salon.typing('general');
  await test.clock.pass(0);
  assert.deepEqual([(await edited).seq, (await deleted).seq], [6, 7]);
  assert.deepEqual(test.calls.slice(-3), ['PATCH /api/rooms/general/messages/5', 'DELETE /api/rooms/general/messages/5', 'PUT /api/rooms/general/read']);
  assert.deepEqual(test.bodies.at(-1), { seq: 5 }, 'of several marks the newest says it all');
});

test('a refused call is an error frame with the code of the problem', async () => {
  const answers = [[429, { code: 'rate_limited', detail: 'slow' }], [403, { code: 'forbidden', detail: 'you are muted' }]];
  const test = await inStream(1, { answers: { 'POST /api/rooms/general/messages': () => answers.shift() } });
  const { done } = test.salon.send('general', 'hi');
  await test.clock.pass(10_000);
  await assert.rejects(done, { code: 'forbidden', message: 'you are muted' });
  assert.equal(answers.length, 0, 'what means "not now" was tried again');
});

test('a stream that ends is opened again from where it ended, and nothing is told twice', async () => {
  const test = await inStream(5);
  test.stream.say(message(6));
  await test.clock.pass(20_000);
  test.stream.end();
  await test.clock.pass(1_000);
  assert.equal(test.streams.length, 2);
  assert.deepEqual(test.stream.query, { after: '6', epoch: 'e' });
  test.stream.joined(8, { messages: [message(7), message(8)] });
  test.stream.say(message(9));
  await test.clock.pass(0);
  assert.equal(test.of('joined').at(-1).reset, false);
  assert.deepEqual(test.of('change').map(({ seq }) => seq), [6, 9]);
  assert.equal(test.of('violation').length, 0);
  assert.ok(!test.states().slice(-1).includes('reconnecting'), 'nobody noticed');
});

test('a hole in a stream is a violation like any other', async () => {
  const test = await inStream(5);
  test.stream.say(message(8));
  await test.clock.pass(0);
  assert.equal(test.of('violation')[0].kind, 'hole');
  assert.equal(test.streams.length, 2);
  assert.equal(test.stream.query.after, '5');
  assert.ok(!test.streams[0].open, 'the old stream was closed');
});

test('a server that is gone: reconnecting, then all rooms from where they were, and unsent messages', async () => {
  let alive = true;
  const post = ({ content, nonce }) => (alive ? [201, sent(6, content, nonce)] : 'dead');
  const test = await inStream(5, { answers: {
    'GET /api/account': () => (alive ? 200 : 'dead'),
    'GET /api/rooms/general/events': () => (alive ? 'stream' : 'dead'),
    'POST /api/rooms/general/messages': post,
  } });
  alive = false;
  test.stream.break();
  const { done } = test.salon.send('general', 'hi');
  await test.clock.pass(3_000);
  assert.notEqual(test.salon.status.state, 'online');
  alive = true;
  await test.clock.pass(30_000);
  assert.equal((await done).id, 6);
  assert.equal(test.salon.status.state, 'online');
  assert.equal(test.stream.query.after, '5');
});

test('an access that has run out is renewed, and the message goes out after all', async () => {
  let access = true;
  const renewed = () => { access = true; return 204; };
  const test = await inStream(5, { answers: {
    'GET /api/account': () => (access ? 200 : 401),
    'POST /api/account/refresh': renewed,
    'POST /api/rooms/general/messages': ({ content, nonce }) => (access ? [201, sent(6, content, nonce)] : [401, { code: 'unauthenticated' }]),
  } });
  access = false;
  const { done } = test.salon.send('general', 'hi');
  await test.clock.pass(5_000);
  assert.equal((await done).id, 6);
  assert.equal(test.calls.filter((call) => call === 'POST /api/account/refresh').length, 1);
});

test('a log-in that is over ends it', async () => {
  const test = await inStream(5);
  test.replies['GET /api/account'] = 401;
  test.replies['POST /api/account/refresh'] = 401;
  test.replies['GET /api/rooms/general/events'] = [401, { code: 'unauthenticated' }];
  test.stream.end();
  await test.clock.pass(5_000);
  assert.equal(test.of('logged_out').length, 1);
  assert.equal(test.salon.status.state, 'stopped');
});

test('a room that is refused is told so; one that one is thrown out of is not opened again', async () => {
  const test = await blocked({ answers: { 'GET /api/rooms/nowhere/events': [404, { code: 'not_found', detail: 'no' }] } });
  await Promise.all([assert.rejects(test.salon.join('nowhere'), { code: 'not_found' }), test.clock.pass(0)]);
  test.salon.join('general');
  await test.clock.pass(0);
  test.stream.joined(1);
  test.stream.say({ type: 'removed', room: 'general', reason: 'kicked' });
  await test.clock.pass(60_000);
  assert.ok(!test.stream.open);
  assert.equal(test.of('removed').length, 1);
  assert.equal(test.streams.length, 1);
});

test('a silent stream is given up and opened again', async () => {
  const test = await inStream(5);
  for (let n = 0; n < 4; n += 1) {
    await test.clock.pass(25_000);
    test.stream.write(':\n\n');
  }
  assert.equal(test.streams.length, 1);
  await test.clock.pass(62_000);
  assert.equal(test.streams.length, 2);
});

test('a dead network is noticed without a stream, too', async () => {
  const test = await blocked({ answers: { 'GET /api/rooms': [200, []] } });
  await test.clock.pass(30_000);
  assert.equal(test.salon.status.state, 'online');
  Object.assign(test.replies, { 'GET /api/rooms': 'dead', 'GET /api/account': 'dead' });
  await test.clock.pass(30_000);
  assert.equal(test.salon.status.state, 'offline');
});

test('a proxy that holds streams back: no state of being online for ever', async () => {
  const test = await blocked();
  test.salon.join('general');
  await test.clock.pass(9_000);
  assert.equal(test.salon.status.state, 'online');
  await test.clock.pass(1_500);
  assert.ok(test.states().slice(-2).includes('reconnecting'));
});

test('more rooms than streams: those asked for last are live, the others are told to be parked', async () => {
  const test = await blocked();
  const names = ['a', 'b', 'c', 'd', 'e'];
  for (const name of names) test.salon.join(name);
  await test.clock.pass(0);
  assert.deepEqual(test.of('parked').map(({ room }) => room), names.slice(0, -STREAMS_MAX));
  for (const stream of test.streams.filter(({ open }) => open)) stream.joined(1, { info: { id: stream.room, slug: stream.room } });
  await test.clock.pass(0);
  assert.deepEqual(test.of('joined').map(({ room }) => room), names.slice(-STREAMS_MAX));
  test.salon.join('a');
  await test.clock.pass(0);
  assert.deepEqual(test.of('parked').at(-1).room, 'c');
  assert.equal(test.stream.room, 'a');
});

test('what is unread in other rooms is asked after', async () => {
  const room = (slug, unread, role = 'member') => ({ slug, unread, mentions: 0, role });
  let rooms = [room('general', 0), room('other', 0), room('strange', 9, null)];
  const test = await inStream(5, { answers: { 'GET /api/rooms': () => [200, rooms] } });
  await test.clock.pass(20_000);
  rooms = [room('general', 4), room('other', 2), room('new', 1)];
  await test.clock.pass(30_000);
  assert.deepEqual(test.of('unread').map(({ room: of, unread }) => [of, unread]), [['other', 2], ['new', 1]],
    'of a room with a stream its own frames say it');
  assert.deepEqual(test.of('room_added').map(({ info }) => info.slug), ['new']);
});

test('sockets are tried again later, beside the streams, and taken without a break', async () => {
  const test = await inStream(5);
  test.replies['GET /api/rooms'] = [200, []];
  await test.clock.pass(45_000);
  test.stream.write(':\n\n');
  await test.clock.pass(45_000);
  assert.equal(test.sockets.length, UPGRADES_FAILED_MAX + 1);
  test.socket.end(1006);
  assert.equal(test.salon.status.state, 'online', 'a try that fails disturbs nobody');
  test.stream.write(':\n\n');
  await test.clock.pass(30_000);
  test.stream.say(message(6));
  await test.clock.pass(50_000);
  test.stream.write(':\n\n');
  await test.clock.pass(50_000);
  test.stream.write(':\n\n');
  await test.clock.pass(51_000);
  assert.equal(test.sockets.length, UPGRADES_FAILED_MAX + 2);
  assert.equal(test.streams.length, 1);
  const { stream } = test;
  test.socket.welcome();
  assert.equal(test.socket.last('join').after, 6);
  assert.ok(stream.open, 'the stream serves until the room is joined');
  test.socket.joined('general', 6);
  await test.clock.pass(0);
  assert.ok(!stream.open);
  assert.equal(test.salon.status.transport, 'websocket');
  test.socket.say(message(7));
  assert.deepEqual(test.of('change').map(({ seq }) => seq), [6, 7]);
  assert.equal(test.of('violation').length, 0);
});

test('a reload need not find out again that sockets are blocked, nor does it for ever', async () => {
  const storage = memoryStorage();
  const { clock } = await blocked({ options: { storage } });
  const second = harness({ options: { storage }, clock });
  second.salon.connect();
  await clock.pass(0);
  assert.deepEqual([second.sockets.length, second.salon.status.transport], [0, 'events']);
  await clock.pass(1_300_000);
  const third = harness({ options: { storage: memoryStorage() }, clock });
  third.salon.connect();
  assert.equal(third.sockets.length, 1);
});
