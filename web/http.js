// Calls to the server's HTTP interface. Every failure is a SalonError; a login session that ran out is renewed once.

import { SalonError, checkSession } from './salon.js';

/** Where nobody is logged in yet. */
const DOORS = new Set(['/api/account/login', '/api/account/register']);

/** Gives `{body, links}`: the parsed answer (null when empty), and its `Link` header by `rel`. */
export async function call(method, path, body) {
  let { response, parsed } = await ask(method, path, body);
  // A wrong password is a 401 of another code: nothing to renew, and trying it again would count twice.
  if (response.status === 401 && parsed?.code === 'unauthenticated' && !DOORS.has(path)) {
    const session = await checkSession();
    if (session.state === 'ok') ({ response, parsed } = await ask(method, path, body));
  }
  if (!response.ok) throw problem(response, parsed);
  return { body: parsed, links: parseLinks(response.headers.get('Link')) };
}

/** `{next: '/api/…'}` from a `Link` header: path and query only, since the host may be a proxy's own idea. */
export function parseLinks(header) {
  const links = {};
  for (const [, target, rel] of (header ?? '').matchAll(/<([^>]*)>\s*;\s*rel="?(\w+)"?/g)) {
    const url = new URL(target, 'http://page');
    links[rel] = url.pathname + url.search;
  }
  return links;
}

async function ask(method, path, body) {
  const response = await request(method, path, body);
  return { response, parsed: response.status === 204 ? null : await response.json().catch(() => null) };
}

async function request(method, path, body) {
  try {
    return await fetch(path, {
      method,
      credentials: 'same-origin',
      headers: body === undefined ? {} : { 'Content-Type': 'application/json' },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(20_000),
    });
  } catch {
    throw new SalonError('network');
  }
}

function problem(response, parsed) {
  const code = parsed?.code ?? (response.status >= 502 ? 'unavailable' : 'internal');
  return new SalonError(code, parsed?.detail, { errors: parsed?.errors ?? {} });
}
