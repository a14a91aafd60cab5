// The dialogs to create a room and to begin a direct conversation.

import { avatar, byId, el } from './dom.js';
import { clearErrors, showError, whileBusy } from './forms.js';
import { matching } from './text.js';
import { t } from './texts.js';

const PEOPLE_OFFERED_MAX = 8;

export class CreateView {
  #chat;
  #actions;
  #done;

  /** `done()` is called when a room was made. */
  constructor(chat, actions, done) {
    this.#chat = chat;
    this.#actions = actions;
    this.#done = done;
    this.#setUpRoom();
    this.#setUpDirect();
  }

  #setUpRoom() {
    const dialog = byId('create-dialog');
    byId('room-create').addEventListener('click', () => {
      clearErrors('create');
      byId('create-form').reset();
      byId('create-name').value = byId('room-find-input').value.trim();
      dialog.showModal();
      byId('create-name').focus();
    });
    byId('create-form').addEventListener('submit', (event) => {
      event.preventDefault();
      const name = byId('create-name').value.trim();
      const topic = byId('create-topic').value.trim();
      const kind = byId('create-private').checked ? 'private' : 'public';
      if (name) this.#create('create', dialog, { name, topic, kind });
      else byId('create-name').focus();
    });
  }

  #setUpDirect() {
    const dialog = byId('direct-dialog');
    byId('direct-create').addEventListener('click', () => {
      clearErrors('direct');
      byId('direct-form').reset();
      this.#offer();
      dialog.showModal();
      byId('direct-username').focus();
    });
    byId('direct-username').addEventListener('input', () => this.#offer());
    byId('direct-form').addEventListener('submit', (event) => {
      event.preventDefault();
      const username = byId('direct-username').value.trim();
      if (username) this.#create('direct', dialog, { kind: 'direct', username });
      else byId('direct-username').focus();
    });
  }

  // People the page has met: who is online or a member in the rooms that are open.
  #offer() {
    const names = new Set();
    for (const room of this.#chat.rooms.values()) {
      for (const name of room.users) names.add(name);
      for (const { username } of room.members?.list ?? []) names.add(username);
    }
    names.delete(this.#chat.me?.username);
    const offered = matching(names, byId('direct-username').value.trim(), PEOPLE_OFFERED_MAX);
    byId('direct-offers').replaceChildren(...offered.map((name) => el('li', {},
      el('button', {
        type: 'button', class: 'ghost', 'data-testid': 'direct-offer', 'data-user': name,
        onclick: () => this.#create('direct', byId('direct-dialog'), { kind: 'direct', username: name }),
      }, avatar(name), el('span', { class: 'name' }, name)))));
  }

  #create(form, dialog, wish) {
    clearErrors(form);
    return whileBusy(byId(`${form}-submit`), async () => {
      try {
        await this.#actions.createRoom(wish);
        dialog.close();
        this.#done();
      } catch (error) {
        const nobody = wish.kind === 'direct' && error.code === 'not_found';
        showError(form, nobody ? { own: true, errors: { username: t('no_such_user') } } : error);
      }
    });
  }
}
