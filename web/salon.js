// The connection to a salon server: rooms that stay joined and sends that stay safe while sockets come and go.
// No DOM in it. `new Salon().connect()`, listen to its events, `join` rooms, `send`.
//
// Events (`event.detail`):
//   state       {state, attempt, retry_at, code}: see STATES
//   welcome     the frame
//   joined      the frame; `reset: true` means: throw away what you hold of this room
//   join_failed {room, code, detail}
//   change      a change to merge (each once, in order): see mergeChange
//   failed      {ref, room, nonce, code, detail}: a send, edit or deletion that will not be tried again
//   violation   {room, kind, previous, frame}: the order promise was broken; mended by joining again
//   logged_out  {}: the login session is over; the connection is closed
// and every other frame under its own type (`ack`, `typing`, `user_join`, `unread`, `removed`, …).

import {
  CHANGES, Outbox, SalonError, backoffMs, checkOrder, mayRetry, newNonce,
} from './salon-core.js';
import { Line } from './salon-line.js';
import { checkSession } from './salon-session.js';

export * from './salon-core.js';
export { checkSession };

/**
 * `idle` before connect and after close; `connecting` the first time; `online` from `welcome` on; `reconnecting` while
 * it tries again; `offline` while, besides, nothing answers at all; `stopped` when only a person can go on.
 */
export const STATES = ['idle', 'connecting', 'online', 'reconnecting', 'offline', 'stopped'];

const TYPING_EVERY_MS = 3_000;
/** Rooms in one `join` frame, far below the frame limit. */
const JOIN_BATCH = 50;
const FRAME_BYTES = 65_536;
/** A violation after a quiet minute is mended at once again. */
const VIOLATION_QUIET_MS = 60_000;

export class Salon extends EventTarget {
  /** The user of the last `welcome`. */
  user = null;
  #line;
  #clock;
  #random;
  #rooms = new Map();
  #outbox = new Outbox();
  #waiters = new Map();
  #pumpTimer = null;
  #refs = 0;
  #frameBytes = FRAME_BYTES;

