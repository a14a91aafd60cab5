// One socket: from opening to its end, which it notices by itself. What the frames mean is salon.js's business.

/** From opening to `welcome`. */
const WELCOME_WAIT_MS = 10_000;
/** From our `ping` to anything at all. */
const PONG_WAIT_MS = 10_000;
/** The same when there is a reason for doubt (the network changed, the machine woke up). */
const DOUBT_WAIT_MS = 4_000;

/** The page's own clock; tests bring another. */
export const CLOCK = {
  now: () => Date.now(),
  setTimeout: (run, ms) => globalThis.setTimeout(run, ms),
  clearTimeout: (timer) => globalThis.clearTimeout(timer),
};

export class Socket {
  /** True from `welcome` until the end. */
  live = false;
  #ws;
  #on;
  #clock;
  #alarm = null;
  #heardAt;
  #heartbeatMs = 25_000;
  #pingedAt = null;
  #ended = false;

  /**
   * `on.welcome(frame)` once, then `on.frame(frame)` for each, and at last `on.gone({code, live})` once: `live` says
   * whether there was a `welcome`. After `close()` nothing is reported any more.
   */
  constructor({ url, token, WebSocket, clock = CLOCK, on }) {
    this.#on = on;
    this.#clock = clock;
    this.#heardAt = clock.now();
    this.#arm(WELCOME_WAIT_MS);
    if (typeof token === 'function') this.#openWith(token, WebSocket, url);
    else this.#open(WebSocket, url, token);
  }

  async #openWith(token, WebSocket, url) {
    try {
      this.#open(WebSocket, url, await token(false));
    } catch {
      // Nobody gave a token: no socket this time.
      this.#gone(1006);
    }
  }

  #open(WebSocket, url, token) {
    if (this.#ended) return;
    this.#ws = new WebSocket(url, token === undefined ? ['salon.v1'] : ['salon.v1', `bearer.${token}`]);
    this.#ws.onmessage = (event) => this.#heard(event.data);
    this.#ws.onclose = (event) => this.#gone(event.code);
    // An error is always followed by a close, which says more.
    this.#ws.onerror = () => {};
  }

  send(frame) {
    if (!this.live || this.#ws.readyState !== 1) return false;
    this.#ws.send(JSON.stringify(frame));
    return true;
  }

  /** Asks for a sign of life now; without one the socket ends soon. */
  check() {
    if (!this.live) return;
    this.#ping();
    this.#arm(DOUBT_WAIT_MS);
  }

  close(code = 1000) {
    if (this.#ended) return;
    this.#end();
    this.#ws?.close(code);
  }

  #heard(data) {
    if (this.#ended) return;
    this.#heardAt = this.#clock.now();
    this.#pingedAt = null;
    let frame;
    try {
      frame = JSON.parse(data);
    } catch {
      return;
    }
    if (this.live) {
      this.#on.frame(frame);
    } else if (frame.type === 'welcome') {
      this.live = true;
      this.#heartbeatMs = (frame.heartbeat_s ?? 25) * 1000;
      this.#arm(this.#heartbeatMs);
      this.#on.welcome(frame);
    }
  }

  // Rearmed only when it rings: a busy room would otherwise set a timer for every frame.
  #ring() {
    const now = this.#clock.now();
    if (!this.live || this.#pingedAt !== null) {
      // A socket without a network may wait minutes for its close: it is given up here.
      if (this.#ws) {
        this.#ws.onclose = null;
        this.#ws.close();
      }
      this.#gone(1006);
    } else if (now - this.#heardAt >= this.#heartbeatMs) {
      this.#ping();
      this.#arm(PONG_WAIT_MS);
    } else {
      this.#arm(this.#heartbeatMs - (now - this.#heardAt));
    }
  }

  #ping() {
    this.#pingedAt = this.#clock.now();
    this.send({ type: 'ping' });
  }

  #arm(ms) {
    this.#clock.clearTimeout(this.#alarm);
    this.#alarm = this.#clock.setTimeout(() => this.#ring(), ms);
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
    this.#clock.clearTimeout(this.#alarm);
  }
}
