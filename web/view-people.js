// Who is online and who is a member, and the menu of one person: write to them, mention them, and moderation for those
// who may.

import { avatar, byId, el, patchList, setText } from './dom.js';
import { mayActOn, powers } from './members.js';
import { openMenu } from './menu.js';
import { compareNames } from './text.js';
import { language, t } from './texts.js';

/** Names that are drawn; of more there is a number. */
const DRAWN_MAX = 200;

export class PeopleView {
  #chat;
  #actions;
  #dialogs;
  #on;

  /** `on.mention(name)` writes somebody's name, `on.close()` closes the panel. */
  constructor(chat, actions, dialogs, on) {
    this.#chat = chat;
    this.#actions = actions;
    this.#dialogs = dialogs;
    this.#on = on;
    byId('people-close').addEventListener('click', () => on.close());
    byId('members-more').addEventListener('click', () => actions.members.load(chat.open, { more: true }));
    byId('people-invite').addEventListener('click', () => dialogs.invites(chat.open));
  }

  /** The panel was opened: who is a member may have changed. */
  opened() {
    if (this.#chat.open?.joined) this.#actions.members.load(this.#chat.open);
  }

  switched() {
    if (byId('chat').dataset.panel === 'people') this.opened();
  }

  render(room) {
    const known = room.joined && this.#chat.online;
    setText('people-count', known ? String(room.userCount) : '–');
    if (byId('chat').dataset.panel !== 'people') return;
    if (known && room.members === null) this.#actions.members.load(room);
    byId('people-invite').hidden = !powers(room, this.#chat.me).manage;
    this.#renderOnline(room, known);
    this.#renderMembers(room);
  }

  #renderOnline(room, known) {
    byId('people').dataset.known = String(known);
    setText('people-title', known ? t('online_count', { count: room.userCount }) : t('people'));
    byId('people-note').hidden = known;
    setText('people-note', known ? '' : t('online_unknown'));
    const unlisted = known && room.users.size === 0 && room.userCount > 0;
    if (unlisted) this.#actions.members.sample(room);
    const names = unlisted ? (room.sample?.names ?? []) : [...room.users];
    const drawn = names.slice(0, DRAWN_MAX).sort(compareNames);
    patchList(byId('people-list'), drawn.map((name) => this.#row(room, name, 'person')));
    const more = room.userCount - drawn.length;
    byId('people-more').hidden = !known || more <= 0;
    setText('people-more', t('people_more', { count: Math.max(more, 0) }));
  }

  #renderMembers(room) {
    const { members } = room;
    const online = new Set(room.users);
    const others = (members?.list ?? []).filter(({ username }) => !online.has(username));
    byId('members-title').hidden = others.length === 0;
    patchList(byId('members-list'), others.slice(0, 5 * DRAWN_MAX).map(({ username }) => this.#row(room, username, 'member')));
    byId('members-more').hidden = !members?.next;
  }

  #row(room, name, testid) {
    const me = this.#chat.me?.username;
    const role = this.#actions.members.roleOf(room, name);
    const beside = [name === me && t('you'), role && role !== 'member' && t(`role.${role}`)].filter(Boolean).join(' · ');
    return {
      key: name,
      shape: `${beside} ${language()}`,
      make: () => el('li', { 'data-testid': testid, 'data-user': name },
        el('button', { type: 'button', class: 'ghost', onclick: (event) => this.menu(event.currentTarget, name) },
          avatar(name), el('span', { class: 'name' }, name, beside && el('small', { class: 'block muted' }, beside)))),
    };
  }

  /** Opens somebody's menu at a button. */
  async menu(anchor, username) {
    const { open: room, me } = this.#chat;
    if (username === me.username) {
      openMenu(anchor, username, [{ label: t('this_is_you'), icon: 'user', run: () => {} }]);
      return;
    }
    const { manage, own } = powers(room, me);
    // Roles decide what is offered, and may have changed.
    if (manage) await this.#actions.members.load(room);
    const role = this.#actions.members.roleOf(room, username);
    const acts = mayActOn(room, me, { username, role });
    const { members } = this.#actions;
    const setRole = (to, sign) => own && role && role !== to && {
      label: t(`make.${to}`), icon: sign, testid: `make-${to}`, run: () => members.setRole(room, username, to),
    };
    openMenu(anchor, username, [
      { label: t('write_directly'), icon: 'at', testid: 'person-direct', run: () => this.#actions.openDirect(username) },
      { label: t('mention', { name: username }), icon: 'user', testid: 'person-mention', run: () => this.#on.mention(username) },
      setRole('owner', 'shield'),
      setRole('moderator', 'shield'),
      setRole('member', 'user'),
      acts && { label: t('mute'), icon: 'mute', testid: 'person-mute', run: () => this.#dialogs.punish(room, 'mutes', username) },
      acts && { label: t('kick'), icon: 'boot', testid: 'person-kick', danger: true, run: () => this.#dialogs.kick(room, username) },
      acts && { label: t('ban'), icon: 'ban', testid: 'person-ban', danger: true, run: () => this.#dialogs.punish(room, 'bans', username) },
    ]);
  }
}
