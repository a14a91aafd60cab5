// The connection to a salon server: rooms that stay joined and sends that stay safe while sockets come and go.
// No DOM in it. `new Salon().connect()`, listen to its events, `join` rooms, `send`. Its types are in salon.d.ts, and
// docs/client.md describes every method, event, error and bound.
//
// Events (`event.detail`):
//   state       {state, attempt, retry_at, code, transport}: see STATES
//   welcome     the frame
//   joined      the frame; `reset: true` means: throw away what you hold of this room
//   join_failed {room, code, detail}
//   parked      {room}: not live for now; see join
//   change      a change to merge (each once, in order): see mergeChange
//   restored    {room, nonce, content, reply_to, at, done}: a message of a page before this one goes on being sent
//   failed      {ref, room, nonce, code, detail}: a send, edit or deletion that will not be tried again
//   violation   {room, kind, previous, frame}: the order promise was broken; mended by joining again
//   logged_out  {}: the login session is over; the connection is closed
// and every other frame under its own type (`ack`, `typing`, `user_join`, `unread`, `removed`, …).

import { call } from './http.js';
import { SalonError } from './salon-core.js';
import { Keep } from './salon-keep.js';
import { Line } from './salon-line.js';
import { Rooms } from './salon-rooms.js';
import { Sends } from './salon-sends.js';
import { checkSession } from './salon-session.js';

export * from './salon-core.js';
export { checkSession };

/**
 * @typedef {import('./frames.js').RoomKey} RoomKey
 * @typedef {import('./frames.js').ServerAck} ServerAck
 * @typedef {import('./frames.js').Message} Message
 * @typedef {import('./frames.js').User} User
 */

/**
 * `idle` before connect and after close; `connecting` the first time; `online` from `welcome` on; `reconnecting` while
 * it tries again; `offline` while, besides, nothing answers at all; `stopped` when only a person can go on.
 */
export const STATES = /** @type {const} */ (['idle', 'connecting', 'online', 'reconnecting', 'offline', 'stopped']);

export class Salon extends EventTarget {
  /** Who is logged in: of the last `welcome`, or as `connect` was told. @type {User | null} */
  user = null;
  #options;
  #line;
  #rooms;
  #sends;
  /** Frames that are neither kept nor sent again, by `ref`. */
  #asked = new Map();
  #refs = 0;

