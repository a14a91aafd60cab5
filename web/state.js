// What the page knows: who is logged in, the rooms, and what was said in them. No DOM and no network; it is fed by
// app.js and says `changed` when there is something new to show.

import { mergeChange } from './salon-core.js';

/** Messages a room keeps while one reads its end; the rest is fetched again by scrolling up. */
const KEPT_MAX = 600;
const KEPT_AFTER_TRIM = 300;
/** Over this many online a room has no list, only a count (contract: 200). */
const NAMED_ONLINE_MAX = 200;
const TYPING_SHOWN_MS = 5_000;
const UNREAD_MAX = 100;

export class Chat extends EventTarget {
  /** How long a message may be; the server's `welcome` says. */
  contentChars = 4_000;

  constructor() {
    super();
    this.forget();
  }

  /** Back to nobody logged in. */
  forget() {
    this.me = null;
    this.rooms = new Map();
    this.nextRooms = null;
    this.openSlug = null;
    /** What stands in the place of a room that could not be opened. */
    this.notice = null;
    this.status = { state: 'idle', retry_at: null };
    /** True while a person looks at the end of the open room. */
    this.attentive = false;
    this.changed();
  }

  changed() {
    this.dispatchEvent(new Event('changed'));
  }

  get open() {
    return this.rooms.get(this.openSlug) ?? null;
  }

  get unread() {
    let sum = 0;
    for (const room of this.rooms.values()) sum += room.info.role ? room.unread : 0;
    return sum;
  }

  /** Takes a room object as the server gave it; what was said there stays. */
  putRoom(info) {
    let room = this.rooms.get(info.slug);
    if (room) {
      room.info = info;
    } else {
      room = { info, slug: info.slug, ...emptyRoom() };
      this.rooms.set(info.slug, room);
    }
    if (!room.joined) {
      Object.assign(room, { unread: info.unread, userCount: info.online, lastRead: info.last_read });
    }
    this.changed();
    return room;
  }

  dropRoom(slug) {
    this.rooms.delete(slug);
    this.changed();
  }

  joined(frame) {
    // To who enters for the first time everything is new, so nothing is marked as such.
    const known = !this.rooms.has(frame.room) || this.rooms.get(frame.room).info.role !== null;
    const room = this.putRoom(frame.info);
    if (!room.joined || frame.reset) {
      room.lastRead = known ? frame.info.last_read : frame.seq;
      room.unread = known ? frame.info.unread : 0;
      room.toldRead = frame.info.last_read;
      room.dividerAfter = room.unread > 0 ? room.lastRead : null;
    }
    if (frame.reset) {
      room.messages.clear();
      room.more = frame.more;
      room.oldest = frame.more ? (frame.messages[0]?.id ?? frame.seq + 1) : 0;
    }
    room.joined = true;
    this.#setUsers(room, frame);
    for (const message of frame.messages) this.#merge(room, message, !frame.reset);
    // An acknowledged message that the catch-up had no need to tell again was deleted meanwhile.
    room.pending = room.pending.filter((sent) => sent.id === null || sent.id > frame.seq);
    this.changed();
  }

  left(slug) {
    const room = this.rooms.get(slug);
    if (!room) return;
    Object.assign(room, emptyRoom(), { draft: room.draft, pending: room.pending, unread: room.unread });
    this.changed();
  }

  change(message) {
    const room = this.rooms.get(message.room);
    if (!room) return;
    this.#merge(room, message, true);
    room.typing.delete(message.author);
    if (this.attentive && room === this.open) trim(room);
    this.changed();
  }

  /** A page of older messages; `more` says whether there are still older ones. */
  page(slug, messages, more) {
    const room = this.rooms.get(slug);
    if (!room) return;
    for (const message of messages) this.#merge(room, message, false);
    room.more = more;
    room.oldest = more ? Math.min(room.oldest, messages[0]?.id ?? room.oldest) : 0;
    this.changed();
  }

