// A line over plain HTTP, for where WebSockets are blocked: an event stream for each room, and calls for what is said.
// It takes and gives the frames that a socket does, so nobody above it knows the difference.
//
// Streams are read with `fetch`, not with EventSource, which hides the status of a refusal, cannot give the epoch anew
// and comes back by a rule of its own.

import { CHANGES, backoffMs } from './salon-core.js';
import { problem } from './http.js';
import { EventParser } from './salon-parser.js';
import { bearer } from './salon-session.js';
import { CLOCK } from './salon-socket.js';

/**
 * Rooms live at once. Over HTTP/1.1 a browser opens six connections to a host, of all tabs together, and calls need
 * some of them.
 */
export const STREAMS_MAX = 3;
/** How long a call, and the first word of a stream, may take. */
const ANSWER_WAIT_MS = 10_000;
const DOUBT_WAIT_MS = 4_000;
/** A stream is given up after such a silence; the server breaks it every 25 s. */
const SILENCE_MS = 60_000;
/** Asked after what is unread in other rooms this often, half as much more by chance. */
const UNREAD_EVERY_MS = 15_000;
/** Streams that ended before they had lasted so long; after so many in a row it is no way to chat. */
const SHORT_MS = 5_000;
const SHORT_MAX = 4;
const ROOMS_PAGE = 200;

export class EventLine {
  /** True from the answer that somebody is logged in until the end. */
  live = false;
  #options;
  #on;
  #clock;
  #ended = false;
  /** @type {Stream[]} those asked for longest first */
  #streams = [];
  /** @type {any[]} */
  #calls = [];
  #calling = false;
  #requests = new Set();
  #unreadTimer = null;
  /** What was last told of rooms without a stream; null before the first look. */
  #told = /** @type {Map<string, {unread: number, mentions: number}> | null} */ (null);

  /** The same as of a socket: `on.welcome(frame)`, `on.frame(frame)`, `on.gone({code, live})`. */
  constructor(options) {
    this.#options = options;
    this.#on = options.on;
    this.#clock = options.clock ?? CLOCK;
    this.#greet();
  }

  send(frame) {
    if (!this.live) return false;
    switch (frame.type) {
      case 'join':
        for (const wish of frame.rooms ?? [frame]) this.#join(wish, frame.ref);
        break;
      case 'leave':
        this.#leave(frame.room);
        break;
      case 'send': case 'edit': case 'delete': case 'read':
        this.#queue(frame);
        break;
      case 'auth':
        this.#later({ type: 'error', ref: frame.ref, code: 'invalid', detail: 'each request brings its own token' });
        break;
      default: // There is no call for `typing`, and `ping` has its answer in `check`.
    }
    return true;
  }

  /** Asks for a sign of life now, and opens anew what has been silent. */
  async check() {
    if (!this.live) return;
    const answer = await this.#request('GET', '/api/account', undefined, DOUBT_WAIT_MS);
    if (!this.live) return;
    if (answer.status !== 200) {
      this.#lost(answer);
      return;
    }
    const now = this.#clock.now();
    for (const stream of this.#streams) if (now - stream.heardAt > SILENCE_MS / 2) stream.abort?.abort();
  }

  close() {
    this.#end();
  }

  // ---- rooms

  async #greet() {
    const { status, body } = await this.#request('GET', '/api/account');
    if (this.#ended) return;
    if (status !== 200) {
      this.#gone(1006);
      return;
    }
    this.live = true;
    this.#on.welcome({ type: 'welcome', protocol: 1, node: '', user: body.user, heartbeat_s: 25, limits: LIMITS });
    this.#watchUnread(0.2);
  }

  #join(wish, ref) {
    this.#drop(wish.room);
    const { room, limit, after = null, epoch = null } = wish;
    const stream = { room, slug: null, ref, limit, after, epoch, heardAt: 0, short: 0, told: false,
      abort: null, over: false };
    this.#streams.push(stream);
    while (this.#streams.length > STREAMS_MAX) {
      const parked = this.#streams[0];
      this.#drop(parked.room);
      this.#later({ type: 'parked', room: parked.slug ?? parked.room });
    }
    this.#run(stream);
  }

