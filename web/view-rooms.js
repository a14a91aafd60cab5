// The side bar: the rooms, finding, joining and creating one, and who one is.

import { avatar, byId, el, icon, patchList } from './dom.js';
import { clearErrors, showError, whileBusy } from './forms.js';
import { errorText, t } from './texts.js';

export class RoomsView {
  #chat;
  #actions;
  #me = null;

  constructor(chat, actions) {
    this.#chat = chat;
    this.#actions = actions;
    byId('log-out').addEventListener('click', () => whileBusy(byId('log-out'), () => actions.logOut()));
    byId('rooms-more').addEventListener('click', () => whileBusy(byId('rooms-more'), () => actions.moreRooms()));
    byId('room-find-input').addEventListener('input', () => {
      clearErrors('room-find');
      this.render();
    });
    byId('room-find-input').addEventListener('keydown', (event) => {
      if (event.key === 'Escape') this.#clearFind();
    });
    byId('room-find').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#find();
    });
    this.#setUpCreate();
  }

  render() {
    const { me, rooms, openSlug, nextRooms } = this.#chat;
    if (!me) return;
    if (this.#me !== me) {
      this.#me = me;
      byId('me-name').textContent = me.username;
      byId('me-avatar').replaceChildren(avatar(me.username));
    }
    const wanted = byId('room-find-input').value.trim();
    const sorted = [...rooms.values()].filter((room) => matches(room, wanted)).sort(byName);
    const own = sorted.filter((room) => room.info.role);
    const other = sorted.filter((room) => !room.info.role);
    patchList(byId('own-rooms'), own.map((room) => this.#row(room, openSlug)));
    patchList(byId('other-rooms'), other.map((room) => this.#row(room, openSlug)));
    byId('own-rooms-section').hidden = own.length === 0;
    byId('other-rooms-section').hidden = other.length === 0;
    byId('rooms-empty').hidden = sorted.length > 0;
    byId('rooms-empty').textContent = t(wanted ? 'no_match' : 'no_rooms');
    byId('rooms-more').hidden = !nextRooms;
    byId('room-find-join').hidden = !wanted || sorted.some((room) => sameName(room, wanted));
    byId('room-find-join').textContent = t('join_named', { name: wanted });
  }

  #row(room, openSlug) {
    const { info, slug } = room;
    const unread = info.role ? room.unread : 0;
    const open = slug === openSlug;
    return {
      key: slug,
      shape: JSON.stringify([info.name, info.kind, info.topic, unread, open, room.userCount]),
      make: () => el('li', {},
        el('a', {
          href: `/r/${encodeURIComponent(slug)}`,
          class: `room-link${unread ? ' has-unread' : ''}`,
          'aria-current': open ? 'page' : null,
          title: info.topic || null,
          'data-testid': 'room-link',
          'data-room': slug,
          onclick: (event) => {
            if (event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
            event.preventDefault();
            this.#clearFind();
            this.#actions.openRoom(slug);
          },
        },
        icon(info.kind === 'public' ? 'hash' : info.kind === 'direct' ? 'at' : 'lock'),
        el('span', { class: 'name' }, info.name),
        info.kind === 'private' && el('span', { class: 'sr' }, ` (${t('private')})`),
        unread > 0 && el('span', {
          class: 'badge',
          'data-testid': 'unread',
          'aria-label': unread > 99 ? t('unread_many') : t('unread', { count: unread }),
        }, unread > 99 ? '99+' : String(unread)))),
    };
  }

  #clearFind() {
    byId('room-find-input').value = '';
    clearErrors('room-find');
    this.render();
  }

  async #find() {
    const wanted = byId('room-find-input').value.trim();
    if (!wanted) return;
    const rooms = [...this.#chat.rooms.values()].filter((room) => matches(room, wanted)).sort(byName);
    const meant = rooms.find((room) => sameName(room, wanted));
    await whileBusy(byId('room-find-join'), async () => {
      try {
        await this.#actions.joinNamed(meant?.slug ?? slugOf(wanted), wanted);
        this.#clearFind();
      } catch (error) {
        byId('room-find-error').textContent =
          ['not_found', 'invalid'].includes(error.code) ? t('room_missing', { name: wanted }) : errorText(error);
        byId('room-find-error').hidden = false;
      }
    });
  }

  #setUpCreate() {
    const dialog = byId('create-dialog');
    byId('room-create').addEventListener('click', () => {
      clearErrors('create');
      byId('create-form').reset();
      byId('create-name').value = byId('room-find-input').value.trim();
      dialog.showModal();
      byId('create-name').focus();
    });
    byId('create-cancel').addEventListener('click', () => dialog.close());
    byId('create-form').addEventListener('submit', (event) => {
      event.preventDefault();
      const name = byId('create-name').value.trim();
      clearErrors('create');
      if (!name) {
        byId('create-name').focus();
        return;
      }
      const topic = byId('create-topic').value.trim();
      const kind = byId('create-private').checked ? 'private' : 'public';
      whileBusy(byId('create-submit'), async () => {
        try {
          await this.#actions.createRoom({ name, topic, kind });
          dialog.close();
          this.#clearFind();
        } catch (error) {
          showError('create', error);
        }
      });
    });
  }
}

/** The address that a typed name most likely has: lower case, and `-` for all that is no letter or digit. */
export function slugOf(name) {
  return name.normalize('NFKC').toLowerCase().replace(/[^\p{Alphabetic}\p{N}]+/gu, '-').replace(/^-+|-+$/g, '');
}

function sameName({ slug, info }, wanted) {
  return slug === slugOf(wanted) || info.name.toLowerCase() === wanted.toLowerCase();
}

function matches({ slug, info }, wanted) {
  const lower = wanted.toLowerCase();
  return !wanted || info.name.toLowerCase().includes(lower) || slug.includes(slugOf(wanted) || lower);
}

function byName(a, b) {
  return a.info.name.localeCompare(b.info.name) || a.info.id - b.info.id;
}
