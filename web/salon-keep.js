// Unsent messages in the browser's storage, so that a reload, a crash or a closed tab does not lose them.
//
// Each belongs to the page that will send it. A page holds a Web Lock for as long as it lives, and who gets the lock of
// another one knows that it is gone, and takes its messages over. Where there are no locks everybody takes everything:
// then two pages may send the same, which its nonce keeps single.

import { OUTBOX_MAX, newNonce } from './salon-core.js';

/** Messages that one page stores; what is beyond lives only as long as the page. */
export const STORED_MAX = 200;
/** What nobody came back for within this is forgotten. */
export const STORED_FOR_MS = 7 * 24 * 60 * 60 * 1000;

const PREFIX = 'salon-outbox';

/**
 * @typedef {{room: string | number, nonce: string, content: string, reply_to?: number, at: number}} Unsent
 */

export class Keep {
  #storage;
  #locks;
  #prefix;
  #owner = newNonce();
  #now;
  #written = 0;
  #own = new Set();
  /** @type {AbortController | null} ends our own lock and the wait for others' */
  #open = null;
  #awaited = new Set();

  /** `scope` tells servers and users apart; `storage` and `locks` are a page's own, or stand-ins, or null. */
  constructor({ storage, locks, scope, now }) {
    this.#storage = storage;
    this.#locks = locks;
    this.#prefix = `${PREFIX} ${scope} `;
    this.#now = now;
  }

  /**
   * Takes over what pages that are gone have left, now and when another one goes: `taken` gets it in the order in
   * which it was written.
   *
   * @param {(unsent: Unsent[]) => void} taken
   */
  open(taken) {
    if (!this.#open) {
      this.#open = new AbortController();
      this.#hold(this.#open.signal);
    }
    for (const owner of this.#owners()) this.#await(owner, taken, this.#open.signal);
  }

  /** @param {Unsent} unsent */
  put({ room, nonce, content, reply_to, at }) {
    if (!this.#storage || (this.#own.size >= STORED_MAX && !this.#own.has(nonce))) return;
    this.#written += 1;
    const entry = { owner: this.#owner, room, content, reply_to, at, n: this.#written };
    try {
      this.#storage.setItem(this.#prefix + nonce, JSON.stringify(entry));
      this.#own.add(nonce);
    } catch {
      // The storage is full, or not to be had: the page itself still has it.
    }
  }

  remove(nonce) {
    this.#own.delete(nonce);
    this.#storage?.removeItem(this.#prefix + nonce);
  }

  /** Gives up the lock: what is stored is for the next page. */
  close() {
    this.#open?.abort();
    this.#open = null;
    this.#awaited.clear();
    this.#own.clear();
  }

  #hold(signal) {
    this.#locks?.request(lockOf(this.#owner), () => signal.aborted || new Promise((done) => {
      signal.addEventListener('abort', done);
    })).catch(() => {});
  }

  async #await(owner, taken, signal) {
    if (this.#awaited.has(owner)) return;
    this.#awaited.add(owner);
    try {
      if (this.#locks) await this.#locks.request(lockOf(owner), { signal }, async () => this.#take(owner, taken));
      else this.#take(owner, taken);
    } catch {
      // Closed meanwhile.
    } finally {
      this.#awaited.delete(owner);
    }
  }

  #take(owner, taken) {
    if (!this.#open) return;
    const left = this.#all().filter((entry) => entry.owner === owner).slice(0, OUTBOX_MAX);
    for (const unsent of left) this.put(unsent);
    if (left.length > 0) taken(left.map(({ room, nonce, content, reply_to, at }) => ({ room, nonce, content, reply_to, at })));
  }

  #owners() {
    return new Set(this.#all().map((entry) => entry.owner).filter((owner) => owner !== this.#owner));
  }

  /** Everything of this user, in the order in which it was written; what is too old or no entry of ours goes. */
  #all() {
    const found = [];
    const storage = this.#storage;
    const keys = storage ? Array.from({ length: storage.length }, (_, at) => storage.key(at)) : [];
    for (const key of keys) {
      if (!key?.startsWith(this.#prefix)) continue;
      const entry = parse(storage.getItem(key));
      if (entry && this.#now() - entry.at < STORED_FOR_MS) found.push({ ...entry, nonce: key.slice(this.#prefix.length) });
      else storage.removeItem(key);
    }
    return found.sort((a, b) => a.at - b.at || a.n - b.n);
  }
}

function lockOf(owner) {
  return `${PREFIX} ${owner}`;
}

function parse(text) {
  try {
    const entry = JSON.parse(text);
    return typeof entry.content === 'string' && Number.isFinite(entry.at) && typeof entry.owner === 'string' ? entry : null;
  } catch {
    return null;
  }
}