  #leave(room) {
    this.#drop(room);
    this.#told?.delete(room);
  }

  #drop(room) {
    const stream = this.#streams.find((one) => one.room === room || one.slug === room);
    if (!stream) return;
    stream.over = true;
    stream.abort?.abort();
    this.#streams = this.#streams.filter((one) => one !== stream);
  }

  // Opens the stream again whenever it ends, from where it ended.
  async #run(stream) {
    while (!stream.over && !this.#ended) {
      const openedAt = this.#clock.now();
      const refused = await this.#read(stream);
      if (stream.over || this.#ended) return;
      if (refused) {
        this.#refused(stream, refused);
        return;
      }
      stream.short = this.#clock.now() - openedAt < SHORT_MS ? stream.short + 1 : 0;
      if (stream.short >= SHORT_MAX) {
        this.#gone(1006);
        return;
      }
      await this.#wait(backoffMs(stream.short, this.#options.random));
    }
  }

  /** Reads a stream to its end, or gives the answer that was none. */
  async #read(stream) {
    const query = new URLSearchParams();
    for (const key of ['after', 'epoch', 'limit']) if (stream[key] != null) query.set(key, stream[key]);
    const path = `/api/rooms/${encodeURIComponent(stream.room)}/events?${query}`;
    Object.assign(stream, { abort: new AbortController(), heardAt: this.#clock.now(), told: false });
    const alarm = this.#alarm(stream);
    this.#requests.add(stream.abort);
    try {
      const response = await this.#fetch('GET', path, { Accept: 'text/event-stream' }, undefined, stream.abort.signal);
      if (!response.ok) return await parsed(response);
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      const parser = new EventParser();
      for (;;) {
        const { done, value } = await reader.read();
        if (done || stream.over || this.#ended) return null;
        stream.heardAt = this.#clock.now();
        for (const event of parser.feed(value)) this.#heard(stream, event);
      }
    } catch {
      // Before the first word it is the network; later it is a stream that ended like any other.
      return stream.told ? null : DEAD;
    } finally {
      this.#clock.clearTimeout(alarm.timer);
      this.#requests.delete(stream.abort);
    }
  }

  /** Gives up a stream that says nothing: at first soon, later after a silence. */
  #alarm(stream) {
    const alarm = { timer: null };
    const ring = () => {
      const patience = stream.told ? SILENCE_MS : ANSWER_WAIT_MS;
      const silent = this.#clock.now() - stream.heardAt;
      if (silent >= patience) stream.abort.abort();
      else alarm.timer = this.#clock.setTimeout(ring, patience - silent);
    };
    alarm.timer = this.#clock.setTimeout(ring, ANSWER_WAIT_MS);
    return alarm;
  }

  #heard(stream, { data }) {
    let frame;
    try {
      frame = JSON.parse(data);
    } catch {
      return;
    }
    if (stream.over || this.#ended || frame.type === 'reconnect') return;
    if (frame.type === 'joined') {
      Object.assign(stream, { slug: frame.room, after: frame.seq, epoch: frame.epoch, told: true });
      if (stream.ref !== undefined) frame.ref = stream.ref;
      stream.ref = undefined;
    } else if (CHANGES.has(frame.type)) {
      stream.after = frame.seq;
    } else if (frame.type === 'removed') {
      this.#drop(stream.room);
    }
    this.#on.frame(frame);
  }

  // Of a room that was asked for just now it is its answer. Later, all are asked for again, by whom they hang on.
  #refused(stream, answer) {
    const asked = stream.ref !== undefined;
    if (!asked || answer.status === 401 || answer.status === 0) {
      this.#lost(answer);
      return;
    }
    this.#drop(stream.room);
    this.#on.frame(refusal(answer, { ref: stream.ref, room: stream.room }));
  }

  // ---- what is unread in rooms without a stream

  #watchUnread(part = 1 + this.#options.random() / 2) {
    this.#unreadTimer = this.#clock.setTimeout(async () => {
      const { status, body } = await this.#request('GET', `/api/rooms?limit=${ROOMS_PAGE}`);
      if (this.#ended) return;
      if (status === 200) this.#tellUnread(body.filter((info) => info.role !== null));
      // Where no room has a stream, this is what notices that nothing answers.
      else if (status === 0 || status === 401) this.#lost({ status });
      if (!this.#ended) this.#watchUnread();
    }, part * UNREAD_EVERY_MS);
  }

  #tellUnread(rooms) {
    const first = this.#told === null;
    const told = this.#told ?? new Map();
    this.#told = told;
    for (const info of rooms) {
      const { slug: room, unread, mentions } = info;
      const before = told.get(room);
      told.set(room, { unread, mentions });
      if (!first && !before) this.#on.frame({ type: 'room_added', info });
      const changed = (before?.unread ?? 0) !== unread || (before?.mentions ?? 0) !== mentions;
      const live = this.#streams.some((stream) => stream.slug === room);
      if (changed && !live && !this.#ended) this.#on.frame({ type: 'unread', room, unread, mentions });
    }
  }

  // ---- what is said

  #queue(frame) {
    // What is waiting already is not asked for twice, and of read marks the newest says it all.
    if (frame.ref !== undefined && this.#calls.some((call) => call.ref === frame.ref)) return;
    const waiting = this.#calling ? this.#calls.slice(1) : this.#calls;
    const older = waiting.find((call) => call.type === 'read' && frame.type === 'read' && call.room === frame.room);
    if (older) older.seq = frame.seq;
    else this.#calls.push(frame);
    if (!this.#calling) this.#work();
  }

  // One after the other: what a person says must not overtake itself.
  async #work() {
    this.#calling = true;
    while (this.#calls.length > 0 && !this.#ended) {
      const [frame] = this.#calls;
      const answer = await this.#request(...asCall(frame));
      if (this.#ended) return;
      this.#calls.shift();
      if (answer.status === 0 || answer.status === 401) this.#lost(answer);
      else this.#answered(frame, answer);
    }
    this.#calling = false;
  }

  #answered(frame, answer) {
    const { ref, room, nonce } = frame;
    if (answer.status >= 300) {
      this.#on.frame(refusal(answer, { ref, room, nonce }));
    } else if (frame.type === 'send') {
      const { id, created_at } = answer.body;
      const ack = { type: 'ack', ref, room: answer.body.room, nonce, id, seq: id, created_at };
      this.#on.frame({ ...ack, duplicate: answer.status === 200 });
    } else if (frame.type !== 'read') {
      this.#on.frame({ type: 'ack', ref, room: answer.body.room, id: frame.id, seq: answer.body.seq });
    }
  }

  // ---- HTTP

  /** Gives `{status, body, response}`; status 0 when nothing answered. */
  async #request(method, path, body = undefined, waitMs = ANSWER_WAIT_MS) {
    const abort = new AbortController();
    const timer = this.#clock.setTimeout(() => abort.abort(), waitMs);
    this.#requests.add(abort);
    try {
      return await parsed(await this.#fetch(method, path, {}, body, abort.signal));
    } catch {
      return DEAD;
    } finally {
      this.#clock.clearTimeout(timer);
      this.#requests.delete(abort);
    }
  }

  async #fetch(method, path, headers, body, signal) {
    const { base, fetch, token } = this.#options;
    const json = body === undefined ? {} : { 'Content-Type': 'application/json' };
    return fetch(`${base}${path}`, {
      method,
      headers: { ...await bearer(token), ...headers, ...json },
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: 'same-origin',
      cache: 'no-store',
      signal,
    });
  }

  #wait(ms) {
    return new Promise((done) => {
      this.#clock.setTimeout(done, ms);
    });
  }

  // After what runs now, as a socket's answer would come.
  #later(frame) {
    queueMicrotask(() => !this.#ended && this.#on.frame(frame));
  }

  // ---- the end

  #lost({ status }) {
    this.#gone(status === 401 ? 4010 : 1006);
  }

  #gone(code) {
    if (this.#ended) return;
    const { live } = this;
    this.#end();
    this.#on.gone({ code, live });
  }

  #end() {
    this.#ended = true;
    this.live = false;
    this.#clock.clearTimeout(this.#unreadTimer);
    for (const request of this.#requests) request.abort();
    this.#streams = [];
    this.#calls = [];
  }
}

