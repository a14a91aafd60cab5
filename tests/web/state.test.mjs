// What the page knows, fed with frames.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Chat } from '../../web/state.js';
import { message } from './harness.mjs';

const INFO = { id: 3, slug: 'general', name: 'General', topic: '', kind: 'public', role: 'member', last_read: 0, unread: 0, online: 1 };

function chatAt(seq, { info = {}, messages = [], more = false } = {}) {
  const chat = new Chat();
  chat.me = { id: 7, username: 'alice' };
  chat.putRoom({ ...INFO, ...info });
  chat.joined({ room: 'general', info: { ...INFO, role: 'member', last_read: seq }, seq, messages, more, reset: true, users: ['alice'], user_count: 1 });
  return { chat, room: chat.rooms.get('general') };
}

test('a change of a message that is not loaded yet is shown when its page comes, in its newer state', () => {
  const { chat, room } = chatAt(60, { messages: [message(51), message(60)], more: true });
  const done = room.timeline.loading();
  chat.change(message(10, { seq: 61, type: 'message_edited', content: 'new' }));
  assert.deepEqual(room.timeline.shown.map(({ id }) => id), [51, 60]);
  room.timeline.pageBefore([message(9), message(10)], false);
  done();
  assert.deepEqual(room.timeline.shown.map(({ id, content }) => [id, content]), [[9, 'm9'], [10, 'new'], [51, 'm51'], [60, 'm60']]);
});

test("one's own message stands once, whichever of ack and message comes first", () => {
  for (const ackFirst of [true, false]) {
    const { chat, room } = chatAt(1);
    chat.sending('general', 'n', 'hi');
    const own = message(2, { author: 'alice', author_id: 7, nonce: 'n' });
    const steps = [() => chat.acked('general', 'n', { id: 2, created_at: 'x' }), () => chat.change(own)];
    for (const step of ackFirst ? steps : steps.reverse()) step();
    assert.equal(room.pending.length, 0);
    assert.equal(room.timeline.messages.size, 1);
    assert.equal(room.unread, 0);
  }
});

test('a failed message keeps its nonce for another try', () => {
  const { chat, room } = chatAt(1);
  chat.sending('general', 'n', 'hi');
  chat.failed('general', 'n', 'why');
  assert.equal(room.pending[0].state, 'failed');
  chat.sending('general', 'n', 'hi');
  assert.deepEqual(room.pending.map(({ nonce, state }) => [nonce, state]), [['n', 'sending']]);
});

test('unread counts the messages of others while nobody looks, and ends with reading', () => {
  const { chat, room } = chatAt(5);
  chat.openSlug = 'general';
  chat.change(message(6));
  chat.change(message(7, { author_id: 7, author: 'alice' }));
  chat.change(message(6, { seq: 8, type: 'message_edited' }));
  assert.equal(room.unread, 1);
  assert.equal(room.dividerAfter, 5);
  assert.equal(chat.readOpen(), 7);
  assert.equal(room.unread, 0);
  assert.equal(chat.readOpen(), null, 'the server is told once');
  chat.attentive = true;
  chat.change(message(9));
  assert.equal(room.unread, 0);
});

test('a mark set in another tab is taken over', () => {
  const { chat, room } = chatAt(5);
  for (const seq of [6, 7, 8]) chat.change(message(seq));
  chat.readElsewhere({ room: 'general', seq: 7 });
  assert.equal(room.unread, 1);
});

test('typing ends by time or by the message', () => {
  const { chat, room } = chatAt(5);
  chat.typing({ room: 'general', user: 'bob' }, 1000);
  chat.typing({ room: 'general', user: 'alice' }, 1000);
  assert.deepEqual([...room.typing.keys()], ['bob']);
  assert.equal(chat.expireTyping(2000), 6000);
  assert.equal(chat.expireTyping(6000), null);
  chat.typing({ room: 'general', user: 'bob' }, 7000);
  chat.change(message(6));
  assert.equal(room.typing.size, 0);
});

