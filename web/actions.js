// What a person can do with rooms and messages, and what the server tells: the one place where the page's state and
// the server meet. Older messages and search are in history.js, members and moderation in members.js.

import { History } from './history.js';
import { call } from './http.js';
import { Members } from './members.js';
import { errorText, t } from './texts.js';

/** Rooms that stay live while another one is open; the longest unopened is left first. */
const ROOMS_LIVE_MAX = 20;
const READ_EVERY_MS = 1_000;
/** Within this time the room list is asked for again after a reconnect, */
const RELIST_WITHIN_MS = 4_000;
/** and when it could not be had. */
const LIST_AGAIN_MS = 10_000;

export class Actions {
  history;
  members;
  #chat;
  #salon;
  #page;
  #opened = [];
  #wasOnline = false;
  #leaving = false;
  #reads = new Map();
  #readTimer = null;
  #listTimer = null;
  #typingTimer = null;

  /** `page.go(path)` changes the address, `page.show(what, note)` shows `chat` or `auth`, `page.complain(text)`. */
  constructor(chat, salon, page) {
    this.#chat = chat;
    this.#salon = salon;
    this.#page = page;
    this.history = new History(chat, page);
    this.members = new Members(chat, page);
    this.#listen();
  }

  // ---- account

  /** Logs in or registers; throws what the form is to show. */
  async enter(mode, username, password) {
    const { body } = await call('POST', `/api/account/${mode}`, { username, password });
    this.entered(body.user);
  }

  /** Somebody is logged in. Who comes back as the same user finds everything, also what was not sent yet. */
  entered(user) {
    if (this.#chat.me?.id !== user.id) {
      // What another one wrote here stays stored for them.
      this.#salon.close({ keep: true });
      this.#chat.forget();
      this.#opened = [];
      this.#chat.me = user;
    }
    this.#wasOnline = false;
    this.#salon.connect({ user });
    this.#page.show('chat');
    this.#list();
  }

  async logOut() {
    this.#leaving = true;
    try {
      await call('POST', '/api/account/logout');
      this.#salon.close();
      this.#chat.forget();
      this.#page.go('/');
      this.#page.show('auth');
    } catch (error) {
      // Saying "logged out" while the login session lives would be a lie to the next person at this machine.
      if (error.code === 'unauthenticated') this.#page.show('auth');
      else this.#page.complain(errorText(error));
    } finally {
      this.#leaving = false;
    }
  }

  retryConnection() {
    if (this.#salon.status.state === 'stopped') this.#salon.connect();
    else this.#salon.check();
  }

  // ---- rooms

  async #list() {
    try {
      const { body, links } = await call('GET', '/api/rooms?limit=100');
      for (const info of body) this.#chat.putRoom(info);
      this.#chat.nextRooms = links.next ?? null;
      this.#chat.changed();
    } catch {
      // The banner tells of a lost connection; what is missing here is only asked for again.
      this.#listLater(LIST_AGAIN_MS);
    }
  }

  // Everybody may be coming back at once, so each takes a moment of their own.
  #listLater(withinMs) {
    clearTimeout(this.#listTimer);
    this.#listTimer = setTimeout(() => this.#chat.me && this.#list(), withinMs * (0.2 + 0.8 * Math.random()));
  }

