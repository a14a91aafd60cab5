// The rules of the connection as plain values: no socket, no clock, no randomness of their own. Time and chance are
// handed in, so that tests can say what happens when.

export const BACKOFF_MIN_MS = 500;
export const BACKOFF_MAX_MS = 30_000;
/** How long a frame may be without its answer before it is sent again with the same nonce. */
export const ACK_WAIT_MS = 15_000;
/** Frames on the wire without an answer; more would only run into the server's rate limit and lose their order. */
export const IN_FLIGHT_MAX = 8;
/** Frames kept for sending; a person who writes more than this while offline is told so. */
export const OUTBOX_MAX = 500;
/** Refusals of the kind "not now" before a frame is reported as failed. */
export const TRIES_MAX = 10;

/** The types of a room's changes: they move its clock. */
export const CHANGES = new Set(['chat_message', 'message_edited', 'message_deleted', 'message_reacted']);

/** An error frame or problem: `code` is what programs branch on, `message` is for a person. */
export class SalonError extends Error {
  /** By field, where `code` is `invalid`. @type {Record<string, string> | undefined} */
  errors;
  /** Of HTTP. @type {number | undefined} */
  status;
  /** @type {number | undefined} */
  retry_after_ms;

  /** @param {string} code @param {string} [detail] @param {object} [more] */
  constructor(code, detail = code, more = {}) {
    super(detail);
    this.name = 'SalonError';
    this.code = code;
    Object.assign(this, more);
  }
}

/** Full jitter: anything between nothing and a ceiling that doubles, so that many who were cut off together spread out. */
export function backoffMs(attempt, random = Math.random) {
  const ceiling = Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** Math.min(attempt, 16));
  return random() * ceiling;
}

/** What a close code asks for: `return` with backoff, or `stop` until a person acts. */
export function afterClose(code) {
  return code >= 4500 && code <= 4999 ? 'stop' : 'return';
}

/** True where the same frame may be sent again: nothing is known to be wrong with it. */
export function mayRetry(code) {
  return code === 'unavailable' || code === 'rate_limited';
}

/**
 * Puts a change into a map by message id, if it is newer than what is there; says whether it did.
 * Pages, catch-ups and live frames may overlap and arrive in any order: the highest `seq` is the present state.
 */
export function mergeChange(messages, change) {
  const held = messages.get(change.id);
  if (held && held.seq >= change.seq) return false;
  messages.set(change.id, change);
  return true;
}

/**
 * Where a live frame stands to the last `seq` of its room on this socket: `next` is right, `stale` was there before,
 * `hole` leaves something out that the frame does not declare by `from`.
 */
export function checkOrder(previous, frame) {
  if (!(frame.seq > previous)) return 'stale';
  return (frame.from ?? frame.seq) <= previous + 1 ? 'next' : 'hole';
}

/**
 * What is wrong with an answer to a join, or null: `epoch` for another life of the clock that is not declared by
 * `reset`, `behind` when it stands before what was asked for, `order` when its messages do not lie between the two in
 * their order. `asked` is `{after, epoch}` of the join; without a position there is less to compare.
 */
export function checkJoined(asked, frame) {
  const { messages, seq } = frame;
  if (messages.some((message) => !(message.seq <= seq))) return 'order';
  if (frame.reset || asked.after === null) return null;
  if (asked.epoch !== null && asked.epoch !== frame.epoch) return 'epoch';
  if (!(seq >= asked.after)) return 'behind';
  const told = [asked.after, ...messages.map((message) => message.seq)];
  return told.every((one, at) => at === 0 || one > told[at - 1]) ? null : 'order';
}

/** 128 random bits as hex. Not `randomUUID`, which browsers give to https pages only. */
export function newNonce(random = globalThis.crypto) {
  const bytes = random.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/**
 * Frames that wait for their answer, in the order in which they were written.
 *
 * A frame is on the wire (`sentAt` is a time) or waiting (`sentAt` is null); `touched` when it ever was there. Within a room nothing overtakes: while a
 * frame waits for its retry, or is being retried, those behind it wait too.
 */
export class Outbox {
  #entries = new Map();

  get size() {
    return this.#entries.size;
  }

  get(ref) {
    return this.#entries.get(ref);
  }

  /** All of them, in order. */
  entries() {
    return [...this.#entries.values()];
  }

  add(ref, room, frame) {
    if (this.#entries.size >= OUTBOX_MAX) throw new SalonError('too_large', 'too many unsent messages');
    const entry = { ref, room, frame, sentAt: null, notBefore: 0, tries: 0, touched: false, at: 0 };
    this.#entries.set(ref, entry);
    return entry;
  }

  /** Takes a frame out: it was answered for good. */
  settle(ref) {
    const entry = this.#entries.get(ref);
    this.#entries.delete(ref);
    return entry;
  }

  /** Takes everything out. */
  drain() {
    const entries = this.entries();
    this.#entries.clear();
    return entries;
  }

  /** A "not now": the frame waits. False when its tries are used up. */
  refuse(ref, now, waitMs) {
    const entry = this.#entries.get(ref);
    if (!entry) return true;
    entry.tries += 1;
    entry.sentAt = null;
    entry.notBefore = now + waitMs;
    return entry.tries < TRIES_MAX;
  }

  /** The socket is gone, and with it the answers: everything is to be sent again on the next one. */
  lost() {
    for (const entry of this.#entries.values()) {
      entry.sentAt = null;
      entry.notBefore = 0;
    }
  }

  /** What is to be written to the socket now, in order; counts as sent. */
  take(now) {
    const { due } = this.#look(now);
    for (const entry of due) {
      entry.sentAt = now;
      // From here on it may be stored, whatever becomes of the answer.
      entry.touched = true;
    }
    return due;
  }

  /** When `take` should be asked again, as a time; Infinity when only an answer changes anything. */
  wakeAt(now) {
    return this.#look(now).wakeAt;
  }

  #look(now) {
    const due = [];
    const blocked = new Set();
    let wakeAt = Infinity;
    let inFlight = 0;
    for (const entry of this.#entries.values()) {
      if (blocked.has(entry.room)) continue;
      const dueAt = entry.sentAt === null ? entry.notBefore : entry.sentAt + ACK_WAIT_MS;
      if (dueAt > now) {
        wakeAt = Math.min(wakeAt, dueAt);
        if (entry.sentAt !== null) inFlight += 1;
        if (entry.sentAt === null || entry.tries > 0) blocked.add(entry.room);
      } else if (inFlight < IN_FLIGHT_MAX) {
        inFlight += 1;
        due.push(entry);
        if (entry.tries > 0) blocked.add(entry.room);
      } else {
        blocked.add(entry.room);
      }
    }
    return { due, wakeAt };
  }
}
