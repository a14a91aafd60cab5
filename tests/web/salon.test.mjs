// The connection as a whole, against a server that the test plays.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { harness, inRoom, message } from './harness.mjs';

test('connecting: online only from the welcome on, and the protocol is named', () => {
  const { salon, socket: none, sockets, states } = harness();
  assert.equal(none, undefined);
  salon.connect();
  salon.connect();
  assert.equal(sockets.length, 1);
  assert.deepEqual(sockets[0].protocols, ['salon.v1']);
  assert.notEqual(salon.status.state, 'online');
  sockets[0].welcome();
  assert.equal(salon.status.state, 'online');
  assert.ok(states().includes('connecting'));
});

test('joining resolves with the answer; live changes are told in order', async () => {
  const test = harness();
  test.salon.connect();
  const joined = test.salon.join('general', { limit: 20 });
  assert.equal(test.socket.sent.length, 0, 'nothing goes out before the welcome');
  test.socket.welcome();
  assert.deepEqual(test.socket.last('join'), { type: 'join', ref: 'j1', room: 'general', limit: 20 });
  test.socket.joined('general', 5, { messages: [message(5)] });
  assert.equal((await joined).seq, 5);
  assert.equal(test.of('joined')[0].reset, true, 'who comes without a position holds nothing');
  test.socket.say(message(6));
  test.socket.say(message(9, { from: 7 }));
  assert.deepEqual(test.of('change').map(({ seq }) => seq), [6, 9]);
  assert.deepEqual(test.salon.position('general'), { after: 9, epoch: 'e' });
});

test('a hole is reported, not shown, and mended by joining with the last seq', async () => {
  const test = inRoom(5);
  test.socket.say(message(8));
  assert.deepEqual(test.of('violation').map(({ previous, frame }) => [previous, frame.seq]), [[5, 8]]);
  assert.equal(test.of('change').length, 0);
  test.socket.say(message(9));
  await test.clock.pass(0);
  assert.equal(test.of('violation').length, 1, 'until the answer comes, frames of the room are not judged');
  const { after, epoch } = test.socket.last('join');
  assert.deepEqual({ after, epoch }, { after: 5, epoch: 'e' });
  test.socket.joined('general', 9, { messages: [message(6), message(7), message(8), message(9)] });
  assert.equal(test.of('joined').at(-1).reset, false);
  test.socket.say(message(10));
  assert.deepEqual(test.of('change').map(({ seq }) => seq), [10]);
});

test('a frame that was there before is a violation, too, and is not told twice', () => {
  const test = inRoom(5);
  test.socket.say(message(6));
  test.socket.say(message(6));
  assert.equal(test.of('change').length, 1);
  assert.equal(test.of('violation')[0].frame.seq, 6);
});

test('a lost socket: back with jitter, rejoined from the last seq and epoch', async () => {
  const test = inRoom(5);
  test.socket.say(message(6));
  test.socket.end(1006);
  assert.equal(test.salon.status.state, 'reconnecting');
  await test.clock.pass(249);
  assert.equal(test.sockets.length, 1);
  await test.clock.pass(1);
  assert.equal(test.sockets.length, 2);
  test.socket.welcome();
  const { room, after, epoch } = test.socket.last('join');
  assert.deepEqual({ room, after, epoch }, { room: 'general', after: 6, epoch: 'e' });
  assert.deepEqual(test.calls, [], 'an established socket that broke is no question of logging in');
});

test('several rooms are joined again in one frame', async () => {
  const test = inRoom(5);
  test.salon.join('other');
  test.socket.joined('other', 2, { info: { id: 4, slug: 'other' } });
  test.socket.end(1012);
  await test.clock.pass(1000);
  test.socket.welcome();
  assert.deepEqual(test.socket.last('join').rooms.map(({ room, after }) => [room, after]), [['general', 5], ['other', 2]]);
});

test('another epoch or reset throws the room away', async () => {
  const test = inRoom(50);
  test.socket.end(1006);
  await test.clock.pass(1000);
  test.socket.welcome();
  test.socket.joined('general', 3, { epoch: 'f', reset: true });
  assert.equal(test.of('joined').at(-1).reset, true);
  assert.deepEqual(test.salon.position('general'), { after: 3, epoch: 'f' });
  test.socket.say(message(4));
  assert.equal(test.of('violation').length, 0);
  assert.deepEqual(test.of('change').map(({ seq }) => seq), [4]);
});

