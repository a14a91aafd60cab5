// The composer: writing, answering, the names that an `@` offers, and how much may still be written.

import { avatar, byId, el } from './dom.js';
import { firstLine, matching, typedMention } from './text.js';
import { t } from './texts.js';

/** From here on the composer counts what is left. */
const COUNT_FROM_LEFT = 200;
const NAMES_OFFERED_MAX = 8;
/** What is not sent yet outlives a reload in this tab. */
const DRAFTS_KEPT_AS = 'salon.drafts';

export class Composer {
  #chat;
  #actions;
  #on;
  #room = null;
  #answered = null;
  #names = [];
  #chosen = 0;
  #input = byId('composer-input');

  /** `on.sent()` when something was sent, `on.editLast()` says whether it could, `on.escape()`. */
  constructor(chat, actions, on) {
    this.#chat = chat;
    this.#actions = actions;
    this.#on = on;
    const input = this.#input;
    input.addEventListener('input', () => {
      this.#grow();
      this.#offer();
      if (input.value.trim()) actions.typing();
    });
    input.addEventListener('keydown', (event) => !event.isComposing && this.#key(event));
    input.addEventListener('click', () => this.#offer());
    input.addEventListener('blur', () => this.#offerNone());
    byId('composer').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#send();
      input.focus();
    });
    globalThis.addEventListener('pagehide', () => this.#keepDrafts());
    byId('reply-cancel').addEventListener('click', () => {
      actions.answer(null);
      input.focus();
    });
  }

  render(room) {
    if (room !== this.#room) this.#switchTo(room);
    if (!room) return;
    const label = t('write_to', { name: room.info.name });
    this.#input.placeholder = label;
    this.#input.setAttribute('aria-label', label);
    const { replyTo } = room;
    byId('reply-bar').hidden = replyTo === null;
    if (replyTo && replyTo !== this.#answered) {
      byId('reply-to').textContent = t('replying_to', { name: replyTo.author });
      byId('reply-text').textContent = firstLine(replyTo.content);
    }
    this.#answered = replyTo;
  }

  focus() {
    this.#input.focus();
  }

  /** What the next message answers. */
  reply(message) {
    this.#actions.answer(message);
    this.#input.focus();
  }

  /** Puts somebody's name where the caret is. */
  mention(name) {
    const { selectionStart: at, value } = this.#input;
    const gap = at > 0 && !/\s$/.test(value.slice(0, at)) ? ' ' : '';
    this.#replace(at, at, `${gap}@${name} `);
  }

  #switchTo(room) {
    if (this.#room) this.#room.draft = this.#input.value;
    this.#room = room;
    this.#input.value = room ? room.draft || this.#keptDraft(room.slug) : '';
    this.#answered = null;
    this.#offerNone();
    this.#grow();
    // On a touch screen the keyboard would cover what one came to read.
    if (room && globalThis.matchMedia('(hover: hover)').matches && !document.querySelector('dialog[open]')) this.#input.focus();
  }

  #keepDrafts() {
    if (this.#room) this.#room.draft = this.#input.value;
    const drafts = {};
    for (const { slug, draft } of this.#chat.rooms.values()) if (draft) drafts[slug] = draft;
    try {
      sessionStorage.setItem(DRAFTS_KEPT_AS, JSON.stringify({ user: this.#chat.me?.id, drafts }));
    } catch {
      // A browser that keeps nothing loses them.
    }
  }

  // Once: a draft that was sent or emptied does not come back.
  #keptDraft(slug) {
    try {
      const { user, drafts } = JSON.parse(sessionStorage.getItem(DRAFTS_KEPT_AS));
      const draft = user === this.#chat.me?.id && Object.hasOwn(drafts, slug) ? drafts[slug] : '';
      delete drafts[slug];
      sessionStorage.setItem(DRAFTS_KEPT_AS, JSON.stringify({ user, drafts }));
      return draft;
    } catch {
      return '';
    }
  }

  #key(event) {
    if (this.#names.length > 0 && this.#keyForNames(event)) {
      event.preventDefault();
      event.stopPropagation();
    } else if (event.key === 'Enter' && !event.shiftKey) {
      event.preventDefault();
      this.#send();
    } else if (event.key === 'ArrowUp' && !event.altKey && this.#input.value === '' && this.#on.editLast()) {
      event.preventDefault();
    } else if (event.key === 'Escape' && this.#room?.replyTo) {
      event.stopPropagation();
      this.#actions.answer(null);
    }
  }

  #send() {
    const input = this.#input;
    if (!input.value.trim() || this.#left() < 0 || !this.#room) return;
    const content = input.value;
    input.value = '';
    this.#offerNone();
    this.#grow();
    this.#on.sent();
    this.#actions.send(content);
  }

  // ---- names

  #offer() {
    const typed = this.#input.selectionStart === this.#input.selectionEnd
      ? typedMention(this.#input.value, this.#input.selectionStart) : null;
    if (!typed || !this.#room) {
      this.#offerNone();
      return;
    }
    if (!this.#room.members) this.#actions.members.load(this.#room).then(() => this.#input.matches(':focus') && this.#offer());
    this.#show(matching(this.#known(), typed.name, NAMES_OFFERED_MAX), typed);
  }

  // Members, who is online, and who wrote what is in view.
  #known() {
    const { members, users, timeline } = this.#room;
    const names = new Set([...users, ...(members?.list ?? []).map(({ username }) => username)]);
    for (const message of timeline.shown) names.add(message.author);
    names.delete(this.#chat.me?.username);
    return names;
  }

  #show(names, typed) {
    this.#names = names;
    this.#chosen = 0;
    byId('names').replaceChildren(...names.map((name, at) => el('li', {
      id: `name-${at}`, role: 'option', 'data-testid': 'name-offer', 'data-user': name,
      onpointerdown: (event) => {
        event.preventDefault();
        this.#take(name, typed);
      },
    }, avatar(name), el('span', {}, name))));
    byId('names').hidden = names.length === 0;
    this.#mark();
  }

  #offerNone() {
    this.#names = [];
    byId('names').hidden = true;
    this.#mark();
  }

  #mark() {
    const options = [...byId('names').children];
    options.forEach((option, at) => option.setAttribute('aria-selected', String(at === this.#chosen)));
    if (this.#names.length > 0) this.#input.setAttribute('aria-activedescendant', `name-${this.#chosen}`);
    else this.#input.removeAttribute('aria-activedescendant');
  }

  #keyForNames({ key, shiftKey }) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[key];
    if (step) {
      this.#chosen = (this.#chosen + step + this.#names.length) % this.#names.length;
      this.#mark();
    } else if ((key === 'Enter' && !shiftKey) || key === 'Tab') {
      this.#take(this.#names[this.#chosen], typedMention(this.#input.value, this.#input.selectionStart));
    } else if (key === 'Escape') {
      this.#offerNone();
    } else {
      return false;
    }
    return true;
  }

  #take(name, typed) {
    if (typed) this.#replace(typed.from, this.#input.selectionStart, `@${name} `);
    this.#offerNone();
  }

  #replace(from, to, text) {
    this.#input.focus();
    this.#input.setRangeText(text, from, to, 'end');
    this.#grow();
  }

  // ---- size

  #left() {
    return this.#chat.contentChars - [...this.#input.value].length;
  }

  #grow() {
    const input = this.#input;
    input.style.height = 'auto';
    input.style.height = `${input.scrollHeight + 2}px`;
    const left = this.#left();
    byId('composer-count').hidden = left > COUNT_FROM_LEFT;
    byId('composer-count').classList.toggle('over', left < 0);
    byId('composer-count').textContent =
      left < 0 ? t('characters_over', { count: -left }) : t('characters_left', { count: left });
    byId('composer-send').disabled = !input.value.trim() || left < 0;
  }
}
