// Users: finding them, disabling and enabling them, and who is an administrator.

import { Listing, act, actions, cell, tag, when } from './admin-list.js';
import { t } from './admin-texts.js';
import { el } from './dom.js';
import { call } from './http.js';

export class UsersView {
  #desk;
  #list;

  constructor(desk) {
    this.#desk = desk;
    this.#list = new Listing('users', (user) => this.#row(user), desk.fail);
  }

  show() {
    this.#list.search();
  }

  #row(user) {
    const name = user.username;
    const isMe = user.id === this.#desk.me.id;
    const row = el('tr', { role: 'row', 'data-testid': 'user', 'data-user': name, 'data-disabled': String(user.disabled) });
    const button = (word, change, look) => el('button', {
      type: 'button',
      class: look,
      'data-testid': word,
      'aria-label': `${t(word)}: ${name}`,
      onclick: () => this.#ask(row, user, word, change),
    }, t(word));
    const buttons = isMe ? [] : [
      user.disabled ? button('enable', { disabled: false }) : button('disable', { disabled: true }, 'harmful'),
      user.role === 'admin' ? button('demote', { role: 'user' }, 'harmful') : button('promote', { role: 'admin' }),
    ];
    row.append(
      el('td', { role: 'cell' },
        el('span', { class: 'desk-name' }, name), ' ',
        user.role === 'admin' && tag(t('administrator'), 'strong'), ' ',
        user.disabled && tag(t('disabled'), 'bad'), ' ',
        isMe && tag(t('you')),
        user.issuer && el('span', { class: 'desk-sub' }, t('through', { issuer: user.issuer }))),
      cell(t('created'), when(user.created_at)),
      cell(t('last_seen'), when(user.last_seen_at)),
      actions(...buttons),
    );
    return row;
  }

  /** To enable harms nobody and is not asked about. */
  async #ask(row, user, word, change) {
    const name = user.username;
    if (word !== 'enable' && !(await this.#desk.sure(t(`${word}_sure`, { name }), t(`${word}_text`), t(word)))) return;
    await act(row, async () => {
      const { body } = await call('PATCH', `/api/admin/users/${encodeURIComponent(name)}`, change);
      const fresh = this.#row(body);
      row.replaceWith(fresh);
      fresh.querySelector('button')?.focus();
    }, this.#desk.fail);
  }
}