test('backoff grows while sockets fail, and starts anew after a stable one', async () => {
  const test = harness({ options: { transport: 'websocket' } });
  const waits = [];
  test.salon.connect();
  for (let n = 0; n < 4; n += 1) {
    test.socket.end(1006);
    await test.clock.pass(0);
    waits.push(test.salon.status.retry_at - test.clock.now());
    await test.clock.pass(waits.at(-1));
  }
  assert.deepEqual(waits, [250, 500, 1000, 2000]);
  test.socket.welcome();
  test.socket.end(1006);
  assert.equal(test.salon.status.retry_at - test.clock.now(), 4000, 'a welcome alone proves nothing');
  await test.clock.pass(4000);
  test.socket.welcome();
  await test.clock.pass(10_000);
  test.socket.end(1006);
  assert.equal(test.salon.status.retry_at - test.clock.now(), 250);
});

test('a refused upgrade: renewed when the access ran out', async () => {
  let access = 401;
  const test = harness({ answers: { 'GET /api/account': () => access, 'POST /api/account/refresh': () => ((access = 200), 204) } });
  test.salon.connect();
  test.socket.end(1006);
  await test.clock.pass(0);
  assert.deepEqual(test.calls, ['GET /api/account', 'POST /api/account/refresh', 'GET /api/account']);
  assert.equal(test.salon.status.state, 'reconnecting');
  await test.clock.pass(1000);
  assert.equal(test.sockets.length, 2);
});

test('a refused upgrade while the old socket stands: renewed before that one goes', async () => {
  let access = 401;
  const test = inRoom(1, {
    answers: { 'GET /api/account': () => access, 'POST /api/account/refresh': () => ((access = 200), 204) },
  });
  const old = test.socket;
  old.say({ type: 'reconnect', within_ms: 100 });
  await test.clock.pass(100);
  test.socket.end(1006);
  await test.clock.pass(0);
  assert.equal(test.calls.filter((call) => call.startsWith('POST')).length, 1);
  assert.equal(test.salon.status.state, 'online');
  await test.clock.pass(1000);
  assert.equal(test.sockets.length, 3);
  test.socket.welcome();
  test.socket.joined('general', 1);
  assert.equal(old.closedWith, 1000);
  assert.ok(!test.states().includes('reconnecting'), 'nobody noticed');
});

test('a refused upgrade: logged out when the refresh is refused, and no more sockets', async () => {
  const test = harness({ answers: { 'GET /api/account': 401, 'POST /api/account/refresh': 401 } });
  test.salon.connect();
  test.socket.end(1006);
  await test.clock.pass(60_000);
  assert.equal(test.of('logged_out').length, 1);
  assert.equal(test.salon.status.state, 'stopped');
  assert.equal(test.sockets.length, 1);
});

test('a dead network is told from a server that refuses', async () => {
  const test = harness({ answers: { 'GET /api/account': 'dead' } });
  test.salon.connect();
  test.socket.end(1006);
  await test.clock.pass(0);
  assert.equal(test.salon.status.state, 'offline');
  test.replies['GET /api/account'] = 503;
  await test.clock.pass(1000);
  test.socket.end(1006);
  await test.clock.pass(0);
  assert.equal(test.salon.status.state, 'reconnecting');
});

test('4501 means logged out, 4503 stopped: neither comes back by itself', async () => {
  for (const [code, out] of [[4501, 1], [4503, 0], [4500, 0]]) {
    const test = inRoom(1);
    test.socket.end(code);
    await test.clock.pass(120_000);
    assert.equal(test.of('logged_out').length, out);
    assert.equal(test.salon.status.state, 'stopped');
    assert.equal(test.salon.status.code, code);
    assert.equal(test.sockets.length, 1);
  }
});

test('after being stopped, connect goes on with the same rooms and unsent messages', async () => {
  const test = inRoom(4);
  const { nonce } = test.salon.send('general', 'still there');
  test.socket.end(4501);
  test.salon.connect();
  test.socket.welcome();
  assert.equal(test.socket.last('join').after, 4);
  assert.equal(test.socket.last('send').nonce, nonce);
});

test('a silent socket is asked for a pong, and given up without one', async () => {
  const test = inRoom(1);
  const [first] = test.sockets;
  await test.clock.pass(24_999);
  assert.equal(first.last('ping'), undefined);
  await test.clock.pass(1);
  assert.ok(first.last('ping'));
  first.say({ type: 'pong' });
  await test.clock.pass(10_000);
  assert.equal(test.salon.status.state, 'online');
  await test.clock.pass(25_000);
  assert.equal(test.salon.status.state, 'reconnecting');
  assert.notEqual(first.closedWith, null);
});