  // A message older than what is shown is kept, too: the page that brings its neighbours may be older than it.
  #merge(room, message, isNews) {
    const isNew = !room.messages.has(message.id);
    if (!mergeChange(room.messages, message)) return;
    if (message.author_id === this.me?.id && message.nonce) {
      room.pending = room.pending.filter((sent) => sent.nonce !== message.nonce);
    }
    if (!isNews || !isNew || message.type !== 'chat_message' || message.author_id === this.me?.id) return;
    if (message.id <= room.lastRead || (this.attentive && room === this.open)) return;
    room.unread = Math.min(UNREAD_MAX, room.unread + 1);
    room.dividerAfter ??= message.id - 1;
  }

  // ---- one's own messages on their way

  sending(slug, nonce, content) {
    const room = this.rooms.get(slug);
    const known = room.pending.find((sent) => sent.nonce === nonce);
    if (known) Object.assign(known, { state: 'sending', why: null });
    else room.pending.push({ nonce, content, state: 'sending', why: null, id: null, at: new Date().toISOString() });
    room.dividerAfter = null;
    this.changed();
  }

  acked(slug, nonce, ack) {
    const room = this.rooms.get(slug);
    const sent = room?.pending.find((pending) => pending.nonce === nonce);
    if (!sent) return;
    if (room.messages.has(ack.id)) room.pending = room.pending.filter((pending) => pending !== sent);
    else Object.assign(sent, { state: 'sent', id: ack.id, at: ack.created_at });
    this.changed();
  }

  failed(slug, nonce, why) {
    const sent = this.rooms.get(slug)?.pending.find((pending) => pending.nonce === nonce);
    if (sent) Object.assign(sent, { state: 'failed', why });
    this.changed();
  }

  discard(slug, nonce) {
    const room = this.rooms.get(slug);
    if (room) room.pending = room.pending.filter((sent) => sent.nonce !== nonce);
    this.changed();
  }

  // ---- people

  userFrame(frame) {
    const room = this.rooms.get(frame.room);
    if (!room) return;
    if (frame.type === 'user_list') this.#setUsers(room, frame);
    room.userCount = frame.user_count ?? room.userCount;
    if (frame.type === 'user_join') room.users.add(frame.user);
    if (frame.type === 'user_leave') {
      room.users.delete(frame.user);
      room.typing.delete(frame.user);
    }
    if (room.userCount > NAMED_ONLINE_MAX) room.users.clear();
    this.changed();
  }

  #setUsers(room, frame) {
    room.users = new Set(frame.users);
    room.userCount = frame.user_count;
  }

  typing(frame, now = Date.now()) {
    const room = this.rooms.get(frame.room);
    if (!room || frame.user === this.me?.username) return;
    room.typing.set(frame.user, now + TYPING_SHOWN_MS);
    this.changed();
  }

  /** Forgets who stopped typing; gives when to ask again, or null. */
  expireTyping(now = Date.now()) {
    let next = null;
    for (const room of this.rooms.values()) {
      for (const [user, until] of room.typing) {
        if (until <= now) {
          room.typing.delete(user);
          this.changed();
        } else {
          next = Math.min(next ?? until, until);
        }
      }
    }
    return next;
  }

  // ---- reading

  /** The open room was read to its end; gives the `seq` to tell the server, or null when it knows. */
  readOpen() {
    const room = this.open;
    if (!room || !room.joined) return null;
    let newest = 0;
    for (const id of room.messages.keys()) newest = Math.max(newest, id);
    const told = newest <= room.toldRead;
    if (told && room.unread === 0) return null;
    room.toldRead = Math.max(room.toldRead, newest);
    room.lastRead = Math.max(room.lastRead, newest);
    room.unread = 0;
    this.changed();
    return told ? null : room.lastRead;
  }

  /** Another tab or device read the room up to `seq`. */
  readElsewhere({ room: slug, seq }) {
    const room = this.rooms.get(slug);
    if (!room || seq <= room.lastRead) return;
    room.lastRead = seq;
    room.toldRead = Math.max(room.toldRead, seq);
    room.unread = 0;
    for (const message of room.messages.values()) {
      if (message.id > seq && !message.deleted && message.author_id !== this.me?.id) room.unread += 1;
    }
    this.changed();
  }

  unreadElsewhere({ room: slug, unread }) {
    const room = this.rooms.get(slug);
    if (!room || room.joined) return;
    room.unread = unread;
    this.changed();
  }
}

/** The messages to show, oldest first. */
export function shownMessages(room) {
  return [...room.messages.values()].filter((message) => message.id >= room.oldest).sort((a, b) => a.id - b.id);
}

function emptyRoom() {
  return {
    joined: false,
    messages: new Map(),
    /** Everything from this id on is there. */
    oldest: Infinity,
    more: false,
    loadingOlder: false,
    olderFailed: false,
    pending: [],
    users: new Set(),
    userCount: 0,
    typing: new Map(),
    unread: 0,
    lastRead: 0,
    /** How far the server was told that the room is read. */
    toldRead: 0,
    /** The id after which the line "New" stands. */
    dividerAfter: null,
    draft: '',
  };
}

function trim(room) {
  if (room.messages.size <= KEPT_MAX) return;
  const ids = [...room.messages.keys()].sort((a, b) => a - b);
  room.oldest = ids[ids.length - KEPT_AFTER_TRIM];
  room.more = true;
  for (const id of ids) if (id < room.oldest) room.messages.delete(id);
}
