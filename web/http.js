// Calls to the server's HTTP interface. Every failure is a SalonError; a login session that ran out is renewed once.

import { SalonError } from './salon-core.js';
import { bearer, checkSession, retryAfterMs } from './salon-session.js';

/** Where nobody is logged in yet. */
const DOORS = new Set(['/api/account/login', '/api/account/register']);
const ANSWER_WAIT_MS = 20_000;

/**
 * Gives `{body, links}`: the parsed answer (null when empty), and its `Link` header by `rel`.
 *
 * @param {string} method
 * @param {string} path begins with `/api/`
 * @param {unknown} [body] becomes JSON
 * @param {{base?: string, fetch?: typeof globalThis.fetch, token?: import('./salon-session.js').Token}} [options]
 * @returns {Promise<{body: any, links: Record<string, string>}>}
 */
export async function call(method, path, body, options = {}) {
  let { response, parsed } = await ask(method, path, body, options);
  // A wrong password is a 401 of another code: nothing to renew, and trying it again would count twice.
  if (response.status === 401 && parsed?.code === 'unauthenticated' && !DOORS.has(path)) {
    const session = await checkSession(options);
    if (session.state === 'ok') ({ response, parsed } = await ask(method, path, body, options));
  }
  if (!response.ok) throw problem(response, parsed);
  return { body: parsed, links: parseLinks(response.headers.get('Link')) };
}

/**
 * `{next: '/api/…'}` from a `Link` header: path and query only, since the host may be a proxy's own idea.
 *
 * @param {string | null} header
 * @returns {Record<string, string>}
 */
export function parseLinks(header) {
  /** @type {Record<string, string>} */
  const links = {};
  for (const [, target, rel] of (header ?? '').matchAll(/<([^>]*)>\s*;\s*rel="?(\w+)"?/g)) {
    const url = new URL(target, 'http://page');
    links[rel] = url.pathname + url.search;
  }
  return links;
}

/** The error that an answer is, also when something in between wrote it. */
export function problem(response, parsed) {
  const code = parsed?.code ?? (response.status >= 502 ? 'unavailable' : CODES[response.status] ?? 'internal');
  const more = { errors: parsed?.errors ?? {}, status: response.status, retry_after_ms: retryAfterMs(response) };
  return new SalonError(code, parsed?.detail, more);
}

const CODES = {
  400: 'malformed', 401: 'unauthenticated', 403: 'forbidden', 404: 'not_found', 413: 'too_large', 429: 'rate_limited',
};

async function ask(method, path, body, options) {
  const response = await request(method, path, body, options);
  return { response, parsed: response.status === 204 ? null : await response.json().catch(() => null) };
}

async function request(method, path, body, { base = '', fetch = globalThis.fetch, token }) {
  try {
    return await fetch(`${base}${path}`, {
      method,
      credentials: 'same-origin',
      headers: { ...await bearer(token), ...(body === undefined ? {} : { 'Content-Type': 'application/json' }) },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(ANSWER_WAIT_MS),
    });
  } catch {
    throw new SalonError('network');
  }
}
