// The side bar: the rooms, finding and joining one, and who one is.

import { avatar, byId, el, icon, patchList } from './dom.js';
import { clearErrors, whileBusy } from './forms.js';
import { compareNames } from './text.js';
import { errorText, language, t } from './texts.js';
import { CreateView } from './view-create.js';

export class RoomsView {
  #chat;
  #actions;
  #me = null;
  #create;

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
    this.#create = new CreateView(chat, actions, () => this.#clearFind());
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
    const direct = sorted.filter((room) => room.info.kind === 'direct');
    const own = sorted.filter((room) => room.info.role && room.info.kind !== 'direct');
    const other = sorted.filter((room) => !room.info.role && room.info.kind !== 'direct');
    for (const [list, its] of [['own-rooms', own], ['direct-rooms', direct], ['other-rooms', other]]) {
      patchList(byId(list), its.map((room) => this.#row(room, openSlug)));
    }
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
    const mentions = info.role ? room.mentions : 0;
    const open = slug === openSlug;
    return {
      key: slug,
      shape: JSON.stringify([info.name, info.kind, info.topic, unread, mentions, open, language()]),
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
        unread > 0 && badge(unread, mentions))),
    };
  }

  /** The room `step` places further in the list as it stands, only among those with something new if `unread`. */
  neighbour(step, unread) {
    const links = [...document.querySelectorAll('#sidebar [data-testid=room-link]')];
    const here = links.findIndex((link) => link.hasAttribute('aria-current'));
    for (let at = here + step; at >= 0 && at < links.length; at += step) {
      if (!unread || links[at].classList.contains('has-unread')) return links[at].dataset.room;
    }
    return null;
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
}

// What names the person stands out from what is only new.
function badge(unread, mentions) {
  const many = unread > 99;
  const label = many ? t('unread_many') : t('unread', { count: unread });
  return el('span', { class: `badge${mentions > 0 ? ' mentioned' : ''}`, 'data-testid': 'unread', 'data-mentions': String(mentions) },
    el('span', { 'aria-hidden': 'true' }, `${mentions > 0 ? '@ ' : ''}${many ? '99+' : unread}`),
    el('span', { class: 'sr' }, mentions > 0 ? `${label}, ${t('mentions', { count: mentions })}` : label));
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
  return compareNames(a.info.name, b.info.name) || a.info.id - b.info.id;
}
