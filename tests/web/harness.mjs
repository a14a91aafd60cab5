// A Salon whose clock, sockets, HTTP answers and luck are in the hands of the test.

import { setImmediate } from 'node:timers/promises';
import { Salon } from '../../web/salon.js';

/** Time that passes only when told to. */
export class TestClock {
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
      // Streams and calls take several turns.
      for (let turn = 0; turn < 8; turn += 1) await setImmediate();
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

/** Storage of a browser, shared by the pages of it that a test makes. */
export function memoryStorage() {
  const items = new Map();
  return {
    get length() {
      return items.size;
    },
    key: (at) => [...items.keys()][at] ?? null,
    getItem: (key) => items.get(key) ?? null,
    setItem: (key, value) => items.set(key, String(value)),
    removeItem: (key) => items.delete(key),
  };
}

/** Web Locks as the tabs of one browser share them: first come, first served. */
export function webLocks() {
  const queues = new Map();
  return {
    async request(name, options, run = options) {
      const { ifAvailable, signal } = run === options ? {} : options;
      const before = queues.get(name);
      if (ifAvailable && before) return run(null);
      const aborted = signal && new Promise((_, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason));
      });
      const waited = aborted ? Promise.race([before, aborted]) : Promise.resolve(before);
      const mine = waited.then(() => run({ name }));
      const settled = mine.catch(() => before).then(() => queues.get(name) === settled && queues.delete(name));
      queues.set(name, settled);
      return mine;
    },
  };
}

/** An event stream in the test's hands. */
class TestStream {
  #control;
  #text = new TextEncoder();

  constructor(url, signal) {
    this.url = new URL(url, 'http://test');
    this.room = decodeURIComponent(this.url.pathname.split('/')[3]);
    this.query = Object.fromEntries(this.url.searchParams);
    this.open = true;
    this.body = new ReadableStream({ start: (control) => { this.#control = control; } });
    signal.addEventListener('abort', () => this.open && this.break());
  }

  write(text) {
    this.#control.enqueue(this.#text.encode(text));
  }

  say(frame) {
    this.write(`event: ${frame.type}\ndata: ${JSON.stringify(frame)}\n\n`);
  }

  joined(seq, more = {}) {
    this.say({ type: 'joined', room: this.room, info: { id: 3, slug: this.room }, epoch: 'e', seq, messages: [],
      more: false, reset: false, users: ['alice'], user_count: 1, ...more });
  }

  end() {
    this.open = false;
    this.#control.close();
  }

  break() {
    this.open = false;
    this.#control.error(new TypeError('network error'));
  }
}

/** `answers` are by `METHOD path`: a status, `[status, body]`, 'dead', 'stream', or what gives one of them. */
export function harness({ random = 0.5, answers = {}, options = {}, clock = new TestClock() } = {}) {
  const sockets = [];
  const streams = [];
  const bodies = [];
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

  const fetch = async (url, { method, body, signal }) => {
    const path = url.split('?')[0];
    calls.push(`${method} ${path}`);
    if (body) bodies.push(JSON.parse(body));
    const given = replies[`${method} ${path}`] ?? (path.endsWith('/events') ? 'stream' : 404);
    let answer = typeof given === 'function' ? given(body && JSON.parse(body)) : given;
    answer = await answer;
    if (answer === 'dead') throw new TypeError('no network');
    if (answer === 'stream') {
      streams.push(new TestStream(url, signal));
      return new Response(streams.at(-1).body);
    }
    const [status, told] = Array.isArray(answer) ? answer : [answer, { user: { id: 7, username: 'alice' } }];
    return new Response(status === 204 ? null : JSON.stringify(told), { status });
  };

  const salon = new Salon({
    base: '', url: 'ws://test/ws', WebSocket: TestSocket, fetch, clock, random: () => random, ...options,
  });
  for (const type of EVENTS) salon.on(type, (detail) => events.push({ type, ...detail, is: type }));
  return {
    salon, clock, sockets, streams, calls, bodies, events, replies,
    of: (kind) => events.filter((event) => event.is === kind),
    states: () => events.filter((event) => event.is === 'state').map((event) => event.state),
    get socket() {
      return sockets.at(-1);
    },
    get stream() {
      return streams.at(-1);
    },
  };
}

const EVENTS = ['state', 'joined', 'join_failed', 'change', 'failed', 'violation', 'logged_out', 'user_join', 'unread',
  'restored', 'parked', 'room_added', 'removed', 'ack', 'error'];

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
