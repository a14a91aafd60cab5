// The messages of one room that the page holds: a window onto its history, and its live end. Both are bounded, so that
// a room of any length costs the same. No DOM and no network.

import { mergeChange } from './salon-core.js';

/** Messages in the window when it is cut; it may grow by `SLACK` before it is. */
export const WINDOW_MAX = 300;
const SLACK = 50;
/** Messages of the live end that are kept while one reads elsewhere, so that one is back at once. */
const TAIL_MAX = 100;

export class Timeline {
  /** By id: everything in the window and everything of the live end. */
  messages = new Map();
  /** The window: of the ids from `from` to `to` all are here. `to` is Infinity while it ends in the live end. */
  from = Infinity;
  to = Infinity;
  /** Whether the room has messages before `from`. */
  older = false;
  /** From this id on all are here, and every new one comes by itself. */
  tail = Infinity;
  #loads = 0;
  #shown = null;

  get live() {
    return this.to === Infinity;
  }

  /** The window's messages, oldest first. */
  get shown() {
    this.#shown ??= [...this.messages.values()].filter(({ id }) => id >= this.from && id <= this.to).sort(byId);
    return this.#shown;
  }

  /** The highest id that is known, 0 when there is none. */
  get newest() {
    let newest = 0;
    for (const id of this.messages.keys()) if (id > newest) newest = id;
    return newest;
  }

  get(id) {
    return this.messages.get(id);
  }

  has(id) {
    return this.#inRange(id) && this.messages.has(id);
  }

  /** The latest page of the room; what was held is not to be relied on any more. */
  reset(messages, older, head) {
    this.messages.clear();
    Object.assign(this, { from: older ? (messages[0]?.id ?? head + 1) : 0, to: Infinity, older });
    this.tail = this.from;
    for (const message of messages) this.#put(message);
  }

  /** A change that was told; says whether it is a message that was not here before. */
  change(message) {
    const fresh = !this.messages.has(message.id);
    // A page that is being fetched may be older than this change: then it waits for its neighbours.
    if (!this.#inRange(message.id) && this.#loads === 0) return false;
    if (!this.#put(message)) return false;
    if (!this.live) this.#cutTail();
    return fresh && message.id >= this.tail;
  }

  /** While pages are fetched, changes outside of what is held are kept. */
  loading() {
    this.#loads += 1;
    return () => {
      this.#loads -= 1;
      if (this.#loads === 0) this.#prune();
    };
  }

  /** A page that ends right before the window. */
  pageBefore(messages, older) {
    for (const message of messages) this.#put(message);
    this.from = older ? Math.min(this.from, messages[0]?.id ?? this.from) : 0;
    this.older = older;
    if (this.live) this.tail = this.from;
    this.#shown = null;
    this.cutEnd();
  }

  /** A page that begins right after the window. */
  pageAfter(messages) {
    for (const message of messages) this.#put(message);
    this.to = Math.max(this.to, messages.at(-1)?.id ?? this.to);
    // Where nothing comes any more, nothing lies before the live end: it need not be asked for again.
    if (messages.length === 0) this.tail = Math.min(this.tail, this.to + 1);
    this.#meet();
    this.cutStart();
  }

  /** Another window: a page from the midst of the room. */
  around(messages, older) {
    Object.assign(this, { from: older ? messages[0].id : 0, to: messages.at(-1).id, older });
    for (const message of messages) this.#put(message);
    this.#meet();
    this.#prune();
  }

  /** The window goes back to the live end. */
  toLive() {
    if (this.live) return;
    Object.assign(this, { from: this.tail, to: Infinity, older: true });
    this.#prune();
  }

  /** Shortens a window that grew too long, at its beginning. */
  cutStart() {
    const { shown } = this;
    if (shown.length <= WINDOW_MAX + SLACK) return;
    this.from = shown[shown.length - WINDOW_MAX].id;
    this.older = true;
    if (this.live) this.tail = this.from;
    this.#prune();
  }

  /** The same at its end, which takes it off the live end. */
  cutEnd() {
    const { shown } = this;
    if (shown.length <= WINDOW_MAX + SLACK) return;
    this.to = shown[WINDOW_MAX - 1].id;
    this.#cutTail();
    this.#prune();
  }

  // Where the window has reached the live end they are one.
  #meet() {
    this.#shown = null;
    if (this.tail > this.to + 1) return;
    this.to = Infinity;
    this.tail = this.from;
  }

  #cutTail() {
    const ids = [...this.messages.keys()].filter((id) => id >= this.tail).sort((a, b) => a - b);
    if (ids.length <= TAIL_MAX + SLACK && this.tail > this.to) return;
    this.tail = ids[Math.max(0, ids.length - TAIL_MAX)];
    this.#prune();
  }

  #inRange(id) {
    return (id >= this.from && id <= this.to) || id >= this.tail;
  }

  #put(message) {
    this.#shown = null;
    return mergeChange(this.messages, message);
  }

  #prune() {
    this.#shown = null;
    if (this.#loads > 0) return;
    for (const id of this.messages.keys()) if (!this.#inRange(id)) this.messages.delete(id);
  }
}

function byId(a, b) {
  return a.id - b.id;
}