test('a socket that never says welcome is given up', async () => {
  const test = harness();
  test.salon.connect();
  await test.clock.pass(15_000);
  assert.notEqual(test.sockets[0].closedWith, null);
  await test.clock.pass(1_000);
  assert.equal(test.sockets.length, 2);
});

test('check: a doubted socket has 4 s to answer; a wait for the next try ends', async () => {
  const test = inRoom(1);
  test.salon.check();
  assert.ok(test.socket.last('ping'));
  await test.clock.pass(4_000);
  assert.equal(test.salon.status.state, 'reconnecting');
  test.salon.check();
  assert.equal(test.sockets.length, 2);
});

test('a send resolves with its ack', async () => {
  const test = inRoom(1);
  const { nonce, done } = test.salon.send('general', 'hi');
  const frame = test.socket.last('send');
  assert.deepEqual(frame, { type: 'send', ref: nonce, room: 'general', content: 'hi', nonce });
  assert.equal(test.salon.unsent, 1);
  test.socket.say({ type: 'ack', ref: nonce, room: 'general', nonce, id: 2, seq: 2, duplicate: false });
  assert.equal((await done).id, 2);
  assert.equal(test.salon.unsent, 0);
});

test('a send without an ack goes out again on the next socket, with the same nonce', async () => {
  const test = inRoom(1);
  const { nonce, done } = test.salon.send('general', 'hi');
  test.socket.end(1006);
  const later = test.salon.send('general', 'second');
  await test.clock.pass(1000);
  test.socket.welcome();
  assert.deepEqual(test.socket.sent.filter(({ type }) => type === 'send').map((frame) => frame.nonce), [nonce, later.nonce]);
  test.socket.joined('general', 2, { messages: [message(2, { author_id: 7, nonce })] });
  assert.equal((await done).id, 2, 'one\'s own message, seen, is as good as its ack');
  assert.equal(test.salon.unsent, 1);
});

test("somebody else's message with the same nonce settles nothing", () => {
  const test = inRoom(1);
  const { nonce } = test.salon.send('general', 'hi');
  test.socket.say(message(2, { nonce, author_id: 8 }));
  assert.equal(test.salon.unsent, 1);
});

test('rate_limited waits as told, unavailable with backoff; the nonce stays', async () => {
  const test = inRoom(1);
  const { nonce } = test.salon.send('general', 'hi');
  const sends = () => test.socket.sent.filter(({ type }) => type === 'send').length;
  test.socket.say({ type: 'error', ref: nonce, nonce, code: 'rate_limited', detail: 'slow', retry_after_ms: 1500 });
  await test.clock.pass(1499);
  assert.equal(sends(), 1);
  await test.clock.pass(1);
  assert.equal(sends(), 2);
  test.socket.say({ type: 'error', ref: nonce, nonce, code: 'unavailable', detail: 'later' });
  await test.clock.pass(3000);
  assert.equal(sends(), 3);
  assert.equal(test.socket.last('send').nonce, nonce);
  assert.equal(test.of('failed').length, 0);
});

test('any other error fails the send; another try has the same nonce', async () => {
  const test = inRoom(1);
  const { nonce, done } = test.salon.send('general', 'hi');
  test.socket.say({ type: 'error', ref: nonce, nonce, code: 'forbidden', detail: 'you are muted' });
  await assert.rejects(done, { code: 'forbidden', message: 'you are muted' });
  assert.equal(test.of('failed')[0].nonce, nonce);
  assert.equal(test.salon.unsent, 0);
  test.salon.send('general', 'hi', { nonce });
  assert.equal(test.socket.sent.filter((frame) => frame.nonce === nonce).length, 2);
});

test('what no server would take is refused at once', async () => {
  const test = inRoom(1);
  await assert.rejects(test.salon.send('general', 'x'.repeat(70_000)).done, { code: 'too_large' });
  assert.equal(test.socket.last('send'), undefined);
});

test('a frame that the line would not bear is not sent again, the others are', async () => {
  const test = inRoom(1);
  const long = test.salon.send('general', 'x'.repeat(50_000));
  const short = test.salon.send('general', 'y');
  test.socket.end(1009);
  await assert.rejects(long.done, { code: 'too_large' });
  await test.clock.pass(1000);
  test.socket.welcome();
  assert.deepEqual(test.socket.sent.filter(({ type }) => type === 'send').map(({ nonce }) => nonce), [short.nonce]);
});

