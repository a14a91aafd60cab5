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
import { CHANGES, SalonError, backoffMs, checkJoined, checkOrder, mayRetry } from './salon-core.js';
import { Keep } from './salon-keep.js';
import { Line } from './salon-line.js';
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

const TYPING_EVERY_MS = 3_000;
/** Rooms in one `join` frame, far below the frame limit. */
const JOIN_BATCH = 50;
/** A violation after a quiet minute is mended at once again. */
const VIOLATION_QUIET_MS = 60_000;

export class Salon extends EventTarget {
  /** Who is logged in: of the last `welcome`, or as `connect` was told. @type {User | null} */
  user = null;
  #options;
  #line;
  #clock;
  #random;
  #rooms = new Map();
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
      needs: (socket) => [...this.#rooms.values()].some((room) => room.socket === socket),
    });
    this.#clock = this.#line.clock;
    this.#random = this.#line.random;
    this.#sends = new Sends({
      clock: this.#clock,
      random: this.#random,
      write: (frame) => (frame === null ? this.#line.main !== null : this.#line.send(frame)),
      tell: (type, detail) => this.#emit(type, detail),
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

  /** Ends it for good: rooms are forgotten, and what was not acknowledged fails as `closed`. */
  close() {
    const closed = new SalonError('closed', 'the connection was closed');
    for (const room of [...this.#rooms.values()]) this.#dropRoom(room, closed);
    this.#sends.end(closed);
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
  join(key, { after, epoch, limit } = {}) {
    let room = this.#find(key);
    if (!room) room = { key, limit, epoch: epoch ?? null, seq: after ?? null, waiters: [], ...UNJOINED };
    // The one asked for last is the last to be parked.
    this.#rooms.delete(room.key);
    this.#rooms.set(room.key, room);
    const answer = new Promise((resolve, reject) => room.waiters.push({ resolve, reject }));
    answer.catch(() => {});
    if (this.#line.main && !room.awaiting) this.#sendJoins([room]);
    return answer;
  }

  /** @param {RoomKey} key */
  leave(key) {
    const room = this.#find(key);
    if (!room) return;
    this.#dropRoom(room, new SalonError('closed', 'left'));
    this.#line.send({ type: 'leave', room: room.key });
  }

  /**
   * The last `seq` and epoch of a room, to come back to it later; undefined when it is not joined.
   *
   * @param {RoomKey} key
   * @returns {{after: number, epoch: string} | undefined}
   */
  position(key) {
    const room = this.#find(key);
    return room && room.epoch !== null ? { after: room.seq, epoch: room.epoch } : undefined;
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
    const room = this.#find(key);
    const now = this.#clock.now();
    if (!room || now - room.typedAt < TYPING_EVERY_MS) return;
    if (this.#line.send({ type: 'typing', room: room.key })) room.typedAt = now;
  }

  /**
   * Moves the read mark of a joined room; without a connection, as soon as there is one.
   *
   * @param {RoomKey} key
   * @param {number} seq
   */
  read(key, seq) {
    const room = this.#find(key);
    if (!room || seq <= room.read) return;
    room.read = seq;
    room.readSent = this.#line.send({ type: 'read', room: room.key, seq });
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
    this.#sendJoins([...this.#rooms.values()]);
    // The new socket knows nothing of what the old one was still to answer; the nonces keep it single.
    this.#sends.lost();
    this.#keep();
    this.#sends.pump();
  }

  /** What one user wrote must never go out in the name of another; it waits in storage for its writer. */
  #become(user) {
    if (this.user && this.user.id !== user.id) {
      this.#sends.end(new SalonError('closed', 'somebody else is logged in now'), { kept: true });
    }
    this.user = user;
  }

  #keep() {
    const { storage, locks, base } = this.#options;
    const scope = `${base} ${this.user?.id}`;
    this.#sends.keepIn(() => new Keep({ storage, locks, scope, now: this.#clock.now }));
  }

  #down(socket, code) {
    if (code === 1009) this.#sends.tooLarge();
    for (const room of this.#rooms.values()) {
      if (room.socket === socket) room.socket = null;
      if (room.awaiting?.socket === socket) room.awaiting = null;
    }
    if (this.#line.main) return;
    this.#sends.lost();
    this.#giveUpAsked();
  }

  #giveUpAsked() {
    for (const { reject } of this.#asked.values()) reject(new SalonError('closed', 'there is no connection'));
    this.#asked.clear();
  }

  // ---- rooms

  #find(key) {
    const room = this.#rooms.get(key);
    if (room || key === undefined) return room;
    for (const other of this.#rooms.values()) if (other.id === key) return other;
    return undefined;
  }

  #dropRoom(room, why) {
    this.#rooms.delete(room.key);
    this.#clock.clearTimeout(room.timer);
    for (const waiter of room.waiters.splice(0)) waiter.reject(why);
    this.#line.releaseRetired();
  }

  #sendJoins(rooms) {
    for (let at = 0; at < rooms.length; at += JOIN_BATCH) {
      const batch = rooms.slice(at, at + JOIN_BATCH);
      const ref = this.#ref('j');
      const wanted = batch.map((room) => {
        this.#clock.clearTimeout(room.timer);
        const { seq: after, epoch } = room;
        room.awaiting = { socket: this.#line.main, ref, after, epoch };
        const since = after !== null ? { after, epoch: epoch ?? undefined } : {};
        return { room: room.key, limit: room.limit, ...since };
      });
      this.#line.send(wanted.length === 1 ? { type: 'join', ref, ...wanted[0] } : { type: 'join', ref, rooms: wanted });
    }
  }

  #joined(socket, frame) {
    const room = this.#find(frame.room) ?? this.#find(frame.info?.id) ?? this.#awaited(frame.ref);
    if (!room || socket !== this.#line.main) return;
    const asked = room.awaiting ?? { after: room.position, epoch: room.epoch };
    const wrong = checkJoined(asked, frame);
    if (wrong) {
      this.#violated(room, wrong, asked.after, frame);
      return;
    }
    this.#rekey(room, frame.room);
    const reset = frame.reset || room.seq === null || (room.epoch ?? frame.epoch) !== frame.epoch;
    Object.assign(room, {
      id: frame.info?.id ?? room.id,
      epoch: frame.epoch,
      // A node may be a moment behind the one we come from: what we hold stays ours.
      seq: reset ? frame.seq : Math.max(room.seq, frame.seq),
      position: frame.seq,
      socket,
      awaiting: null,
      tries: 0,
    });
    for (const message of frame.messages) this.#sends.settleOwn(message, this.user);
    this.#emit('joined', { ...frame, reset });
    for (const waiter of room.waiters.splice(0)) waiter.resolve(frame);
    if (!room.readSent && room.read > 0) room.readSent = socket.send({ type: 'read', room: room.key, seq: room.read });
    this.#line.releaseRetired();
  }

  // It was asked for by id, or by a name that is not quite its own; its place in the order stays.
  #rekey(room, key) {
    if (room.key === key) return;
    room.key = key;
    const rooms = [...this.#rooms.values()];
    this.#rooms = new Map(rooms.map((one) => [one.key, one]));
  }

  #awaited(ref) {
    const waiting = [...this.#rooms.values()].filter((room) => room.awaiting && room.awaiting.ref === ref);
    return waiting.length === 1 ? waiting[0] : undefined;
  }

  #changed(socket, change) {
    const room = this.#find(change.room);
    if (room && room.socket === socket && room.awaiting?.socket !== socket) {
      const order = checkOrder(room.position, change);
      if (order === 'next') {
        room.position = change.seq;
        if (change.seq > room.seq) {
          room.seq = change.seq;
          this.#emit('change', change);
        }
      } else {
        this.#violated(room, order, room.position, change);
      }
    }
    this.#sends.settleOwn(change, this.user);
  }

  #violated(room, kind, previous, frame) {
    // A wrong answer says that our position is no good there: then from the latest page.
    if (frame.type === 'joined') Object.assign(room, { seq: null, epoch: null });
    this.#emit('violation', { room: room.key, kind, previous, frame });
    const now = this.#clock.now();
    room.violations = now - room.violatedAt > VIOLATION_QUIET_MS ? 0 : room.violations + 1;
    room.violatedAt = now;
    this.#joinLater(room, room.violations === 0 ? 0 : backoffMs(room.violations, this.#random));
  }

  // Frames of the room are not listened to until the answer: it brings them all.
  #joinLater(room, waitMs) {
    room.awaiting = { socket: this.#line.main, ref: null, after: null, epoch: null };
    room.timer = this.#clock.setTimeout(() => {
      if (this.#line.main && room.awaiting?.socket === this.#line.main) this.#sendJoins([room]);
    }, waitMs);
  }

  #joinRefused(room, frame) {
    room.tries += 1;
    if (mayRetry(frame.code)) {
      this.#joinLater(room, Math.max(frame.retry_after_ms ?? 0, backoffMs(room.tries, this.#random)));
      return;
    }
    this.#emit('join_failed', { room: room.key, code: frame.code, detail: frame.detail });
    this.#dropRoom(room, new SalonError(frame.code, frame.detail));
  }

  #parked(socket, frame) {
    const room = this.#find(frame.room);
    if (!room || socket !== this.#line.main) return;
    Object.assign(room, { socket: null, awaiting: null });
    for (const waiter of room.waiters.splice(0)) waiter.reject(new SalonError('parked', 'too many rooms at once'));
    this.#emit('parked', { room: room.key });
  }

  // ---- frames

  #heard(socket, frame) {
    if (CHANGES.has(frame.type)) return this.#changed(socket, frame);
    switch (frame.type) {
      case 'joined': return this.#joined(socket, frame);
      case 'parked': return this.#parked(socket, frame);
      case 'error': return this.#refused(frame);
      case 'ack':
        this.#sends.settle(frame.ref ?? frame.nonce, frame);
        return this.#emit('ack', frame);
      case 'authenticated': return this.#authenticated(frame);
      case 'reconnect':
        if (socket === this.#line.main) this.#line.move(frame.within_ms ?? 0);
        return this.#emit('reconnect', frame);
      case 'pong': return undefined;
      default: return this.#other(socket, frame);
    }
  }

  #other(socket, frame) {
    const room = this.#find(frame.room);
    // While two sockets stand, each room is told of by one of them.
    if (room ? room.socket !== null && room.socket !== socket : socket !== this.#line.main) return;
    if (frame.type === 'removed' && room) this.#dropRoom(room, new SalonError('forbidden', frame.reason));
    this.#emit(frame.type, frame);
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
    asked?.reject(new SalonError(frame.code, frame.detail));
    const joining = [...this.#rooms.values()].filter((room) => ref !== undefined && room.awaiting?.ref === ref);
    const named = this.#find(frame.room);
    const meant = named ? joining.filter((room) => room === named) : joining;
    for (const room of meant) this.#joinRefused(room, frame);
    if (meant.length === 0 && !asked) this.#emit('error', frame);
  }

  #ref(kind) {
    this.#refs += 1;
    return `${kind}${this.#refs}`;
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

const UNJOINED = {
  id: undefined, socket: null, position: null, awaiting: null, timer: null, tries: 0,
  typedAt: -Infinity, read: 0, readSent: true, violations: 0, violatedAt: -Infinity,
};

/** The storage of the page we are in; null where there is none, or its person does not want any. */
function pageStorage() {
  try {
    return globalThis.document ? globalThis.localStorage : null;
  } catch {
    return null;
  }
}