test('reset throws away what was held', () => {
  const { chat, room } = chatAt(9, { messages: [message(8), message(9)] });
  chat.joined({ room: 'general', info: INFO, seq: 2, messages: [message(2)], more: true, reset: true, users: [], user_count: 0 });
  assert.deepEqual(room.timeline.shown.map(({ id }) => id), [2]);
});

test('a room at whose end somebody reads for long keeps a bounded number of messages', () => {
  const { chat, room } = chatAt(0);
  Object.assign(chat, { openSlug: 'general', attentive: true });
  for (let seq = 1; seq <= 2000; seq += 1) chat.change(message(seq));
  assert.ok(room.timeline.messages.size <= 600);
  assert.ok(room.timeline.older);
  assert.equal(room.timeline.shown.at(-1).id, 2000);
});

test('who names the person is counted apart, and told with the message', () => {
  const { chat, room } = chatAt(5);
  const told = [];
  chat.addEventListener('message', ({ detail }) => told.push([detail.message.id, detail.mention]));
  chat.change(message(6));
  chat.change(message(7, { mentions: ['alice'] }));
  assert.deepEqual([room.unread, room.mentions], [2, 1]);
  assert.deepEqual([chat.unread, chat.mentions], [2, 1]);
  assert.deepEqual(told, [[6, false], [7, true]]);
});

test('what was seen of a room is read, and no more', () => {
  const { chat, room } = chatAt(5);
  Object.assign(chat, { openSlug: 'general', atEnd: false, attentive: true });
  for (const seq of [6, 7, 8]) chat.change(message(seq));
  assert.equal(room.unread, 3);
  assert.equal(chat.readOpen(7), 7);
  assert.deepEqual([room.unread, room.lastRead], [1, 7]);
  assert.equal(chat.readOpen(6), null);
  assert.equal(chat.readOpen(), 8);
  assert.equal(room.unread, 0);
});

test('who comes and goes stands in one quiet line, and who is soon back in none', () => {
  const { chat, room } = chatAt(5);
  const tell = (type, user) => chat.userFrame({ type, room: 'general', user, user_count: 3 });
  tell('user_join', 'bob');
  tell('user_join', 'eve');
  tell('user_leave', 'eve');
  assert.deepEqual(room.notes.map(({ came, went }) => [came, went]), [[['bob'], []]]);
  chat.change(message(6));
  tell('user_leave', 'bob');
  assert.deepEqual(room.notes.map(({ after, came, went }) => [after, came, went]), [[0, ['bob'], []], [6, [], ['bob']]]);
  chat.userFrame({ type: 'user_join', room: 'general', user: 'dan', user_count: 500 });
  assert.equal(room.notes.length, 2, 'a crowd is not told by name');
});

test('a quoted message that changes is quoted as it is now', () => {
  const { chat, room } = chatAt(500);
  room.timeline.reset([message(499), message(500)], true, 500);
  chat.putQuote(room, 3, message(3));
  chat.change(message(3, { seq: 501, type: 'message_deleted', deleted: true, content: '' }));
  assert.equal(chat.quoted(room, 3).deleted, true);
  assert.equal(chat.quoted(room, 4), undefined);
});

test('a parked room goes on with what it held', () => {
  const { chat, room } = chatAt(5, { messages: [message(4), message(5)], more: true });
  chat.parked('general');
  chat.unreadElsewhere({ room: 'general', unread: 1, mentions: 0 });
  assert.equal(room.unread, 1);
  chat.joined({ room: 'general', info: { ...INFO, unread: 1, last_read: 5 }, seq: 6, messages: [message(6)], more: true, reset: false, users: [], user_count: 1 });
  assert.deepEqual(room.timeline.shown.map(({ id }) => id), [4, 5, 6]);
  assert.equal(room.unread, 1);
});

test('a list that was asked for before a room was joined does not undo it', () => {
  const { chat, room } = chatAt(5);
  chat.putRoom({ ...INFO, role: null });
  assert.equal(room.info.role, 'member');
  chat.left('general');
  chat.putRoom({ ...INFO, role: null });
  assert.equal(room.info.role, null);
});
