// Rooms of all kinds: finding them, deleting one, deleting a message in one. What was said there is not shown.

import { Listing, act, actions, cell, tag, when } from './admin-list.js';
import { errorText, t } from './admin-texts.js';
import { byId, el } from './dom.js';
import { call } from './http.js';

/** Members are counted up to so many. */
const MEMBERS_COUNTED_MAX = 10_000;

export class RoomsView {
  #desk;
  #list;
  #messageRoom = null;

  constructor(desk) {
    this.#desk = desk;
    this.#list = new Listing('rooms', (room) => this.#row(room), desk.fail);
    byId('message-close').addEventListener('click', () => byId('message-dialog').close());
    byId('message-form').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#deleteMessage();
    });
  }

  show() {
    this.#list.search();
  }

  #row(room) {
    const name = title(room);
    const row = el('tr', { role: 'row', 'data-testid': 'room', 'data-room': room.slug });
    const button = (word, look, run) => el('button', {
      type: 'button',
      class: look,
      'data-testid': word,
      'aria-label': `${t(word)}: ${name}`,
      onclick: run,
    }, t(word));
    const members = room.members < MEMBERS_COUNTED_MAX ? String(room.members) : `${MEMBERS_COUNTED_MAX}+`;
    row.append(
      el('td', { role: 'cell' },
        el('span', { class: 'desk-name' }, name), ' ', tag(t(`kind.${room.kind}`)),
        el('span', { class: 'desk-sub' },
          room.kind === 'public' ? el('a', { href: `/r/${encodeURIComponent(room.slug)}` }, room.slug) : room.slug),
        room.topic && el('span', { class: 'desk-sub' }, room.topic)),
      cell(t('members'), members),
      cell(t('changes'), String(room.seq)),
      cell(t('created'), when(room.created_at)),
      cell(t('last_change'), when(room.changed_at)),
      actions(
        button('delete_message', null, () => this.#askForMessage(room)),
        room.kind !== 'direct' && button('delete_room', 'harmful', () => this.#deleteRoom(row, room)),
      ),
    );
    return row;
  }

  async #deleteRoom(row, room) {
    if (!(await this.#desk.sure(t('delete_sure', { name: title(room) }), t('delete_text'), t('delete')))) return;
    await act(row, async () => {
      await call('DELETE', `/api/admin/rooms/${room.id}`);
      const near = row.nextElementSibling ?? row.previousElementSibling;
      row.remove();
      (near?.querySelector('button') ?? byId('rooms-find-input')).focus();
      this.#list.count();
    }, this.#desk.fail);
  }

  #askForMessage(room) {
    this.#messageRoom = room;
    byId('message-title').textContent = t('message_of', { name: title(room) });
    byId('message-id').value = '';
    this.#tell('', '');
    byId('message-dialog').showModal();
    byId('message-id').focus();
  }

  async #deleteMessage() {
    const field = byId('message-id');
    const id = field.value.trim();
    if (!/^[1-9]\d*$/.test(id)) {
      this.#tell(t('message_id_wrong'), 'error');
      field.focus();
      return;
    }
    const button = byId('message-delete');
    button.disabled = true;
    try {
      const { body } = await call('DELETE', `/api/admin/rooms/${this.#messageRoom.id}/messages/${id}`);
      this.#tell(t('message_deleted', { id, author: body.author }), 'done');
      field.value = '';
    } catch (error) {
      this.#tell(error.code === 'not_found' ? t('message_missing', { id }) : errorText(error), 'error');
    } finally {
      button.disabled = false;
      field.focus();
    }
  }

  #tell(text, state) {
    byId('message-told').textContent = text;
    byId('message-told').dataset.state = state;
  }
}

function title(room) {
  return room.between ? t('between', { names: room.between.join(', ') }) : room.name;
}