  /** Options, all with defaults for a page: `url`, `base`, `WebSocket`, `fetch`, `clock`, `random`. */
  constructor(options = {}) {
    super();
    const base = options.base ?? globalThis.location?.origin ?? '';
    const defaults = {
      base,
      url: `${base.replace(/^http/, 'ws')}/ws`,
      WebSocket: globalThis.WebSocket,
      fetch: (...request) => globalThis.fetch(...request),
    };
    this.#line = new Line({ ...defaults, ...options }, {
      status: (status) => this.#emit('state', status),
      up: (frame) => this.#up(frame),
      frame: (socket, frame) => this.#heard(socket, frame),
      down: (socket) => this.#down(socket),
      stopped: (code) => code === 4501 && this.#emit('logged_out', {}),
      needs: (socket) => [...this.#rooms.values()].some((room) => room.socket === socket),
    });
    this.#clock = this.#line.clock;
    this.#random = this.#line.random;
  }

  /** What the last `state` event said. */
  get status() {
    return this.#line.status;
  }

  /** Sends, edits and deletions without an answer. */
  get unsent() {
    return this.#outbox.size;
  }

  connect() {
    this.#line.connect();
  }

  /** Ends it for good: rooms are forgotten, and what was not acknowledged fails as `closed`. */
  close() {
    const closed = new SalonError('closed', 'the connection was closed');
    for (const room of [...this.#rooms.values()]) this.#dropRoom(room, closed);
    for (const entry of this.#outbox.drain()) this.#fail(entry, closed);
    this.#line.close();
  }

  /** There is reason for doubt, or hope: makes sure of the socket, or tries again without waiting any longer. */
  check() {
    this.#line.check();
  }

  /** Joins a room (slug or id) and keeps it joined. Resolves with the `joined` frame; rejects when refused. */
  join(key, { after, epoch, limit } = {}) {
    let room = this.#find(key);
    if (!room) {
      room = { key, limit, epoch: epoch ?? null, seq: after ?? null, waiters: [], ...UNJOINED };
      this.#rooms.set(key, room);
    }
    const answer = new Promise((resolve, reject) => room.waiters.push({ resolve, reject }));
    answer.catch(() => {});
    if (this.#line.main && !room.awaiting) this.#sendJoins([room]);
    return answer;
  }

  leave(key) {
    const room = this.#find(key);
    if (!room) return;
    this.#dropRoom(room, new SalonError('closed', 'left'));
    this.#line.send({ type: 'leave', room: room.key });
  }

  /** The last `seq` and epoch of a room, to come back to it later; undefined when it is not joined. */
  position(key) {
    const room = this.#find(key);
    return room && room.epoch !== null ? { after: room.seq, epoch: room.epoch } : undefined;
  }

  /** Gives the nonce at once, and `done`, which resolves with the ack. For another try give the same nonce. */
  send(room, content, { nonce = newNonce(), reply_to } = {}) {
    const frame = { type: 'send', ref: nonce, room, content, nonce, reply_to };
    return { nonce, done: this.#post(nonce, room, frame) };
  }

  edit(room, id, content) {
    const ref = this.#ref('e');
    return this.#post(ref, room, { type: 'edit', ref, room, id, content });
  }

  delete(room, id) {
    const ref = this.#ref('d');
    return this.#post(ref, room, { type: 'delete', ref, room, id });
  }

  /** May be called at every key stroke. */
  typing(key) {
    const room = this.#find(key);
    const now = this.#clock.now();
    if (!room || now - room.typedAt < TYPING_EVERY_MS) return;
    if (this.#line.send({ type: 'typing', room: room.key })) room.typedAt = now;
  }

  /** Moves the read mark of a joined room; without a connection, as soon as there is one. */
  read(key, seq) {
    const room = this.#find(key);
    if (!room || seq <= room.read) return;
    room.read = seq;
    room.readSent = this.#line.send({ type: 'read', room: room.key, seq });
  }

  // ---- sockets

  #up(frame) {
    this.user = frame.user;
    this.#frameBytes = frame.limits?.frame_bytes ?? FRAME_BYTES;
    this.#emit('welcome', frame);
    this.#sendJoins([...this.#rooms.values()]);
    // The new socket knows nothing of what the old one was still to answer; the nonces keep it single.
    this.#outbox.lost();
    this.#pump();
  }

  #down(socket) {
    for (const room of this.#rooms.values()) {
      if (room.socket === socket) room.socket = null;
      if (room.awaiting?.socket === socket) room.awaiting = null;
    }
    if (!this.#line.main) this.#outbox.lost();
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
        room.awaiting = { socket: this.#line.main, ref };
        const since = room.seq !== null ? { after: room.seq, epoch: room.epoch ?? undefined } : {};
        return { room: room.key, limit: room.limit, ...since };
      });
      this.#line.send(wanted.length === 1 ? { type: 'join', ref, ...wanted[0] } : { type: 'join', ref, rooms: wanted });
    }
  }

  #joined(socket, frame) {
    const room = this.#find(frame.room) ?? this.#find(frame.info?.id) ?? this.#awaited(frame.ref);
    if (!room || socket !== this.#line.main) return;
    if (room.key !== frame.room) {
      this.#rooms.delete(room.key);
      room.key = frame.room;
      this.#rooms.set(room.key, room);
    }
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
    for (const message of frame.messages) this.#settleOwn(message);
    this.#emit('joined', { ...frame, reset });
    for (const waiter of room.waiters.splice(0)) waiter.resolve(frame);
    if (!room.readSent && room.read > 0) room.readSent = socket.send({ type: 'read', room: room.key, seq: room.read });
    this.#line.releaseRetired();
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
        this.#emit('violation', { room: room.key, kind: order, previous: room.position, frame: change });
        this.#mend(room);
      }
    }
    this.#settleOwn(change);
  }

  #mend(room) {
    const now = this.#clock.now();
    room.violations = now - room.violatedAt > VIOLATION_QUIET_MS ? 0 : room.violations + 1;
    room.violatedAt = now;
    this.#joinLater(room, room.violations === 0 ? 0 : backoffMs(room.violations, this.#random));
  }

  // Frames of the room are not listened to until the answer: it brings them all.
  #joinLater(room, waitMs) {
    room.awaiting = { socket: this.#line.main, ref: null };
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

  // ---- frames

  #heard(socket, frame) {
    if (CHANGES.has(frame.type)) return this.#changed(socket, frame);
    switch (frame.type) {
      case 'joined': return this.#joined(socket, frame);
      case 'error': return this.#refused(frame);
      case 'ack':
        this.#settle(frame.ref ?? frame.nonce, frame);
        return this.#emit('ack', frame);
      case 'reconnect':
        if (socket === this.#line.main) this.#line.move(frame.within_ms ?? 0);
        return undefined;
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

  #refused(frame) {
    const ref = frame.ref ?? frame.nonce;
    const entry = this.#outbox.get(ref);
    if (entry) {
      const waitMs = frame.retry_after_ms ?? backoffMs(entry.tries + 1, this.#random);
      const again = mayRetry(frame.code) && this.#outbox.refuse(ref, this.#clock.now(), waitMs);
      if (!again) this.#fail(this.#outbox.settle(ref), new SalonError(frame.code, frame.detail));
      this.#pump();
      return;
    }
    const joining = [...this.#rooms.values()].filter((room) => ref !== undefined && room.awaiting?.ref === ref);
    const named = this.#find(frame.room);
    const meant = named ? joining.filter((room) => room === named) : joining;
    for (const room of meant) this.#joinRefused(room, frame);
    if (meant.length === 0) this.#emit('error', frame);
  }

  // ---- sends

  #post(ref, room, frame) {
    const done = new Promise((resolve, reject) => {
      if (new TextEncoder().encode(JSON.stringify(frame)).length > this.#frameBytes) {
        reject(new SalonError('too_large', 'this is too long to send'));
        return;
      }
      try {
        this.#outbox.get(ref) ?? this.#outbox.add(ref, room, frame);
      } catch (full) {
        reject(full);
        return;
      }
      const waiters = this.#waiters.get(ref) ?? [];
      this.#waiters.set(ref, [...waiters, { resolve, reject }]);
      this.#pump();
    });
    done.catch(() => {});
    return done;
  }

  #pump() {
    this.#clock.clearTimeout(this.#pumpTimer);
    if (!this.#line.main) return;
    const now = this.#clock.now();
    for (const entry of this.#outbox.take(now)) this.#line.send(entry.frame);
    const wakeAt = this.#outbox.wakeAt(now);
    if (wakeAt < Infinity) this.#pumpTimer = this.#clock.setTimeout(() => this.#pump(), Math.max(1, wakeAt - now));
  }

  #settle(ref, ack) {
    if (!this.#outbox.settle(ref)) return;
    for (const waiter of this.#takeWaiters(ref)) waiter.resolve(ack);
    this.#pump();
  }

  // One's own message, seen: as good as its ack, which may have gone with the last socket.
  #settleOwn(message) {
    if (!message.nonce || message.author_id !== this.user?.id) return;
    const entry = this.#outbox.get(message.nonce);
    if (entry?.frame.type === 'send') this.#settle(message.nonce, { ...message, type: 'ack', seq: message.id });
  }

  #fail(entry, error) {
    const { ref, room, frame } = entry;
    this.#emit('failed', { ref, room, nonce: frame.nonce, code: error.code, detail: error.message });
    for (const waiter of this.#takeWaiters(ref)) waiter.reject(error);
  }

  #takeWaiters(ref) {
    const waiters = this.#waiters.get(ref) ?? [];
    this.#waiters.delete(ref);
    return waiters;
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
