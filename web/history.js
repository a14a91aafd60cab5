// Pages of a room's messages: older, newer, around one that is jumped to, those that others quote; and search.

import { call } from './http.js';
import { errorText, t } from './texts.js';

const PAGE = 100;
/** On either side of a message that is jumped to. */
const AROUND = 50;
/** Quoted messages asked for at once. */
const QUOTES_AT_ONCE = 4;

export class History {
  #chat;
  #page;
  #quotes = [];
  #asking = 0;

  constructor(chat, page) {
    this.#chat = chat;
    this.#page = page;
  }

  /** Fetches what comes before the window of the open room, unless that is being done. */
  older() {
    const room = this.#chat.open;
    if (!room?.joined || !room.timeline.older) return undefined;
    const { from } = room.timeline;
    return this.#load(room, 'older', async () => {
      const { body, links } = await messages(room.slug, `before=${from}&limit=${PAGE}`);
      // Meanwhile the room may have been reset, or shortened: then this page has no neighbour.
      if (room.timeline.from === from) room.timeline.pageBefore(body, 'prev' in links && body.length > 0);
    });
  }

  /** The same for what comes after it. */
  newer() {
    const room = this.#chat.open;
    if (!room?.joined || room.timeline.live) return undefined;
    const { to } = room.timeline;
    return this.#load(room, 'newer', async () => {
      const { body } = await messages(room.slug, `after=${to}&limit=${PAGE}`);
      if (room.timeline.to === to) room.timeline.pageAfter(body);
    });
  }

  /** Brings a message into the window and marks it as the one to look at. */
  async jump(slug, id) {
    const room = this.#chat.rooms.get(slug);
    if (!room?.joined) return;
    if (!inWindow(room.timeline, id)) await this.#around(room, id);
    if (inWindow(room.timeline, id)) room.target = { id };
    this.#chat.changed();
  }

  /** The same for the place up to which the room was read. */
  async toUnread(room) {
    await this.#around(room, room.dividerAfter);
    room.target = { id: null };
    this.#chat.changed();
  }

  toLive(room) {
    room.timeline.toLive();
    room.target = null;
    this.#chat.changed();
  }

  #around(room, id) {
    return this.#load(room, 'around', async () => {
      const [before, after] = await Promise.all([
        messages(room.slug, `before=${id + 1}&limit=${AROUND}`),
        messages(room.slug, `after=${id}&limit=${AROUND}`),
      ]);
      const page = [...before.body, ...after.body];
      if (page.length === 0) return;
      room.timeline.around(page, 'prev' in before.links && before.body.length > 0);
    }, true);
  }

  async #load(room, what, fetchPage, complains = false) {
    if (room.loading[what]) return;
    room.loading[what] = true;
    room.failed[what] = false;
    this.#chat.changed();
    const done = room.timeline.loading();
    try {
      await fetchPage();
    } catch (error) {
      room.failed[what] = true;
      if (complains) this.#page.complain(errorText(error));
    } finally {
      room.loading[what] = false;
      done();
      this.#chat.changed();
    }
  }

  // ---- quotes

  /** Asks for a message that another one answers; it is in `chat.quoted` when it came. */
  quote(room, id) {
    if (this.#chat.quoted(room, id) !== undefined || this.#quotes.some((wish) => wish.room === room && wish.id === id)) return;
    this.#quotes.push({ room, id });
    this.#askQuotes();
  }

  async #askQuotes() {
    if (this.#asking >= QUOTES_AT_ONCE) return;
    const wish = this.#quotes.find((waiting) => !waiting.asked);
    if (!wish) return;
    wish.asked = true;
    this.#asking += 1;
    try {
      const { body } = await messages(wish.room.slug, `before=${wish.id + 1}&limit=1`);
      const message = body.at(-1)?.id === wish.id ? body.at(-1) : null;
      this.#chat.putQuote(wish.room, wish.id, message);
    } catch {
      // Without a connection it stays as it is; when the room is drawn again it is asked for again.
    } finally {
      this.#asking -= 1;
      this.#quotes = this.#quotes.filter((other) => other !== wish);
      this.#askQuotes();
    }
  }

  // ---- search

  /** `{hits, next}`; `next` is the path for more. Throws. */
  async search({ q, room = null, next = null }) {
    const where = room ? `&room=${encodeURIComponent(room)}` : '';
    const { body, links } = await call('GET', next ?? `/api/search?q=${encodeURIComponent(q)}${where}&limit=30`);
    return { hits: body, next: links.next ?? null };
  }

  /** The address of a message, to hand on. */
  copyLink(slug, id) {
    return this.#copy(`${location.origin}/r/${encodeURIComponent(slug)}#m${id}`);
  }

  copyRoomLink(slug) {
    return this.#copy(`${location.origin}/r/${encodeURIComponent(slug)}`);
  }

  async #copy(text) {
    if (await copy(text)) this.#page.say(t('copied'));
    else this.#page.complain(t('copy_failed', { text }));
  }
}

/** Puts text into the clipboard; says whether it could. Browsers give it to safe origins only. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}

function messages(slug, query) {
  return call('GET', `/api/rooms/${encodeURIComponent(slug)}/messages?${query}`);
}

function inWindow(timeline, id) {
  return id >= timeline.from && id <= timeline.to && timeline.has(id);
}
