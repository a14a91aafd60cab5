// The line to the server: one socket in use, and another after it whenever it ends, for as long as that makes sense.

import { afterClose, backoffMs } from './salon-core.js';
import { EventLine } from './salon-events.js';
import { checkSession } from './salon-session.js';
import { CLOCK, Socket } from './salon-socket.js';

/** A socket that lived this long makes the next wait short again. */
const STABLE_MS = 10_000;
/** How long the old socket is kept while the new one joins its rooms. */
const HANDOVER_WAIT_MS = 10_000;
/** Sockets that did not come up although HTTP works, before event streams are taken instead. */
export const UPGRADES_FAILED_MAX = 3;
/** The same where one has come up before: then it is more likely the server's trouble of a moment. */
export const UPGRADES_FAILED_LATER_MAX = 8;
/** With event streams a socket is tried again after this, and ever later. */
const SOCKET_AGAIN_MIN_MS = 60_000;
const SOCKET_AGAIN_MAX_MS = 600_000;
/** Where it is kept until when sockets are not worth a try, so that a reload need not find it out again. */
const EVENTS_UNTIL = 'salon-events-until';

export class Line {
  /** The socket in use, null while there is none. @type {Socket | EventLine | null} */
  main = null;
  /** What the last `state` event said; see STATES in salon.js. */
  status = { state: 'idle', attempt: 0, retry_at: null, code: null, transport: 'websocket' };
  clock;
  random;
  #options;
  #on;
  #next = /** @type {Socket | EventLine | null} */ (null);
  #retired = new Set();
  #attempt = 0;
  #connectedAt = 0;
  #retryTimer = null;
  #moveTimer = null;
  #checking = false;
  /** What the next one is to be: `websocket` or `events`. */
  #transport;
  #upgradesFailed = 0;
  #upgradesFailedMax = UPGRADES_FAILED_MAX;
  #againMs = SOCKET_AGAIN_MIN_MS;
  #againTimer = null;
  /** Counts the lives between connect and close, so that an answer to an earlier one is not taken for this one's. */
  #life = 0;

  /**
   * `on.status(status)`; `on.up(frame)` when a new socket is in use, `on.frame(socket, frame)`, `on.down(socket, code)` when
   * a socket ended; `on.stopped(code)` when it will not come back; `on.needs(socket)` says whether rooms still hang on
   * a socket that has a successor.
   */
  constructor(options, on) {
    this.#options = options;
    this.#on = on;
    this.clock = options.clock ?? CLOCK;
    this.random = options.random ?? Math.random;
    const until = Number(options.storage?.getItem(EVENTS_UNTIL) ?? 0);
    const blocked = until > this.clock.now() && until <= this.clock.now() + 2 * SOCKET_AGAIN_MAX_MS;
    this.#transport = options.transport === 'auto' ? (blocked ? 'events' : 'websocket') : options.transport;
  }