  /** @param {any} options see docs/client.md */
  constructor(options = {}) {
    super();
    const base = options.base ?? globalThis.location?.origin ?? '';
    const defaults = {
      base,
      url: `${base.replace(/^http/, 'ws')}/ws`,
      transport: 'auto',
      storage: pageStorage(),
      locks: globalThis.navigator?.locks,
      WebSocket: globalThis.WebSocket,
      fetch: (/** @type {Parameters<typeof fetch>} */ ...request) => globalThis.fetch(...request),
    };
    this.#options = { ...defaults, ...options };
    this.#line = new Line(this.#options, {
      status: (status) => this.#emit('state', status),
      up: (frame) => this.#up(frame),
      frame: (socket, frame) => this.#heard(socket, frame),
      down: (socket, code) => this.#down(socket, code),
      stopped: (code) => code === 4501 && this.#emit('logged_out', {}),
      needs: (socket) => this.#rooms.needs(socket),
    });
    const tell = (type, detail) => this.#emit(type, detail);
    this.#sends = new Sends({ line: this.#line, tell });
    this.#rooms = new Rooms({
      line: this.#line,
      tell,
      seen: (message) => this.#sends.settleOwn(message, this.user),
      ref: (kind) => this.#ref(kind),
    });
  }

  /** What the last `state` event said. */
  get status() {
    return this.#line.status;
  }

  /** Sends, edits and deletions without an answer. */
  get unsent() {
    return this.#sends.size;
  }

  /** Listens to an event's detail; gives the function that ends it. */
  on(type, handle) {
    const listener = (/** @type {any} */ event) => handle(event.detail);
    this.addEventListener(type, listener);
    return () => this.removeEventListener(type, listener);
  }

  /**
   * Begins, or goes on after being stopped. With `user`, when it is known who is logged in, what that user wrote
   * before a reload is taken up at once; else as soon as the connection stands.
   *
   * @param {{user?: User | null}} [known]
   */
  connect({ user = null } = {}) {
    if (user) {
      this.#become(user);
      this.#keep();
    }
    this.#line.connect();
  }

  /**
   * Ends it for good: rooms are forgotten, and what was not acknowledged fails as `closed`. With `keep` it stays stored
   * for when the same user is back.
   *
   * @param {{keep?: boolean}} [how]
   */
  close({ keep = false } = {}) {
    const closed = new SalonError('closed', 'the connection was closed');
    this.#rooms.forgetAll(closed);
    this.#sends.end(closed, { keep });
    this.#line.close();
    this.#giveUpAsked();
    this.user = null;
  }

  /** There is reason for doubt, or hope: makes sure of the socket, or tries again without waiting any longer. */
  check() {
    this.#line.check();
  }

  /**
   * Joins a room (slug or id) and keeps it joined. Resolves with the `joined` frame; rejects when refused. Over event
   * streams only a few rooms are live at once: those joined last; the others are `parked`.
   *
   * @param {RoomKey} key
   * @param {{after?: number, epoch?: string, limit?: number}} [from]
   * @returns {Promise<import('./frames.js').Joined>}
   */
  join(key, from = {}) {
    return this.#rooms.join(key, from);
  }

  /** @param {RoomKey} key */
  leave(key) {
    this.#rooms.leave(key);
  }

  /**
   * The last `seq` and epoch of a room, to come back to it later; undefined when it is not joined.
   *
   * @param {RoomKey} key
   * @returns {{after: number, epoch: string} | undefined}
   */
  position(key) {
    return this.#rooms.position(key);
  }

  /**
   * Gives the nonce at once, and `done`, which resolves with the ack. For another try give the same nonce.
   *
   * @param {RoomKey} room
   * @param {string} content
   * @param {{nonce?: string, reply_to?: number}} [more]
   * @returns {{nonce: string, done: Promise<ServerAck>}}
   */
  send(room, content, { nonce, reply_to } = {}) {
    return this.#sends.send(room, content, { nonce, reply_to });
  }

  /**
   * What was written, to this room or any, and is not answered yet; oldest first.
   *
   * @param {RoomKey} [room]
   */
  pending(room) {
    return this.#sends.unsent().filter((unsent) => room === undefined || unsent.room === room);
  }

  /**
   * Gives up a message that is not answered yet; true if it was certainly not sent.
   *
   * @param {string} nonce
   */
  discard(nonce) {
    return this.#sends.discard(nonce);
  }

  /** @param {RoomKey} room @param {number} id @param {string} content @returns {Promise<ServerAck>} */
  edit(room, id, content) {
    const ref = this.#ref('e');
    return this.#sends.post(ref, room, { type: 'edit', ref, room, id, content });
  }

  /** @param {RoomKey} room @param {number} id @returns {Promise<ServerAck>} */
  delete(room, id) {
    const ref = this.#ref('d');
    return this.#sends.post(ref, room, { type: 'delete', ref, room, id });
  }

  /** May be called at every key stroke. @param {RoomKey} key */
  typing(key) {
    this.#rooms.typing(key);
  }

  /**
   * Moves the read mark of a joined room; without a connection, as soon as there is one.
   *
   * @param {RoomKey} key
   * @param {number} seq
   */
  read(key, seq) {
    this.#rooms.read(key, seq);
  }

  /**
   * Extends a socket that was opened by token; resolves with the `authenticated` frame.
   *
   * @param {string} token
   * @returns {Promise<import('./frames.js').ServerAuthenticated>}
   */
  authenticate(token) {
    const ref = this.#ref('a');
    return new Promise((resolve, reject) => {
      this.#asked.set(ref, { resolve, reject });
      if (!this.#line.send({ type: 'auth', ref, token })) this.#giveUpAsked();
    });
  }

  // ---- over HTTP

  /**
   * Gives a reaction or takes it back; resolves with the message.
   *
   * @param {RoomKey} room
   * @param {number} id
   * @param {string} emoji
   * @returns {Promise<Message>}
   */
  async react(room, id, emoji, on = true) {
    const path = `/api/rooms/${encodeURIComponent(room)}/messages/${id}/reactions/${encodeURIComponent(emoji)}`;
    return (await this.call(on ? 'PUT' : 'DELETE', path)).body;
  }

  /**
   * A page of messages, oldest first; `older` and `newer` say whether there are such.
   *
   * @param {RoomKey} room
   * @param {{before?: number, after?: number, limit?: number}} [page]
   * @returns {Promise<{messages: Message[], older: boolean, newer: boolean}>}
   */
  async history(room, { before, after, limit } = {}) {
    const query = new URLSearchParams();
    for (const [key, value] of Object.entries({ before, after, limit })) if (value != null) query.set(key, String(value));
    const { body, links } = await this.call('GET', `/api/rooms/${encodeURIComponent(room)}/messages?${query}`);
    return { messages: body, older: 'prev' in links, newer: 'next' in links };
  }

  /**
   * Any call of the HTTP interface; renews the log-in when it has run out. Rejects with a SalonError.
   *
   * @param {string} method
   * @param {string} path
   * @param {unknown} [body]
   */
  call(method, path, body) {
    return call(method, path, body, this.#options);
  }

  // ---- sockets

  #up(frame) {
    this.#become(frame.user);
    this.#sends.frameBytes = frame.limits?.frame_bytes ?? this.#sends.frameBytes;
    this.#emit('welcome', frame);
    this.#rooms.up();
    // The new socket knows nothing of what the old one was still to answer; the nonces keep it single.
    this.#sends.lost();
    this.#keep();
    this.#sends.pump();
  }

  /** What one user wrote must never go out in the name of another; it waits in storage for its writer. */
  #become(user) {
    if (this.user && this.user.id !== user.id) {
      this.#sends.end(new SalonError('closed', 'somebody else is logged in now'), { keep: true });
    }
    this.user = user;
  }

  #keep() {
    const { storage, locks, base } = this.#options;
    const scope = `${base} ${this.user?.id}`;
    this.#sends.keepIn(() => new Keep({ storage, locks, scope, now: this.#line.clock.now }));
  }

  #down(socket, code) {
    if (code === 1009) this.#sends.tooLarge();
    this.#rooms.down(socket);
    if (this.#line.main) return;
    this.#sends.lost();
    this.#giveUpAsked();
  }

  #giveUpAsked() {
    for (const { reject } of this.#asked.values()) reject(new SalonError('closed', 'there is no connection'));
    this.#asked.clear();
  }

  // ---- frames

  #heard(socket, frame) {
    switch (frame.type) {
      case 'error':
        this.#refused(frame);
        break;
      case 'ack':
        this.#sends.settle(frame.ref ?? frame.nonce, frame);
        this.#emit('ack', frame);
        break;
      case 'authenticated':
        this.#authenticated(frame);
        break;
      case 'reconnect':
        if (socket === this.#line.main) this.#line.move(frame.within_ms ?? 0);
        this.#emit('reconnect', frame);
        break;
      case 'pong':
        break;
      default:
        this.#rooms.heard(socket, frame);
    }
  }

  #authenticated(frame) {
    this.#asked.get(frame.ref)?.resolve(frame);
    this.#asked.delete(frame.ref);
    this.#emit('authenticated', frame);
  }

  #refused(frame) {
    const ref = frame.ref ?? frame.nonce;
    if (this.#sends.refused(ref, frame)) return;
    const asked = this.#asked.get(ref);
    this.#asked.delete(ref);
    if (asked) asked.reject(new SalonError(frame.code, frame.detail));
    else if (!this.#rooms.refused(ref, frame)) this.#emit('error', frame);
  }

  #ref(kind) {
    this.#refs += 1;
    return `${kind}${this.#refs}`;
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** The storage of the page we are in; null where there is none, or its person does not want any. */
function pageStorage() {
  try {
    return globalThis.document ? globalThis.localStorage : null;
  } catch {
    return null;
  }
}