test('a wrong answer to a join is reported, not shown, and the room begun anew', async () => {
  for (const [kind, answer] of [
    ['epoch', { epoch: 'f' }],
    ['behind', { seq: 3 }],
    ['order', { seq: 7, messages: [message(7), message(6)] }],
    ['order', { seq: 6, messages: [message(7)] }],
  ]) {
    const test = inRoom(5);
    test.socket.end(1006);
    await test.clock.pass(1000);
    test.socket.welcome();
    const { seq = 5, ...more } = answer;
    test.socket.joined('general', seq, more);
    assert.deepEqual(test.of('violation').map(({ kind: is, previous }) => [is, previous]), [[kind, 5]]);
    assert.equal(test.of('joined').length, 1);
    await test.clock.pass(0);
    assert.equal(test.socket.last('join').after, undefined);
    test.socket.joined('general', 9, { epoch: 'f' });
    assert.equal(test.of('joined').at(-1).reset, true);
  }
});

test('a token goes along as a subprotocol, a fresh one each time; auth is answered by a promise', async () => {
  let given = 0;
  const test = harness({ options: { token: async () => `jwt${given += 1}` } });
  test.salon.connect();
  await test.clock.pass(0);
  assert.deepEqual(test.socket.protocols, ['salon.v1', 'bearer.jwt1']);
  test.socket.welcome();
  const [good, bad, lost] = ['a', 'b', 'c'].map((token) => test.salon.authenticate(token));
  const refs = test.socket.sent.filter(({ type }) => type === 'auth').map(({ ref }) => ref);
  test.socket.say({ type: 'authenticated', ref: refs[0], expires_at: 'soon' });
  test.socket.say({ type: 'error', ref: refs[1], code: 'unauthenticated', detail: 'no' });
  assert.equal((await good).expires_at, 'soon');
  await assert.rejects(bad, { code: 'unauthenticated' });
  test.socket.end(4010);
  await assert.rejects(lost, { code: 'closed' });
  await test.clock.pass(1000);
  assert.equal(test.socket.protocols[1].startsWith('bearer.jwt'), true);
  assert.ok(given >= 2);
});

test('every other frame is told under its own type', () => {
  const test = inRoom(1);
  for (const type of ['user_leave', 'user_list', 'user_count', 'typing', 'read', 'room_updated', 'left']) {
    const told = [];
    test.salon.on(type, (detail) => told.push(detail));
    test.socket.say({ type, room: 'general' });
    assert.equal(told.length, 1, type);
  }
});

test('reactions, pages of history and other calls go over HTTP', async () => {
  const liked = { ...message(1), type: 'message_reacted', seq: 2 };
  const path = '/api/rooms/a%20room/messages/1/reactions/%F0%9F%91%8D';
  const { salon, calls } = harness({ answers: {
    [`PUT ${path}`]: [200, liked], [`DELETE ${path}`]: [200, liked],
    'GET /api/rooms/3/messages': [200, [message(1)]], 'GET /api/search': [403, { code: 'forbidden', detail: 'no' }],
  } });
  assert.equal((await salon.react('a room', 1, '👍')).seq, 2);
  await salon.react('a room', 1, '👍', false);
  assert.equal(calls.at(-1), `DELETE ${path}`);
  assert.deepEqual(await salon.history(3, { limit: 1 }), { messages: [message(1)], older: false, newer: false });
  await assert.rejects(salon.call('GET', '/api/search?q=x'), { code: 'forbidden', message: 'no', status: 403 });
});

test('edits and deletions are answered by ref and outlive a socket', async () => {
  const test = inRoom(1);
  const edited = test.salon.edit('general', 1, 'better');
  const deleted = test.salon.delete('general', 1);
  test.socket.say({ type: 'ack', ref: test.socket.last('edit').ref, room: 'general', id: 1, seq: 2 });
  assert.equal((await edited).seq, 2);
  test.socket.end(1006);
  await test.clock.pass(1000);
  test.socket.welcome();
  assert.equal(test.socket.last('edit'), undefined);
  test.socket.say({ type: 'ack', ref: test.socket.last('delete').ref, room: 'general', id: 1, seq: 3 });
  assert.equal((await deleted).seq, 3);
});

