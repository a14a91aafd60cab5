// Is somebody logged in? A browser does not say why a WebSocket was refused, so the page asks over HTTP.

/** How long an answer may take before the server counts as unreachable. */
const ANSWER_WAIT_MS = 10_000;
/** How long another tab may be at it: it asks three times at most. */
const LOCK_WAIT_MS = 3 * ANSWER_WAIT_MS;

/** One tab at a time renews; the others wait for it and then find it done. */
const LOCK = 'salon-session';

/**
 * The renewals under way in this page by server. Where there are no Web Locks, this much is still sure.
 * @type {Map<string, Promise<Session>>}
 */
const renewing = new Map();

/**
 * @typedef {import('./frames.js').User} User
 * @typedef {{state: 'ok', user: User, renewed?: true} | {state: 'logged_out'} | {state: 'unreachable'}
 *   | {state: 'busy', retry_after_ms: number}} Session
 * @typedef {string | ((refused: boolean) => string | Promise<string>)} Token
 */

/**
 * Asks who is logged in, and renews the login session when its access has run out.
 *
 * Gives `{state: 'ok', user}` (with `renewed` when that was needed), or `{state: 'logged_out'}` (certain),
 * `{state: 'unreachable'}` (nothing answered), or `{state: 'busy', retry_after_ms}` (something answered, but not for us
 * now). With a `token` there are no cookies to renew: its giver is asked for another one.
 *
 * @param {{fetch?: typeof globalThis.fetch, base?: string, token?: Token, locks?: any}} [options]
 * @returns {Promise<Session>}
 */
export async function checkSession(options = {}) {
  const { fetch = globalThis.fetch, base = '', token } = options;
  const locks = 'locks' in options ? options.locks : globalThis.navigator?.locks;
  /** @returns {Promise<Session>} */
  const again = async () => {
    const answer = await account(true);
    if (answer.status === 401) return { state: 'logged_out' };
    const session = await read(answer);
    return session.state === 'ok' ? { ...session, renewed: true } : session;
  };
  const account = (refused = false) => ask(fetch, `${base}/api/account`, 'GET', token, refused);
  /** @returns {Promise<Session>} */
  const renew = async () => {
    const renewed = await ask(fetch, `${base}/api/account/refresh`, 'POST');
    // Whatever else a refusal may say (an older server knows no renewal), it is no login session.
    if ([400, 401, 403, 404, 405].includes(renewed.status)) return { state: 'logged_out' };
    if (!renewed.ok) return read(renewed);
    return again();
  };
  try {
    const first = await account();
    if (first.status !== 401) return await read(first);
    if (token !== undefined) return typeof token === 'function' ? await again() : { state: 'logged_out' };
    return await alone(locks, base, renew, async () => {
      const second = await account();
      return second.status === 401 ? renew() : again();
    });
  } catch {
    return { state: 'unreachable' };
  }
}

/**
 * The headers by which a request says who asks; none for a page, whose cookies go along by themselves.
 *
 * @param {Token | undefined} token
 * @param {boolean} refused the last one was refused
 * @returns {Promise<Record<string, string>>}
 */
export async function bearer(token, refused = false) {
  if (token === undefined) return {};
  return { Authorization: `Bearer ${typeof token === 'function' ? await token(refused) : token}` };
}

/**
 * Runs `first` when nobody else is at it, else `second` after them. Browsers give locks to safe origins only; without
 * them this page's own calls still share one renewal, and tabs race, to all of which the server gives the same.
 */
async function alone(locks, base, first, second) {
  if (locks) {
    const done = await locks.request(LOCK, { ifAvailable: true }, (lock) => lock && first());
    return done ?? locks.request(LOCK, { signal: AbortSignal.timeout(LOCK_WAIT_MS) }, second);
  }
  const running = renewing.get(base);
  if (running) return running;
  const one = first().finally(() => renewing.delete(base));
  renewing.set(base, one);
  return one;
}

/** @param {Token} [token] */
async function ask(fetch, url, method, token, refused = false) {
  return fetch(url, {
    method,
    headers: await bearer(token, refused),
    credentials: 'same-origin',
    cache: 'no-store',
    signal: AbortSignal.timeout(ANSWER_WAIT_MS),
  });
}

/** @returns {Promise<Session>} */
async function read(response) {
  if (response.ok) return { state: 'ok', user: (await response.json()).user };
  // What stands between us and the server answers these when the server itself does not.
  if (response.status === 502 || response.status === 504) return { state: 'unreachable' };
  return { state: 'busy', retry_after_ms: retryAfterMs(response) };
}

/** What `Retry-After` asks for; 0 where it says nothing of use. */
export function retryAfterMs(response) {
  const seconds = Number(response.headers.get('Retry-After'));
  return Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : 0;
}