  async moreRooms() {
    try {
      const { body, links } = await call('GET', this.#chat.nextRooms);
      for (const info of body) this.#chat.putRoom(info);
      this.#chat.nextRooms = links.next ?? null;
      this.#chat.changed();
    } catch (error) {
      this.#page.complain(errorText(error));
    }
  }

  /** Shows a room and joins it, at the message `at` if one is given. `go: false` when the address is there already. */
  openRoom(slug, { go = true, at = null } = {}) {
    const before = this.#chat.open;
    if (before && before.slug !== slug) before.dividerAfter = null;
    const room = this.#chat.rooms.get(slug);
    if (room && at === null) room.target = null;
    if (room && at === null && room !== before) room.timeline.toLive();
    this.#chat.openSlug = slug;
    this.#chat.notice = null;
    if (go) this.#page.go(`/r/${encodeURIComponent(slug)}${at === null ? '' : `#m${at}`}`);
    this.#chat.changed();
    const joined = room?.joined;
    if (joined) this.#keepLive(slug);
    const there = joined ? Promise.resolve() : this.#join(slug);
    there.then(() => at !== null && this.history.jump(slug, at)).catch((error) => this.#notOpened(slug, error));
  }

  closeRoom({ go = true } = {}) {
    this.#chat.openSlug = null;
    this.#chat.notice = null;
    if (go) this.#page.go('/');
    this.#chat.changed();
  }

  /** Joins a room by what was typed; throws when there is none. */
  async joinNamed(slug, typed) {
    await this.#join(slug || typed);
    this.openRoom(slug || typed);
  }

  /** Makes a room, or opens the direct one that there is already. */
  async createRoom(wish) {
    const { body } = await call('POST', '/api/rooms', wish);
    this.#chat.putRoom(body);
    this.openRoom(body.slug);
  }

  /** The conversation with one other person; complains when there can be none. */
  async openDirect(username) {
    try {
      await this.createRoom({ kind: 'direct', username });
    } catch (error) {
      this.#page.complain(errorText(error));
    }
  }

  async acceptInvite(code) {
    try {
      const { body } = await call('POST', `/api/invites/${encodeURIComponent(code)}`);
      this.#chat.putRoom(body);
      this.openRoom(body.slug);
    } catch (error) {
      this.#page.go('/');
      this.#page.complain(error.code === 'not_found' ? t('invite_invalid') : errorText(error));
    }
  }

  async leaveRoom(slug) {
    try {
      await call('DELETE', `/api/rooms/${encodeURIComponent(slug)}/members/me`);
      this.#salon.leave(slug);
      this.#removed({ room: slug, reason: 'left' });
    } catch (error) {
      this.#page.complain(errorText(error));
    }
  }

  async #join(slug) {
    await this.#salon.join(slug);
    this.#keepLive(slug);
  }

  #keepLive(slug) {
    this.#opened = [slug, ...this.#opened.filter((other) => other !== slug)];
    for (const old of this.#opened.splice(ROOMS_LIVE_MAX)) {
      this.#salon.leave(old);
      this.#chat.left(old);
    }
  }

  #notOpened(slug, error) {
    if (this.#chat.openSlug !== slug || ['closed', 'parked'].includes(error.code)) return;
    this.#chat.openSlug = null;
    const missing = ['not_found', 'invalid'].includes(error.code);
    this.#chat.notice = missing ? t('room_missing', { name: slug }) : errorText(error);
    this.#chat.changed();
  }

  // ---- messages

  send(content) {
    const { slug, replyTo } = this.#chat.open;
    this.answer(null);
    this.#deliver(slug, content.trimEnd(), replyTo?.id);
  }

  /** What is written next in the open room answers this message; null for none. */
  answer(message) {
    if (this.#chat.open) this.#chat.open.replyTo = message;
    this.#chat.changed();
  }

  /** The same message once more, under the same nonce: it cannot become two. */
  retry(slug, nonce) {
    const sent = this.#chat.rooms.get(slug)?.pending.find((pending) => pending.nonce === nonce);
    if (sent) this.#deliver(slug, sent.content, sent.reply_to, nonce);
  }

  discard(slug, nonce) {
    this.#salon.discard?.(nonce);
    this.#chat.discard(slug, nonce);
  }

  #deliver(slug, content, replyTo, again) {
    const options = { ...(again && { nonce: again }), ...(replyTo && { reply_to: replyTo }) };
    const { nonce, done } = this.#salon.send(slug, content, options);
    this.#follow({ slug, nonce, content, replyTo, done });
  }

