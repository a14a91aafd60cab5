// A Salon whose clock, sockets, HTTP answers and luck are in the hands of the test.

import { setImmediate } from 'node:timers/promises';
import { Salon } from '../../web/salon.js';

/** Time that passes only when told to. */
class TestClock {
  #now = 1_000_000;
  #timers = new Map();
  #ids = 0;

  now = () => this.#now;

  setTimeout = (run, ms) => {
    this.#ids += 1;
    this.#timers.set(this.#ids, { at: this.#now + ms, run });
    return this.#ids;
  };

  clearTimeout = (id) => this.#timers.delete(id);

  async pass(ms) {
    const end = this.#now + ms;
    for (;;) {
      await setImmediate();
      const [id, next] = [...this.#timers].sort((a, b) => a[1].at - b[1].at || a[0] - b[0])[0] ?? [];
      if (!next || next.at > end) break;
      this.#timers.delete(id);
      this.#now = Math.max(this.#now, next.at);
      next.run();
    }
    this.#now = end;
    await setImmediate();
  }
}

export function harness({ random = 0.5, answers = {} } = {}) {
  const clock = new TestClock();
  const sockets = [];
  const calls = [];
  const events = [];
  const replies = { 'GET /api/account': 200, 'POST /api/account/refresh': 204, ...answers };

  class TestSocket {
    readyState = 0;
    sent = [];
    closedWith = null;

    constructor(url, protocols) {
      Object.assign(this, { url, protocols });
      sockets.push(this);
    }

    send(text) {
      this.sent.push(JSON.parse(text));
    }

    close(code) {
      this.readyState = 3;
      this.closedWith = code ?? 1005;
    }

    // What the server does:

    welcome(more = {}) {
      this.readyState = 1;
      this.say({ type: 'welcome', protocol: 1, user: { id: 7, username: 'alice' }, heartbeat_s: 25, limits: {}, ...more });
    }

    say(frame) {
      this.onmessage({ data: JSON.stringify(frame) });
    }

    end(code) {
      this.readyState = 3;
      this.onclose({ code });
    }

    last(type) {
      return this.sent.filter((frame) => frame.type === type).at(-1);
    }

    /** Answers the last `join` with a room at `seq`. */
    joined(room, seq, more = {}) {
      const { ref } = this.last('join');
      this.say({ type: 'joined', ref, room, info: { id: 3, slug: room }, epoch: 'e', seq, messages: [], more: false,
        reset: false, users: ['alice'], user_count: 1, ...more });
    }
  }

  const fetch = async (url, { method }) => {
    calls.push(`${method} ${url}`);
    const reply = replies[`${method} ${url}`];
    const status = typeof reply === 'function' ? reply() : reply;
    if (status === 'dead') throw new TypeError('no network');
    return new Response(status === 204 ? null : JSON.stringify({ user: { id: 7 } }), { status });
  };

  const salon = new Salon({ base: '', url: 'ws://test/ws', WebSocket: TestSocket, fetch, clock, random: () => random });
  for (const type of ['state', 'joined', 'join_failed', 'change', 'failed', 'violation', 'logged_out', 'user_join', 'unread']) {
    salon.addEventListener(type, ({ detail }) => events.push({ type, ...detail, kind: type }));
  }
  return {
    salon, clock, sockets, calls, events, replies,
    of: (kind) => events.filter((event) => event.kind === kind),
    states: () => events.filter((event) => event.kind === 'state').map((event) => event.state),
    get socket() {
      return sockets.at(-1);
    },
  };
}

/** A Salon that is online and has joined `general` at `seq`. */
export function inRoom(seq, options) {
  const test = harness(options);
  test.salon.connect();
  test.socket.welcome();
  test.salon.join('general');
  test.socket.joined('general', seq);
  return test;
}

export function message(seq, more = {}) {
  return { type: 'chat_message', room: 'general', room_id: 3, id: seq, seq, author: 'bob', author_id: 8, content: `m${seq}`, ...more };
}
