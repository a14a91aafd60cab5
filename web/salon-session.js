// Is somebody logged in? A browser does not say why a WebSocket was refused, so the page asks over HTTP.

/** How long an answer may take before the server counts as unreachable. */
const ANSWER_WAIT_MS = 10_000;
/** How long another tab may be at it: it asks three times at most. */
const LOCK_WAIT_MS = 3 * ANSWER_WAIT_MS;

/** One tab at a time renews; the others wait for it and then find it done. */
const LOCK = 'salon-session';

/**
 * Asks who is logged in, and renews the login session when its access has run out.
 *
 * Gives `{state: 'ok', user}`, or `{state: 'logged_out'}` (certain), `{state: 'unreachable'}` (nothing answered), or
 * `{state: 'busy', retry_after_ms}` (something answered, but not for us now).
 */
export async function checkSession({ fetch = globalThis.fetch, base = '', locks = globalThis.navigator?.locks } = {}) {
  const account = () => ask(fetch, `${base}/api/account`, 'GET');
  const renew = async () => {
    const renewed = await ask(fetch, `${base}/api/account/refresh`, 'POST');
    // Whatever else a refusal may say (an older server knows no renewal), it is no login session.
    if ([400, 401, 403, 404, 405].includes(renewed.status)) return { state: 'logged_out' };
    if (!renewed.ok) return read(renewed);
    const again = await account();
    return again.status === 401 ? { state: 'logged_out' } : read(again);
  };
  try {
    const first = await account();
    if (first.status !== 401) return await read(first);
    return await alone(locks, renew, async () => {
      const second = await account();
      return second.status === 401 ? renew() : read(second);
    });
  } catch {
    return { state: 'unreachable' };
  }
}

/**
 * Runs `first` when nobody else is at it, else `second` after them. Browsers give locks to safe origins only; without
 * them tabs race, and the server gives all of them the same.
 */
async function alone(locks, first, second) {
  if (!locks) return first();
  const done = await locks.request(LOCK, { ifAvailable: true }, (lock) => lock && first());
  return done ?? locks.request(LOCK, { signal: AbortSignal.timeout(LOCK_WAIT_MS) }, second);
}

function ask(fetch, url, method) {
  return fetch(url, {
    method,
    credentials: 'same-origin',
    cache: 'no-store',
    signal: AbortSignal.timeout(ANSWER_WAIT_MS),
  });
}

async function read(response) {
  if (response.ok) return { state: 'ok', user: (await response.json()).user };
  // What stands between us and the server answers these when the server itself does not.
  if (response.status === 502 || response.status === 504) return { state: 'unreachable' };
  const seconds = Number(response.headers.get('Retry-After'));
  return { state: 'busy', retry_after_ms: Number.isFinite(seconds) ? seconds * 1000 : 0 };
}
