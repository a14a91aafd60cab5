// What the page knows: who is logged in, the rooms, and what was said in them. No DOM and no network; it is fed by
// actions.js and says `changed` when there is something new to show, and `message` for each new message of another.

import { Timeline } from './timeline.js';

const TYPING_SHOWN_MS = 5_000;
const UNREAD_MAX = 100;
/** Who came and went is told in the room in lines of its own: so many are kept, */
const NOTES_MAX = 30;
/** and in rooms with more online than this there are none. */
const NOTED_ONLINE_MAX = 50;
/** Quoted messages that are remembered for a room. */
const QUOTES_MAX = 200;

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
    /** True while a person looks at the page. */
    this.attentive = false;
    /** True while the end of the open room is in view. */
    this.atEnd = true;
    this.changed();
  }

  changed() {
    this.dispatchEvent(new Event('changed'));
  }

  get open() {
    return this.rooms.get(this.openSlug) ?? null;
  }

  get online() {
    return this.status.state === 'online';
  }

  get unread() {
    return this.#sum('unread');
  }

  get mentions() {
    return this.#sum('mentions');
  }

  #sum(what) {
    let sum = 0;
    for (const room of this.rooms.values()) sum += room.info.role ? room[what] : 0;
    return sum;
  }

  /** Takes a room object as the server gave it; what was said there stays. */
  putRoom(info) {
    let room = this.rooms.get(info.slug);
    if (room) {
      // Who has joined is a member: a list that was asked for before that does not know.
      room.info = room.joined && !info.role ? { ...info, role: room.info.role } : info;
    } else {
      room = { info, slug: info.slug, ...emptyRoom() };
      this.rooms.set(info.slug, room);
    }
    if (!room.joined) {
      const { unread, mentions = 0, online: userCount, last_read: lastRead } = info;
      Object.assign(room, { unread, mentions, userCount, lastRead });
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
    // Where the server's count was taken, it counts what comes with it.
    const counted = !room.joined || frame.reset;
    if (counted) {
      room.lastRead = known ? frame.info.last_read : frame.seq;
      room.unread = known ? frame.info.unread : 0;
      room.mentions = known ? (frame.info.mentions ?? 0) : 0;
      room.toldRead = frame.info.last_read;
      room.dividerAfter = room.unread > 0 ? room.lastRead : null;
    }
    if (frame.reset) {
      room.timeline.reset(frame.messages, frame.more, frame.seq);
      Object.assign(room, { notes: [], quotes: new Map(), failed: {} });
    }
    room.joined = true;
    this.#setUsers(room, frame);
    for (const message of frame.messages) this.#merge(room, message, !counted);
    // An acknowledged message that the catch-up had no need to tell again was deleted meanwhile.
    room.pending = room.pending.filter((sent) => sent.id === null || sent.id > frame.seq);
    this.changed();
  }

  left(slug) {
    const room = this.rooms.get(slug);
    if (!room) return;
    const { draft, replyTo, pending, unread, mentions, members } = room;
    Object.assign(room, emptyRoom(), { draft, replyTo, pending, unread, mentions, members });
    this.changed();
  }

  /** It is not live for now; what is held of it is gone on with when it is joined again. */
  parked(slug) {
    const room = this.rooms.get(slug);
    if (room) room.joined = false;
    this.changed();
  }

  change(message) {
    const room = this.rooms.get(message.room);
    if (!room) return;
    this.#merge(room, message, true);
    room.typing.delete(message.author);
    // Whoever reads the end lets the beginning go; whoever reads further up keeps what they read.
    if (room === this.open && !this.atEnd) room.timeline.cutEnd();
    else room.timeline.cutStart();
    this.changed();
  }

  #merge(room, message, isNews) {
    const isNew = room.timeline.change(message);
    if (room.quotes.has(message.id)) room.quotes.set(message.id, message);
    const own = message.author_id === this.me?.id;
    if (own && message.nonce) room.pending = room.pending.filter((sent) => sent.nonce !== message.nonce);
    if (!isNews || !isNew || message.type !== 'chat_message' || own || message.id <= room.lastRead) return;
    const mention = this.isMeant(message);
    this.dispatchEvent(new CustomEvent('message', { detail: { room, message, mention } }));
    if (this.attentive && this.atEnd && room === this.open && room.timeline.live) return;
    if (room.unread === 0) room.dividerAfter = message.id - 1;
    room.unread = Math.min(UNREAD_MAX, room.unread + 1);
    if (mention) room.mentions = Math.min(UNREAD_MAX, room.mentions + 1);
  }

  /** Whether a message names the one who is logged in. */
  isMeant(message) {
    return (message.mentions ?? []).includes(this.me?.username);
  }

  /** A message that others quote: known, or null where it cannot be had; undefined when it must be fetched. */
  quoted(room, id) {
    return room.timeline.get(id) ?? room.quotes.get(id);
  }

  putQuote(room, id, message) {
    room.quotes.set(id, message);
    if (room.quotes.size > QUOTES_MAX) room.quotes.delete(room.quotes.keys().next().value);
    this.changed();
  }

  // ---- one's own messages on their way

  sending(slug, nonce, content, replyTo = null) {
    const room = this.rooms.get(slug);
    if (!room) return;
    const known = room.pending.find((sent) => sent.nonce === nonce);
    const at = new Date().toISOString();
    if (known) Object.assign(known, { state: 'sending', why: null });
    else room.pending.push({ nonce, content, reply_to: replyTo, state: 'sending', why: null, id: null, at });
    room.dividerAfter = null;
    this.changed();
  }

  acked(slug, nonce, ack) {
    const room = this.rooms.get(slug);
    const sent = room?.pending.find((pending) => pending.nonce === nonce);
    if (!sent) return;
    if (room.timeline.get(ack.id)) room.pending = room.pending.filter((pending) => pending !== sent);
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
    if (frame.type === 'user_count') room.users.clear();
    if (frame.type === 'user_join' || frame.type === 'user_leave') this.#note(room, frame.type, frame.user);
    this.changed();
  }

  #setUsers(room, frame) {
    room.users = new Set(frame.users);
    room.userCount = frame.user_count;
  }

  // A quiet line after the last message; who comes and goes within one line stands there once.
  #note(room, type, user) {
    if (!room.joined || room.userCount > NOTED_ONLINE_MAX || user === this.me?.username) return;
    const after = room.timeline.newest;
    let note = room.notes.at(-1);
    if (note?.after !== after) {
      note = { after, came: [], went: [] };
      room.notes = [...room.notes, note].slice(-NOTES_MAX);
    }
    const without = (names) => names.filter((name) => name !== user);
    const here = type === 'user_join';
    // Who went and is back has not been missed.
    const back = here ? note.went.includes(user) : note.came.includes(user);
    note.came = here && !back ? [...without(note.came), user] : without(note.came);
    note.went = !here && !back ? [...without(note.went), user] : without(note.went);
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

  /**
   * The open room was seen down to the message `id`, by default to its end; gives the `seq` to tell the server, or
   * null when it knows.
   */
  readOpen(id = Infinity) {
    const room = this.open;
    if (!room || !room.joined) return null;
    const newest = room.timeline.newest;
    const upTo = Math.min(id, newest);
    if (upTo <= room.toldRead && (upTo < newest || room.unread === 0)) return null;
    const told = upTo <= room.toldRead;
    room.toldRead = Math.max(room.toldRead, upTo);
    room.lastRead = Math.max(room.lastRead, upTo);
    this.#recount(room);
    this.changed();
    return told || !room.info.role ? null : room.lastRead;
  }

  /** Another tab or device read the room up to `seq`. */
  readElsewhere({ room: slug, seq }) {
    const room = this.rooms.get(slug);
    if (!room || seq <= room.lastRead) return;
    room.lastRead = seq;
    room.toldRead = Math.max(room.toldRead, seq);
    this.#recount(room);
    this.changed();
  }

  // Reading only ever makes it less: what is not held is counted as it was.
  #recount(room) {
    let [unread, mentions] = [0, 0];
    for (const message of room.timeline.messages.values()) {
      if (message.id <= room.lastRead || message.deleted || message.author_id === this.me?.id) continue;
      unread += 1;
      if (this.isMeant(message)) mentions += 1;
    }
    const whole = room.timeline.tail <= room.lastRead + 1 || room.lastRead >= room.timeline.newest;
    room.unread = whole ? Math.min(unread, UNREAD_MAX) : Math.min(room.unread, Math.max(unread, 1));
    room.mentions = whole ? Math.min(mentions, UNREAD_MAX) : Math.min(room.mentions, Math.max(mentions, 0));
  }

  unreadElsewhere({ room: slug, unread, mentions }) {
    const room = this.rooms.get(slug);
    if (!room || room.joined) return;
    Object.assign(room, { unread, mentions: mentions ?? 0 });
    this.changed();
  }
}

function emptyRoom() {
  return {
    joined: false,
    timeline: new Timeline(),
    /** Which pages are being fetched, and which could not be: `older`, `newer`, `around`. */
    loading: {},
    failed: {},
    pending: [],
    users: new Set(),
    userCount: 0,
    /** Some names of a room with too many online for a list, `{names, at}`. */
    sample: null,
    /** The members as last asked for: `{list, next, roles}`, or null. */
    members: null,
    typing: new Map(),
    notes: [],
    /** Messages that others answer, by id, null for what is not there. */
    quotes: new Map(),
    unread: 0,
    mentions: 0,
    lastRead: 0,
    /** How far the server was told that the room is read. */
    toldRead: 0,
    /** The id after which the line "New" stands. */
    dividerAfter: null,
    /** The same once it was in view. */
    dividerSeen: null,
    draft: '',
    /** The message that the draft answers. */
    replyTo: null,
    /** The message that was jumped to: `{id}`. */
    target: null,
  };
}
