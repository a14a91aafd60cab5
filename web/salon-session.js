// Is somebody logged in? A browser does not say why a WebSocket was refused, so the page asks over HTTP.

/** How long an answer may take before the server counts as unreachable. */
const ANSWER_WAIT_MS = 10_000;

/**
 * Asks who is logged in, and renews the login session when its access has run out.
 *
 * Gives `{state: 'ok', user}`, or `{state: 'logged_out'}` (certain), `{state: 'unreachable'}` (nothing answered), or
 * `{state: 'busy', retry_after_ms}` (something answered, but not for us now).
 */
export async function checkSession({ fetch = globalThis.fetch, base = '' } = {}) {
  try {
    const account = await ask(fetch, `${base}/api/account`, 'GET');
    if (account.status !== 401) return read(account);
    const renewed = await ask(fetch, `${base}/api/account/refresh`, 'POST');
    // Whatever else a refusal may say (an older server knows no renewal), it is no login session.
    if ([400, 401, 403, 404, 405].includes(renewed.status)) return { state: 'logged_out' };
    if (!renewed.ok) return read(renewed);
    const again = await ask(fetch, `${base}/api/account`, 'GET');
    return again.status === 401 ? { state: 'logged_out' } : await read(again);
  } catch {
    return { state: 'unreachable' };
  }
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
