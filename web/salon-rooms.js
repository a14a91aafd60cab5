// The rooms that are wanted: joined again whenever the line is another one, and every frame of theirs held against the
// order that the server promises.

import { CHANGES, SalonError, backoffMs, checkJoined, checkOrder, mayRetry } from './salon-core.js';

const TYPING_EVERY_MS = 3_000;
/** Rooms in one `join` frame, far below the frame limit. */
const JOIN_BATCH = 50;
/** A violation after a quiet minute is mended at once again. */
const VIOLATION_QUIET_MS = 60_000;

export class Rooms {
  #rooms = new Map();
  #line;
  #clock;
  #random;
  #tell;
  #seen;
  #ref;

  /** `tell(type, detail)` tells the page; `seen(message)` is said of all that comes; `ref(kind)` gives a new `ref`. */
  constructor({ line, tell, seen, ref }) {
    this.#line = line;
    this.#clock = line.clock;
    this.#random = line.random;
    this.#tell = tell;
    this.#seen = seen;
    this.#ref = ref;
  }

  /** Whether a room still hangs on this socket. */
  needs(socket) {
    return [...this.#rooms.values()].some((room) => room.socket === socket);
  }

  join(key, { after, epoch, limit }) {
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

  leave(key) {
    const room = this.#find(key);
    if (!room) return;
    this.#drop(room, new SalonError('closed', 'left'));
    this.#line.send({ type: 'leave', room: room.key });
  }

  forgetAll(why) {
    for (const room of [...this.#rooms.values()]) this.#drop(room, why);
  }

  position(key) {
    const room = this.#find(key);
    return room && room.epoch !== null ? { after: room.seq, epoch: room.epoch } : undefined;
  }

  typing(key) {
    const room = this.#find(key);
    const now = this.#clock.now();
    if (!room || now - room.typedAt < TYPING_EVERY_MS) return;
    if (this.#line.send({ type: 'typing', room: room.key })) room.typedAt = now;
  }

  read(key, seq) {
    const room = this.#find(key);
    if (!room || seq <= room.read) return;
    room.read = seq;
    room.readSent = this.#line.send({ type: 'read', room: room.key, seq });
  }

  /** The line is up: all are asked for. */
  up() {
    this.#sendJoins([...this.#rooms.values()]);
  }

  down(socket) {
    for (const room of this.#rooms.values()) {
      if (room.socket === socket) room.socket = null;
      if (room.awaiting?.socket === socket) room.awaiting = null;
    }
  }

  /** Any frame that may be about a room; those that nobody here wants are told as they are. */
  heard(socket, frame) {
    if (CHANGES.has(frame.type)) this.#changed(socket, frame);
    else if (frame.type === 'joined') this.#joined(socket, frame);
    else if (frame.type === 'parked') this.#parked(socket, frame);
    else this.#other(socket, frame);
  }

  /** An error frame: true if it was the answer to a join. */
  refused(ref, frame) {
    const joining = [...this.#rooms.values()].filter((room) => ref !== undefined && room.awaiting?.ref === ref);
    const named = this.#find(frame.room);
    const meant = named ? joining.filter((room) => room === named) : joining;
    for (const room of meant) this.#joinRefused(room, frame);
    return meant.length > 0;
  }

  // ---- coming in

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
    for (const message of frame.messages) this.#seen(message);
    this.#tell('joined', { ...frame, reset });
    for (const waiter of room.waiters.splice(0)) waiter.resolve(frame);
    if (!room.readSent && room.read > 0) room.readSent = socket.send({ type: 'read', room: room.key, seq: room.read });
    this.#line.releaseRetired();
  }

  #joinRefused(room, frame) {
    room.tries += 1;
    if (mayRetry(frame.code)) {
      this.#joinLater(room, Math.max(frame.retry_after_ms ?? 0, backoffMs(room.tries, this.#random)));
      return;
    }
    this.#tell('join_failed', { room: room.key, code: frame.code, detail: frame.detail });
    this.#drop(room, new SalonError(frame.code, frame.detail));
  }

  // Frames of the room are not listened to until the answer: it brings them all.
  #joinLater(room, waitMs) {
    room.awaiting = { socket: this.#line.main, ref: null, after: null, epoch: null };
    room.timer = this.#clock.setTimeout(() => {
      if (this.#line.main && room.awaiting?.socket === this.#line.main) this.#sendJoins([room]);
    }, waitMs);
  }

  #parked(socket, frame) {
    const room = this.#find(frame.room);
    if (!room || socket !== this.#line.main) return;
    Object.assign(room, { socket: null, awaiting: null });
    for (const waiter of room.waiters.splice(0)) waiter.reject(new SalonError('parked', 'too many rooms at once'));
    this.#tell('parked', { room: room.key });
  }

  // ---- being in

  #changed(socket, change) {
    const room = this.#find(change.room);
    if (room && room.socket === socket && room.awaiting?.socket !== socket) {
      const order = checkOrder(room.position, change);
      if (order === 'next') {
        room.position = change.seq;
        if (change.seq > room.seq) {
          room.seq = change.seq;
          this.#tell('change', change);
        }
      } else {
        this.#violated(room, order, room.position, change);
      }
    }
    this.#seen(change);
  }

  #violated(room, kind, previous, frame) {
    // A wrong answer says that our position is no good there: then from the latest page.
    if (frame.type === 'joined') Object.assign(room, { seq: null, epoch: null });
    this.#tell('violation', { room: room.key, kind, previous, frame });
    const now = this.#clock.now();
    room.violations = now - room.violatedAt > VIOLATION_QUIET_MS ? 0 : room.violations + 1;
    room.violatedAt = now;
    this.#joinLater(room, room.violations === 0 ? 0 : backoffMs(room.violations, this.#random));
  }

  #other(socket, frame) {
    const room = this.#find(frame.room);
    // While two sockets stand, each room is told of by one of them.
    if (room ? room.socket !== null && room.socket !== socket : socket !== this.#line.main) return;
    if (frame.type === 'removed' && room) this.#drop(room, new SalonError('forbidden', frame.reason));
    this.#tell(frame.type, frame);
  }

  // ---- the list

  #find(key) {
    const room = this.#rooms.get(key);
    if (room || key === undefined) return room;
    for (const other of this.#rooms.values()) if (other.id === key) return other;
    return undefined;
  }

  #drop(room, why) {
    this.#rooms.delete(room.key);
    this.#clock.clearTimeout(room.timer);
    for (const waiter of room.waiters.splice(0)) waiter.reject(why);
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
}

const UNJOINED = {
  id: undefined, socket: null, position: null, awaiting: null, timer: null, tries: 0,
  typedAt: -Infinity, read: 0, readSent: true, violations: 0, violatedAt: -Infinity,
};
