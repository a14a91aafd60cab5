// The conversations that the server's own tests hold it to, played to a Salon: what it says is what clients say there,
// and all that it hears is told, in order, without a violation.

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { test } from 'node:test';
import { harness } from './harness.mjs';

const FOLDER = new URL('../suite/golden/', import.meta.url);
const files = readdirSync(FOLDER).filter((name) => name.endsWith('.json'));
const conversations = files.map((name) => [name, JSON.parse(readFileSync(new URL(name, FOLDER), 'utf8'))]);
/** What is answered to who asked, and to nobody else. */
const QUIET = new Set(['pong', 'welcome']);

assert.ok(conversations.length >= 9, 'the golden files are where they were');

for (const [name, { sockets, steps }] of conversations) {
  for (const [socket, { user }] of Object.entries(sockets)) {
    test(`${name}: ${socket}`, async () => {
      const side = new Side(user);
      for (const { who, send, expect } of steps) {
        if (who !== socket) continue;
        if (send) side.say(send);
        if (expect) side.hear(expect);
        await side.test.clock.pass(0);
      }
      await side.check();
    });
  }
}

/** One client of a conversation. */
class Side {
  #user;
  /** Our `ref` by theirs. */
  #refs = new Map();
  #told = [];
  #awaited = [];
  #after = new Map();

  constructor(user) {
    this.#user = user;
    this.test = harness();
    this.test.salon.connect();
  }

  /** What the client of the file says is said through the module, and must come out the same. */
  say(frame) {
    const { salon, socket } = this.test;
    const { room, content, id, nonce, reply_to, seq, token } = frame;
    if (frame.type === 'join' && this.#after.has(room)) salon.leave(room);
    const before = socket.sent.length;
    switch (frame.type) {
      // Without a nonce, or by the short form, is not how this client speaks: whoever answers, it must bear it.
      case 'send':
        if (nonce === undefined || this.#knows(nonce)) return;
        this.#awaited.push(salon.send(room, content, { nonce, reply_to }).done);
        break;
      case 'edit': this.#awaited.push(salon.edit(room, id, content)); break;
      case 'delete': this.#awaited.push(salon.delete(room, id)); break;
      case 'join':
        if (frame.rooms) {
          this.#sayEach(frame);
          return;
        }
        salon.join(room, { after: frame.after, epoch: frame.epoch, limit: frame.limit });
        break;
      case 'leave': salon.leave(room); break;
      case 'typing': salon.typing(room); break;
      case 'read': salon.read(room, seq); break;
      case 'auth': this.#awaited.push(salon.authenticate(token)); break;
      default: return;
    }
    const said = socket.sent[before];
    assert.deepEqual({ ...said, ref: 0 }, { ...JSON.parse(JSON.stringify(frame)), ref: 0 }, 'said as it is written down');
    if (frame.ref !== undefined) this.#refs.set(frame.ref, said.ref);
  }

  // The module asks for rooms one by one where one by one is how they were wanted.
  #sayEach({ ref, rooms }) {
    for (const { room } of rooms) {
      this.test.salon.join(room);
      this.#refs.set(`${ref} ${room}`, this.test.socket.last('join').ref);
    }
  }

  hear(written) {
    const frame = this.#named(written);
    const { socket, salon } = this.test;
    if (frame.ref !== undefined) {
      frame.ref = this.#refs.get(`${frame.ref} ${frame.room}`) ?? this.#refs.get(frame.ref) ?? frame.ref;
    }
    if (frame.type === 'joined') {
      // A room that this side did not ask for in our way (unasked, or by an address): it wants it all the same.
      if (frame.ref === undefined || !this.#asked(frame.ref)) {
        salon.join(frame.room);
        frame.ref = socket.last('join')?.ref;
      }
      this.#after.set(frame.room, frame.seq);
    }
    const from = this.test.events.length;
    let told = null;
    const stop = salon.on(eventOf(frame), (detail) => { told = detail; });
    if (frame.type === 'welcome') socket.welcome(frame);
    else socket.say(frame);
    stop();
    if (!QUIET.has(frame.type)) this.#told.push([frame, told, this.test.events.slice(from)]);
  }

  async check() {
    assert.deepEqual(this.test.of('violation'), []);
    for (const [frame, told, events] of this.#told) {
      const settled = events.some(({ is }) => is === 'failed' || is === 'join_failed');
      assert.ok(told || settled, `nobody was told of ${JSON.stringify(frame)}`);
      if (told && frame.type !== 'joined') assert.deepEqual(told, frame);
    }
    for (const answer of this.#awaited) await Promise.race([answer, this.test.clock.pass(0)]).catch(() => {});
    const positions = [...this.#after.keys()].map((room) => this.test.salon.position(room)).filter(Boolean);
    for (const { epoch } of positions) assert.equal(epoch, '<epoch>');
  }

  #knows(nonce) {
    return this.test.socket.sent.some((frame) => frame.nonce === nonce);
  }

  #asked(ref) {
    return this.test.socket.sent.some((frame) => frame.type === 'join' && frame.ref === ref);
  }

  // Ids of users are left out of the files; here they are the users' names, so that one is not another.
  #named(frame) {
    const copy = structuredClone(frame);
    if (copy.user?.username) copy.user.id = copy.user.username;
    for (const message of [copy, ...(copy.messages ?? [])]) if (message.author) message.author_id = message.author;
    return copy;
  }
}

function eventOf({ type }) {
  return ['chat_message', 'message_edited', 'message_deleted', 'message_reacted'].includes(type) ? 'change' : type;
}