/**
 * @typedef {{room: string | number, slug: string | null, ref: any, limit?: number, after: number | null,
 *   epoch: string | null, heardAt: number, short: number, told: boolean, abort: AbortController | null, over: boolean}} Stream
 */

const DEAD = { status: 0, body: null, response: null };

/** What is so by default; a server's own stand in the `welcome` of a socket only. */
const LIMITS = {
  messages_per_s: 10, message_burst: 20, rooms_per_socket: STREAMS_MAX, content_chars: 4_000, frame_bytes: 65_536,
};

async function parsed(response) {
  const body = response.status === 204 ? null : await response.json().catch(() => null);
  // An answer of ours is JSON; a page that something in between puts in its place is no answer.
  return response.ok && response.status !== 204 && body === null ? DEAD : { status: response.status, body, response };
}

/** The call that says what a frame says: method, path, body. */
function asCall(frame) {
  const room = `/api/rooms/${encodeURIComponent(frame.room)}`;
  const { content, nonce, reply_to } = frame;
  switch (frame.type) {
    case 'send': return ['POST', `${room}/messages`, { content, nonce, reply_to }];
    case 'edit': return ['PATCH', `${room}/messages/${frame.id}`, { content }];
    case 'delete': return ['DELETE', `${room}/messages/${frame.id}`];
    default: return ['PUT', `${room}/read`, { seq: frame.seq }];
  }
}

/** The error frame that a refused call is. */
function refusal({ response, body }, echo) {
  const { code, message, retry_after_ms = 0 } = problem(response, body);
  const frame = { type: 'error', ...echo, code, detail: message };
  return retry_after_ms > 0 ? { ...frame, retry_after_ms } : frame;
}