test('a node that goes: a new socket within its time, the old one serves until the rooms are joined', async () => {
  const test = inRoom(5);
  const [old] = test.sockets;
  old.say({ type: 'reconnect', within_ms: 4000, reason: 'draining' });
  await test.clock.pass(1999);
  assert.equal(test.sockets.length, 1);
  await test.clock.pass(1);
  const next = test.socket;
  old.say(message(6));
  next.welcome();
  assert.equal(next.last('join').after, 6);
  old.say(message(7));
  assert.equal(old.closedWith, null);
  next.joined('general', 7, { messages: [message(7)] });
  assert.equal(old.closedWith, 1000);
  next.say(message(8));
  assert.deepEqual(test.of('change').map(({ seq }) => seq), [6, 7, 8]);
  assert.equal(test.of('violation').length, 0);
  assert.ok(!test.states().includes('reconnecting'), 'nobody noticed');
});

test('the new node may be behind the old one: nothing is told twice, nothing is a violation', async () => {
  const test = inRoom(5);
  const [old] = test.sockets;
  old.say({ type: 'reconnect', within_ms: 100 });
  await test.clock.pass(100);
  test.socket.welcome();
  old.say(message(6));
  old.say(message(7));
  test.socket.joined('general', 5);
  for (const seq of [6, 7, 8]) test.socket.say(message(seq));
  assert.deepEqual(test.of('change').map(({ seq }) => seq), [6, 7, 8]);
  assert.equal(test.of('violation').length, 0);
});

test('what the old socket did not acknowledge is sent again on its successor', async () => {
  const test = inRoom(5);
  const { nonce } = test.salon.send('general', 'hi');
  test.socket.say({ type: 'reconnect', within_ms: 100 });
  await test.clock.pass(100);
  test.socket.welcome();
  assert.equal(test.socket.last('send').nonce, nonce);
});

test('a node that goes before the new socket stands: unsent messages are not forgotten', async () => {
  const test = inRoom(5);
  test.socket.say({ type: 'reconnect', within_ms: 100 });
  const { nonce } = test.salon.send('general', 'hi');
  await test.clock.pass(100);
  test.sockets[0].end(1012);
  assert.equal(test.salon.status.state, 'reconnecting');
  test.sockets[1].welcome();
  assert.equal(test.salon.status.state, 'online');
  assert.equal(test.sockets[1].last('send').nonce, nonce);
  assert.equal(test.sockets.length, 2);
});

test('a join that is refused rejects; one that comes too early is tried again', async () => {
  const test = inRoom(1);
  const missing = test.salon.join('nowhere');
  test.socket.say({ type: 'error', ref: test.socket.last('join').ref, room: 'nowhere', code: 'not_found', detail: 'no' });
  await assert.rejects(missing, { code: 'not_found' });
  assert.equal(test.of('join_failed').length, 1);
  const early = test.salon.join('soon');
  test.socket.say({ type: 'error', ref: test.socket.last('join').ref, room: 'soon', code: 'unavailable', detail: 'later' });
  await test.clock.pass(1000);
  test.socket.joined('soon', 0, { info: { id: 9, slug: 'soon' } });
  assert.equal((await early).room, 'soon');
});

test('leaving: no more frames of the room, and no rejoin', async () => {
  const test = inRoom(1);
  test.salon.leave('general');
  assert.equal(test.socket.last('leave').room, 'general');
  test.socket.say(message(2));
  assert.equal(test.of('change').length, 0);
  test.socket.end(1006);
  await test.clock.pass(1000);
  test.socket.welcome();
  assert.equal(test.socket.last('join'), undefined);
});

test('typing goes out at most every 3 s, a read mark once and only forwards', async () => {
  const test = inRoom(1);
  const count = (type) => test.socket.sent.filter((frame) => frame.type === type).length;
  test.salon.typing('general');
  test.salon.typing('general');
  assert.equal(count('typing'), 1);
  await test.clock.pass(3000);
  test.salon.typing('general');
  assert.equal(count('typing'), 2);
  for (const seq of [3, 3, 2]) test.salon.read('general', seq);
  assert.equal(count('read'), 1);
});

test('a read mark set while away is told after coming back', async () => {
  const test = inRoom(5);
  test.socket.end(1006);
  test.salon.read('general', 5);
  await test.clock.pass(1000);
  test.socket.welcome();
  test.socket.joined('general', 5);
  assert.equal(test.socket.last('read').seq, 5);
});

test('close ends everything: unsent messages fail, nothing comes back', async () => {
  const test = inRoom(1);
  const { done } = test.salon.send('general', 'hi');
  test.salon.close();
  await assert.rejects(done, { code: 'closed' });
  assert.equal(test.socket.closedWith, 1000);
  await test.clock.pass(120_000);
  assert.equal(test.sockets.length, 1);
  assert.equal(test.salon.status.state, 'idle');
});
