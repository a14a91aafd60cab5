// A list that is searched and shown page by page, and the cells that its rows are made of.

import { errorText, language, t } from './admin-texts.js';
import { byId, el } from './dom.js';
import { call } from './http.js';

const PAGE = 50;
/** After the last letter typed. */
const TYPED_MS = 300;
/** A page may hold nothing and have a next one, where a large table is searched: so many are asked for unasked. */
const EMPTY_PAGES_MAX = 20;

const WHEN = new Intl.DateTimeFormat(language, { dateStyle: 'medium', timeStyle: 'short' });

/** The list `x` has `x-find` with its `x-find-input`, `x-status`, `x-rows` and `x-more`; `row(item)` makes a row. */
export class Listing {
  #name;
  #row;
  #fail;
  #asked = 0;
  #next = null;
  #typing = null;

  constructor(name, row, fail) {
    this.#name = name;
    this.#row = row;
    this.#fail = fail;
    byId(`${name}-find`).addEventListener('submit', (event) => {
      event.preventDefault();
      this.search();
    });
    byId(`${name}-find-input`).addEventListener('input', () => {
      clearTimeout(this.#typing);
      this.#typing = setTimeout(() => this.search(), TYPED_MS);
    });
    byId(`${name}-more`).addEventListener('click', () => this.#load(false));
  }

  /** From the beginning, for what stands in the field. */
  search() {
    clearTimeout(this.#typing);
    const part = byId(`${this.#name}-find-input`).value.trim();
    this.#next = `/api/admin/${this.#name}?limit=${PAGE}${part && `&q=${encodeURIComponent(part)}`}`;
    return this.#load(true);
  }

  /** Says again how many there are. */
  count() {
    const count = byId(`${this.#name}-rows`).children.length;
    if (count > 0) this.#say(t(this.#next ? 'shown_more' : 'shown', { count }));
    else this.#say(t(this.#next ? 'search_on' : 'none'));
  }

  async #load(anew) {
    this.#asked += 1;
    const asked = this.#asked;
    this.#say(t('searching'));
    try {
      let found = [];
      let next = this.#next;
      for (let page = 0; page < EMPTY_PAGES_MAX && found.length === 0 && next; page += 1) {
        const { body, links } = await call('GET', next);
        // Something else was searched for meanwhile.
        if (asked !== this.#asked) return;
        found = body;
        next = links.next ?? null;
      }
      this.#next = next;
      this.#put(found, anew);
    } catch (error) {
      if (asked !== this.#asked) return;
      this.#say(errorText(error), 'error');
      this.#fail(error);
    }
  }

  #put(found, anew) {
    const rows = byId(`${this.#name}-rows`);
    const made = found.map((item) => this.#row(item));
    if (anew) rows.replaceChildren(...made);
    else rows.append(...made);
    const more = byId(`${this.#name}-more`);
    const hadFocus = document.activeElement === more;
    more.hidden = !this.#next;
    if (hadFocus && more.hidden) made[0]?.querySelector('button, a')?.focus();
    this.count();
  }

  #say(text, state = 'well') {
    const status = byId(`${this.#name}-status`);
    status.textContent = text;
    status.dataset.state = state;
  }
}

/** A cell, which says its column's name where there are no columns. */
export function cell(name, ...content) {
  return el('td', { role: 'cell', 'data-name': name }, ...content);
}

/** The last cell: what can be done. */
export function actions(...content) {
  return el('td', { role: 'cell', class: 'last' }, content.length > 0 && el('div', { class: 'desk-actions' }, ...content));
}

export function tag(text, look = '') {
  return el('span', { class: `tag ${look}` }, text);
}

/** A time as the reader writes it; `null` is never. */
export function when(at) {
  return at ? el('time', { datetime: at, title: at }, WHEN.format(new Date(at))) : t('never');
}

/** Runs what a row's button asked for; its buttons are off meanwhile. */
export async function act(row, run, fail) {
  const buttons = row.querySelectorAll('button');
  for (const button of buttons) button.disabled = true;
  try {
    await run();
  } catch (error) {
    fail(error);
  } finally {
    for (const button of buttons) button.disabled = false;
  }
}
