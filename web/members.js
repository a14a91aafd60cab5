// Members, who may do what, moderation, invitations and the settings of a room: calls, and what the page learns by them.

import { call } from './http.js';
import { errorText } from './texts.js';

const MEMBERS_PAGE = 100;
/** The names shown of a room with too many online for a list are not asked for more often. */
const SAMPLE_EVERY_MS = 30_000;

const RANK = { member: 0, moderator: 1, owner: 2 };

/** What `me` may do in a room: `manage` (name, invite, remove, ban), `own` (roles, delete the room). */
export function powers(room, me) {
  const { kind, role } = room.info;
  if (kind === 'direct') return { manage: false, own: false };
  const own = role === 'owner' || me?.role === 'admin';
  return { manage: own || role === 'moderator', own };
}

/** Whether `me` may act on somebody with this role in the room (null: no member). The server has the last word. */
export function mayActOn(room, me, { username, role }) {
  const { manage, own } = powers(room, me);
  if (username === me?.username) return false;
  return own || (manage && RANK[role ?? 'member'] < RANK.moderator);
}

export class Members {
  #chat;
  #page;

  constructor(chat, page) {
    this.#chat = chat;
    this.#page = page;
  }

  /** The first members, or with `more` the next ones. */
  async load(room, { more = false } = {}) {
    if (room.membersAsked) return;
    room.membersAsked = true;
    try {
      const path = more && room.members?.next ? room.members.next : `${at(room)}/members?limit=${MEMBERS_PAGE}`;
      const { body, links } = await call('GET', path);
      room.members = members(more ? [...(room.members?.list ?? []), ...body] : body, links.next);
    } catch (error) {
      room.members ??= members([]);
      if (error.code !== 'forbidden') this.#page.complain(errorText(error));
    } finally {
      room.membersAsked = false;
      this.#chat.changed();
    }
  }

  /** Names for a room with more online than the server lists by itself. */
  async sample(room) {
    if (Date.now() - (room.sample?.at ?? 0) < SAMPLE_EVERY_MS) return;
    room.sample = { names: room.sample?.names ?? [], at: Date.now() };
    try {
      room.sample.names = (await call('GET', `${at(room)}/users`)).body.users;
      this.#chat.changed();
    } catch {
      // The count is there; the names come the next time.
    }
  }

  /** The role of somebody as last heard: null for who is no member, or not known. */
  roleOf(room, username) {
    return room.members?.roles.get(username) ?? null;
  }

  add(room, username) {
    return this.#changing(room, () => call('PUT', `${at(room)}/members/${enc(username)}`, {}));
  }

  setRole(room, username, role) {
    return this.#tried(room, () => call('PUT', `${at(room)}/members/${enc(username)}`, { role }));
  }

  kick(room, username) {
    return this.#tried(room, () => call('DELETE', `${at(room)}/members/${enc(username)}`));
  }

  /** `what` is `bans` or `mutes`; throws what the form is to show. */
  punish(room, what, username, { reason, until }) {
    return this.#changing(room, () => call('PUT', `${at(room)}/${what}/${enc(username)}`, { reason, until }));
  }

  lift(room, what, username) {
    return this.#tried(room, () => call('DELETE', `${at(room)}/${what}/${enc(username)}`));
  }

  /** Those banned or muted. */
  async listed(room, what) {
    return (await call('GET', `${at(room)}/${what}?limit=200`)).body;
  }

  async invites(room) {
    return (await call('GET', `${at(room)}/invites`)).body;
  }

  async invite(room, wish) {
    return (await call('POST', `${at(room)}/invites`, wish)).body;
  }

  withdraw(room, id) {
    return this.#tried(room, () => call('DELETE', `${at(room)}/invites/${enc(id)}`));
  }

  async change(room, wish) {
    const { body } = await call('PATCH', at(room), wish);
    this.#chat.putRoom(body);
  }

  /** The room ends for everybody; the server tells us like all others. */
  deleteRoom(room) {
    return call('DELETE', at(room));
  }

  async #changing(room, run) {
    await run();
    if (room.members) await this.load(room);
  }

  // For buttons without a form: what did not work is said below. Says whether it did.
  async #tried(room, run) {
    try {
      await this.#changing(room, run);
      return true;
    } catch (error) {
      this.#page.complain(errorText(error));
      return false;
    }
  }
}

function members(list, next = null) {
  return { list, next, roles: new Map(list.map(({ username, role }) => [username, role])) };
}

function at(room) {
  return `/api/rooms/${enc(room.slug)}`;
}

function enc(part) {
  return encodeURIComponent(part);
}