  connect() {
    if (this.main || this.#next || this.#retryTimer !== null) return;
    this.#attempt = 0;
    this.#tell('connecting');
    this.#open();
  }

  close() {
    this.#halt();
    this.#tell('idle');
  }

  /** Makes sure of the socket, or tries again without waiting any longer. */
  check() {
    if (this.main) this.main.check();
    else if (this.#retryTimer !== null) this.#open();
  }

  send(frame) {
    return this.main?.send(frame) ?? false;
  }

  /** The node is going: a new socket first, at a moment of our own within the time it leaves us. */
  move(withinMs) {
    if (this.#next || this.#retryTimer !== null) return;
    this.clock.clearTimeout(this.#moveTimer);
    this.#moveTimer = this.clock.setTimeout(() => {
      if (this.main && !this.#next) this.#open();
    }, this.random() * withinMs);
  }

  /** Closes the old sockets that no room needs any more. */
  releaseRetired() {
    for (const old of this.#retired) if (!this.#on.needs(old)) this.#release(old);
  }

  #open(transport = this.#transport) {
    this.clock.clearTimeout(this.#retryTimer);
    this.#retryTimer = null;
    if (!this.main) this.#tell(this.status.state);
    const Kind = transport === 'events' ? EventLine : Socket;
    const socket = new Kind({
      ...this.#options,
      clock: this.clock,
      random: this.random,
      on: {
        welcome: (frame) => this.#welcomed(socket, frame),
        frame: (frame) => this.#on.frame(socket, frame),
        gone: (end) => this.#gone(socket, end),
      },
    });
    this.#next = socket;
  }

  #welcomed(socket, frame) {
    const old = this.main;
    this.main = socket;
    this.#next = null;
    this.#connectedAt = this.clock.now();
    if (old) {
      // It goes on serving its rooms until the new one has joined them.
      this.#retired.add(old);
      this.clock.setTimeout(() => this.#release(old), HANDOVER_WAIT_MS);
    }
    if (socket instanceof EventLine) this.#socketLater();
    else this.#socketsWork();
    this.#tell('online');
    this.#on.up(frame);
    this.releaseRetired();
  }

  // ---- event streams in place of sockets

  #socketsWork() {
    this.#upgradesFailed = 0;
    this.#upgradesFailedMax = UPGRADES_FAILED_LATER_MAX;
    this.#againMs = SOCKET_AGAIN_MIN_MS;
    if (this.#options.transport !== 'auto') return;
    this.#transport = 'websocket';
    this.#options.storage?.removeItem(EVENTS_UNTIL);
  }

  /** A socket did not come up, and HTTP works: true when that was once too often. */
  #upgradeFailed() {
    if (this.#options.transport !== 'auto' || this.#transport === 'events') return false;
    this.#upgradesFailed += 1;
    if (this.#upgradesFailed < this.#upgradesFailedMax) return false;
    this.#transport = 'events';
    return true;
  }

  #socketLater() {
    if (this.#options.transport !== 'auto' || this.#againTimer !== null) return;
    const waitMs = this.#againMs * (1 + this.random());
    this.#againMs = Math.min(SOCKET_AGAIN_MAX_MS, this.#againMs * 2);
    this.#remember(waitMs);
    this.#againTimer = this.clock.setTimeout(() => {
      this.#againTimer = null;
      if (this.#next) this.#socketLater();
      else this.#open('websocket');
    }, waitMs);
  }

  #remember(waitMs) {
    try {
      this.#options.storage?.setItem(EVENTS_UNTIL, String(this.clock.now() + waitMs));
    } catch {
      // A full storage costs a few tries after the next reload.
    }
  }

  // ---- coming and going

  #release(old) {
    if (!this.#retired.delete(old)) return;
    old.close();
    this.#on.down(old);
  }

  #gone(socket, { code, live }) {
    const used = socket === this.main;
    const awaited = socket === this.#next;
    this.#retired.delete(socket);
    if (used) this.main = null;
    if (awaited) this.#next = null;
    this.#on.down(socket, code);
    if (!used && !awaited) return;
    if (used) {
      if (this.clock.now() - this.#connectedAt >= STABLE_MS) this.#attempt = 0;
      this.#tell('reconnecting', { code });
    }
    if (awaited && this.main instanceof EventLine && socket instanceof Socket) this.#socketLater();
    else if (afterClose(code) === 'stop') this.#stop(code);
    else if (!this.#next) this.#comeBack(code, live);
  }

  #comeBack(code, wasLive) {
    this.clock.clearTimeout(this.#moveTimer);
    this.#attempt += 1;
    this.#openIn(backoffMs(this.#attempt - 1, this.random));
    // A socket that never came up does not say why; one whose token ran out needs a new one. Also beside one that still
    // stands: a node that is going leaves little time, and the access of who has been here for long has run out.
    if (!wasLive || code === 4010) this.#askWhy(!wasLive);
  }

  #openIn(waitMs) {
    this.clock.clearTimeout(this.#retryTimer);
    this.#retryTimer = this.clock.setTimeout(() => this.#open(), waitMs);
    if (!this.main) this.#tell(this.status.state, { retry_at: this.clock.now() + waitMs });
  }

  async #askWhy(refused) {
    if (this.#checking) return;
    this.#checking = true;
    const life = this.#life;
    const session = await checkSession(this.#options);
    this.#checking = false;
    if (life !== this.#life || this.main) return;
    if (session.state === 'logged_out') {
      this.#stop(4501);
      return;
    }
    // An access that had run out was reason enough for a refusal.
    if (refused && session.state === 'ok' && !session.renewed && this.#upgradeFailed()) {
      this.#next?.close();
      this.#open();
      return;
    }
    this.#tell(session.state === 'unreachable' ? 'offline' : 'reconnecting', { retry_at: this.status.retry_at });
    if (session.state === 'busy' && session.retry_after_ms > 0 && this.#retryTimer !== null) {
      this.#openIn(session.retry_after_ms * (1 + this.random()));
    }
  }

  #stop(code) {
    this.#halt();
    this.#tell('stopped', { code });
    this.#on.stopped(code);
  }

  #halt() {
    this.#life += 1;
    this.clock.clearTimeout(this.#retryTimer);
    this.clock.clearTimeout(this.#moveTimer);
    this.clock.clearTimeout(this.#againTimer);
    this.#againTimer = null;
    this.#retryTimer = null;
    const sockets = [this.main, this.#next, ...this.#retired].filter(Boolean);
    this.main = null;
    this.#next = null;
    this.#retired.clear();
    for (const socket of sockets) {
      socket.close();
      this.#on.down(socket);
    }
  }

  #used() {
    return this.main && (this.main instanceof EventLine ? 'events' : 'websocket');
  }

  #tell(state, { retry_at = null, code = this.status.code } = {}) {
    const transport = this.#used() ?? this.#transport;
    this.status = { state, attempt: this.#attempt, retry_at, code: state === 'online' ? null : code, transport };
    this.#on.status(this.status);
  }
}
