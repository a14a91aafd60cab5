// What was written and not answered yet: kept, sent, sent again, settled. Each once, in order, whatever sockets do.

import { Outbox, SalonError, backoffMs, mayRetry, newNonce } from './salon-core.js';

const FRAME_BYTES = 65_536;

export class Sends {
  /** The server's bound on a frame. */
  frameBytes = FRAME_BYTES;
  #outbox = new Outbox();
  #waiters = new Map();
  #timer = null;
  #line;
  #clock;
  #random;
  #tell;
  #keep = /** @type {import('./salon-keep.js').Keep | null} */ (null);

  /** `tell(type, detail)` tells the page. */
  constructor({ line, tell }) {
    this.#line = line;
    this.#clock = line.clock;
    this.#random = line.random;
    this.#tell = tell;
  }

  get size() {
    return this.#outbox.size;
  }

  /** Messages without an answer, oldest first. */
  unsent() {
    return this.#outbox.entries().filter(({ frame }) => frame.type === 'send').map(unsentOf);
  }

  /** From now on messages are kept where `make` says; what pages that are gone left there is taken over. */
  keepIn(make) {
    const keep = this.#keep ?? make();
    if (!this.#keep) for (const unsent of this.unsent()) keep.put(unsent);
    this.#keep = keep;
    keep.open((left) => left.forEach((unsent) => this.#restore(unsent)));
  }

  send(room, content, { nonce = newNonce(), reply_to = undefined, at = undefined } = {}) {
    const frame = { type: 'send', ref: nonce, room, content, nonce, reply_to };
    return { nonce, done: this.post(nonce, room, frame, at) };
  }

  /** For any frame that is answered under its `ref`; `at` is when it was written. */
  post(ref, room, frame, at = this.#clock.now()) {
    const done = new Promise((resolve, reject) => {
      if (new TextEncoder().encode(JSON.stringify(frame)).length > this.frameBytes) {
        reject(new SalonError('too_large', 'this is too long to send'));
        return;
      }
      try {
        if (!this.#outbox.get(ref)) this.#add(ref, room, frame, at);
      } catch (full) {
        reject(full);
        return;
      }
      const waiters = this.#waiters.get(ref) ?? [];
      this.#waiters.set(ref, [...waiters, { resolve, reject }]);
      this.pump();
    });
    done.catch(() => {});
    return done;
  }

  /** Writes what is due, as far as there is a line. */
  pump() {
    this.#clock.clearTimeout(this.#timer);
    if (!this.#line.main) return;
    const now = this.#clock.now();
    for (const entry of this.#outbox.take(now)) this.#line.send(entry.frame);
    const wakeAt = this.#outbox.wakeAt(now);
    if (wakeAt < Infinity) this.#timer = this.#clock.setTimeout(() => this.pump(), Math.max(1, wakeAt - now));
  }

  /** The line is another one now: what it was to answer is to be asked anew. */
  lost() {
    this.#outbox.lost();
  }

  settle(ref, ack) {
    if (!this.#takeOut(ref)) return;
    for (const waiter of this.#takeWaiters(ref)) waiter.resolve(ack);
    this.pump();
  }

  /** One's own message, seen: as good as its ack, which may have gone with the last socket. */
  settleOwn(message, user) {
    if (!message.nonce || message.author_id !== user?.id) return;
    const entry = this.#outbox.get(message.nonce);
    if (entry?.frame.type === 'send') this.settle(message.nonce, { ...message, type: 'ack', seq: message.id });
  }

  /** An error frame: true if it was about one of these. */
  refused(ref, frame) {
    const entry = this.#outbox.get(ref);
    if (!entry) return false;
    const waitMs = frame.retry_after_ms ?? backoffMs(entry.tries + 1, this.#random);
    const again = mayRetry(frame.code) && this.#outbox.refuse(ref, this.#clock.now(), waitMs);
    if (!again) this.#fail(this.#takeOut(ref), new SalonError(frame.code, frame.detail));
    this.pump();
    return true;
  }

  /** The server would not take a frame of that size: the largest that was on its way fails, lest it comes again. */
  tooLarge() {
    const size = ({ frame }) => JSON.stringify(frame).length;
    const [largest] = this.#outbox.entries().filter(({ sentAt }) => sentAt !== null).sort((a, b) => size(b) - size(a));
    if (largest) this.#fail(this.#takeOut(largest.ref), new SalonError('too_large', 'this is too long to send'));
  }

  /** Gives up a message; true if nothing of it ever went out. */
  discard(nonce) {
    const entry = this.#takeOut(nonce);
    if (!entry) return false;
    this.#fail(entry, new SalonError('discarded', 'given up'));
    this.pump();
    return !entry.touched;
  }

  /** Everything fails; `keep`: what is stored stays, for when the same user is back. */
  end(why, { keep }) {
    if (keep) this.#forgetKeep();
    for (const entry of this.#outbox.drain()) {
      this.#keep?.remove(entry.ref);
      this.#fail(entry, why);
    }
    this.#forgetKeep();
  }

  #add(ref, room, frame, at) {
    const entry = this.#outbox.add(ref, room, frame);
    entry.at = at;
    if (frame.type === 'send') this.#keep?.put(unsentOf(entry));
  }

  #forgetKeep() {
    this.#keep?.close();
    this.#keep = null;
  }

  #restore(unsent) {
    const { room, nonce, content, reply_to, at } = unsent;
    if (this.#outbox.get(nonce)) return;
    const { done } = this.send(room, content, { nonce, reply_to, at });
    const entry = this.#outbox.get(nonce);
    // No place for it now: it stays stored for another page.
    if (!entry) return;
    // What the page before did with it nobody knows.
    entry.touched = true;
    this.#tell('restored', { room, nonce, content, reply_to, at, done });
  }

  #takeOut(ref) {
    const entry = this.#outbox.settle(ref);
    if (entry?.frame.type === 'send') this.#keep?.remove(ref);
    return entry;
  }

  #fail(entry, error) {
    const { ref, room, frame } = entry;
    this.#tell('failed', { ref, room, nonce: frame.nonce, code: error.code, detail: error.message });
    for (const waiter of this.#takeWaiters(ref)) waiter.reject(error);
  }

  #takeWaiters(ref) {
    const waiters = this.#waiters.get(ref) ?? [];
    this.#waiters.delete(ref);
    return waiters;
  }
}

/** @returns {import('./salon-keep.js').Unsent} */
function unsentOf({ frame, at }) {
  const { room, nonce, content, reply_to } = frame;
  return { room, nonce, content, reply_to, at };
}