  #follow({ slug, nonce, content, replyTo, done }) {
    this.#chat.sending(slug, nonce, content, replyTo ?? null);
    done.then(
      (ack) => this.#chat.acked(slug, nonce, ack),
      (error) => this.#chat.failed(slug, nonce, errorText(error)),
    );
  }

  // Written before the page was loaded anew, and still on its way.
  async #restored({ room: slug, nonce, content, reply_to: replyTo, done }) {
    if (!this.#chat.rooms.has(slug)) {
      try {
        this.#chat.putRoom((await call('GET', `/api/rooms/${encodeURIComponent(slug)}`)).body);
      } catch {
        return;
      }
    }
    this.#follow({ slug, nonce, content, replyTo, done });
  }

  edit(slug, id, content) {
    return this.#salon.edit(slug, id, content.trimEnd());
  }

  delete(slug, id) {
    this.#salon.delete(slug, id).catch((error) => this.#page.complain(errorText(error)));
  }

  /** Gives one's reaction, or takes it back. */
  async react(message, emoji) {
    const slug = this.#chat.openSlug;
    const path = `/api/rooms/${encodeURIComponent(slug)}/messages/${message.id}/reactions/${encodeURIComponent(emoji)}`;
    const given = message.reactions?.[emoji]?.users.includes(this.#chat.me.username) ?? false;
    try {
      let { body } = await call(given ? 'DELETE' : 'PUT', path);
      // Only the first twenty names are told: when giving changes nothing, it was given.
      if (!given && body.seq <= message.seq) ({ body } = await call('DELETE', path));
      this.#chat.change({ ...body, room: slug });
    } catch (error) {
      this.#page.complain(errorText(error));
    }
  }

  typing() {
    if (this.#chat.openSlug) this.#salon.typing(this.#chat.openSlug);
  }

  /** The open room was seen down to the message `id`. */
  read(id) {
    const seq = this.#chat.readOpen(id);
    if (seq === null) return;
    this.#reads.set(this.#chat.openSlug, seq);
    this.#readTimer ??= setTimeout(() => {
      this.#readTimer = null;
      for (const [slug, upTo] of this.#reads) this.#salon.read(slug, upTo);
      this.#reads.clear();
    }, READ_EVERY_MS);
  }

  // ---- what the server tells

  #listen() {
    const chat = this.#chat;
    const on = (type, handle) => this.#salon.addEventListener(type, ({ detail }) => handle(detail));
    on('state', (status) => {
      chat.status = status;
      chat.changed();
    });
    on('welcome', (frame) => this.#welcomed(frame));
    on('logged_out', () => {
      if (!this.#leaving) this.#page.show('auth', t('logged_out'));
    });
    on('joined', (frame) => chat.joined(frame));
    on('change', (message) => chat.change(message));
    on('restored', (sent) => this.#restored(sent));
    on('parked', ({ room }) => chat.parked(room));
    on('join_failed', ({ room, ...error }) => this.#lostRoom(room, error));
    for (const type of ['user_join', 'user_leave', 'user_list', 'user_count']) on(type, (frame) => chat.userFrame(frame));
    on('typing', (frame) => {
      chat.typing(frame);
      this.#watchTyping();
    });
    on('read', (frame) => chat.readElsewhere(frame));
    on('unread', (frame) => chat.unreadElsewhere(frame));
    on('room_added', ({ info }) => chat.putRoom(info));
    on('room_updated', ({ room, info }) => chat.putRoom({ ...info, role: info.role ?? chat.rooms.get(room)?.info.role ?? null }));
    on('removed', (frame) => this.#removed(frame));
    on('violation', (broken) => console.warn('salon: the order of a room was broken', broken));
  }

  #welcomed({ user, limits }) {
    this.#chat.contentChars = limits?.content_chars ?? this.#chat.contentChars;
    if (this.#chat.me && user.id !== this.#chat.me.id) {
      // In another tab somebody else logged in, and the browser's cookies are theirs now.
      queueMicrotask(() => this.entered(user));
      return;
    }
    for (const room of this.#chat.rooms.values()) room.failed = {};
    if (this.#wasOnline) this.#listLater(RELIST_WITHIN_MS);
    this.#wasOnline = true;
  }

  // A room that was joined, and on coming back is not open to us any more.
  #lostRoom(slug, error) {
    this.#opened = this.#opened.filter((other) => other !== slug);
    if (error.code !== 'not_found' && error.code !== 'forbidden') return;
    if (this.#chat.openSlug === slug) this.#notOpened(slug, error);
    this.#chat.dropRoom(slug);
  }

  #removed({ room: slug, reason }) {
    const room = this.#chat.rooms.get(slug);
    if (!room) return;
    this.#opened = this.#opened.filter((other) => other !== slug);
    this.#chat.left(slug);
    if (reason === 'room_deleted' || room.info.kind !== 'public') this.#chat.dropRoom(slug);
    else Object.assign(room, { info: { ...room.info, role: null }, unread: 0, mentions: 0 });
    if (this.#chat.openSlug === slug) {
      this.#chat.openSlug = null;
      this.#chat.notice = t(`room_gone.${reason}`, { name: room.info.name });
      this.#page.go('/');
    }
    this.#chat.changed();
  }

  #watchTyping() {
    clearTimeout(this.#typingTimer);
    const next = this.#chat.expireTyping();
    if (next !== null) this.#typingTimer = setTimeout(() => this.#watchTyping(), Math.max(50, next - Date.now()));
  }
}
