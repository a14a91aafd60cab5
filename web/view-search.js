// Search: over this room or all, with what was found marked in the text, and a jump to it.

import { byId, el } from './dom.js';
import { errorText, t } from './texts.js';
import { format } from './view-message.js';

export class SearchView {
  #chat;
  #actions;
  #on;
  #next = null;
  /** Counts the searches, so that the answer to an earlier one is not taken for this one's. */
  #run = 0;

  /** `on.close()` closes the panel, `on.jumped()` is called after a hit was chosen. */
  constructor(chat, actions, on) {
    this.#chat = chat;
    this.#actions = actions;
    this.#on = on;
    byId('search-close').addEventListener('click', () => on.close());
    byId('search-form').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#search();
    });
    for (const id of ['search-here', 'search-all']) {
      byId(id).addEventListener('change', () => byId('search-input').value.trim() && this.#search());
    }
    byId('search-more').addEventListener('click', () => this.#more());
  }

  focus() {
    byId('search-input').focus();
    byId('search-input').select();
  }

  async #search() {
    const q = byId('search-input').value.trim();
    if (!q) return;
    byId('search-results').replaceChildren();
    const room = byId('search-here').checked ? this.#chat.openSlug : null;
    await this.#ask({ q, room });
  }

  #more() {
    return this.#ask({ next: this.#next });
  }

  async #ask(wish) {
    this.#run += 1;
    const run = this.#run;
    this.#say(t('searching'));
    byId('search-more').hidden = true;
    try {
      const { hits, next } = await this.#actions.history.search(wish);
      if (run !== this.#run) return;
      this.#next = next;
      byId('search-results').append(...hits.map((hit) => this.#hit(hit)));
      byId('search-more').hidden = next === null;
      const found = byId('search-results').children.length;
      this.#say(found === 0 ? t('search_none') : t('search_found', { count: found }));
    } catch (error) {
      if (run === this.#run) this.#say(errorText(error));
    }
  }

  #say(text) {
    byId('search-status').textContent = text;
  }

  #hit(hit) {
    const room = this.#chat.rooms.get(hit.room)?.info.name ?? hit.room;
    return el('li', { 'data-testid': 'hit', 'data-id': String(hit.id), 'data-room': hit.room },
      el('a', {
        href: `/r/${encodeURIComponent(hit.room)}#m${hit.id}`,
        onclick: (event) => {
          if (event.metaKey || event.ctrlKey || event.shiftKey) return;
          event.preventDefault();
          this.#on.jumped();
          this.#actions.openRoom(hit.room, { at: hit.id });
        },
      },
      el('span', { class: 'hit-head' },
        el('strong', {}, hit.author), el('span', { class: 'hit-room' }, room),
        el('time', { datetime: hit.created_at }, format('short', hit.created_at))),
      el('span', { class: 'hit-text' },
        ...(hit.highlight ?? []).map(({ text, match }) => (match ? el('mark', {}, text) : text)))));
  }
}
