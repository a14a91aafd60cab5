// The open room: its head and menu, who types, the panel at its side, and the state of the connection.

import { byId, icon, setText } from './dom.js';
import { powers } from './members.js';
import { openMenu } from './menu.js';
import { Composer } from './view-composer.js';
import { MessagesView } from './view-messages.js';
import { PeopleView } from './view-people.js';
import { RoomDialogs } from './view-room-dialogs.js';
import { SearchView } from './view-search.js';
import { t } from './texts.js';

const WIDE = '(min-width: 1100px)';
const KIND_ICONS = { public: 'hash', private: 'lock', direct: 'at' };

export class RoomView {
  messages;
  composer;
  search;
  #chat;
  #actions;
  #people;
  #dialogs;
  #shown = null;
  #connection = '';
  #wide = globalThis.matchMedia(WIDE);

  constructor(chat, actions) {
    this.#chat = chat;
    this.#actions = actions;
    this.#dialogs = new RoomDialogs(chat, actions);
    this.#people = new PeopleView(chat, actions, this.#dialogs, {
      mention: (name) => this.composer.mention(name),
      close: () => this.showPanel('none'),
    });
    this.messages = new MessagesView(chat, actions, {
      leaveEdit: () => this.composer.focus(),
      reply: (message) => this.composer.reply(message),
      person: (anchor, name) => this.#people.menu(anchor, name),
    });
    this.composer = new Composer(chat, actions, {
      sent: () => this.messages.follow(),
      editLast: () => this.messages.editLastOwn(),
    });
    this.search = new SearchView(chat, actions, {
      close: () => this.showPanel('none'),
      // On a narrow screen the panel lies over what was found.
      jumped: () => !this.#wide.matches && this.showPanel('none'),
    });
    byId('room-back').addEventListener('click', () => actions.closeRoom());
    byId('room-none-back').addEventListener('click', () => actions.closeRoom());
    byId('banner-retry').addEventListener('click', () => actions.retryConnection());
    byId('room-menu').addEventListener('click', () => this.#menu());
    byId('people-toggle').addEventListener('click', () => this.toggle('people'));
    byId('search-toggle').addEventListener('click', () => this.toggle('search'));
    this.#wide.addEventListener('change', () => this.showPanel(this.#wide.matches ? 'people' : 'none'));
    this.showPanel(this.#wide.matches ? 'people' : 'none');
  }

  render() {
    const { open: room } = this.#chat;
    byId('chat').dataset.view = this.#chat.openSlug || this.#chat.notice ? 'room' : 'list';
    byId('room-none').hidden = room !== null;
    byId('room-open').hidden = room === null;
    setText('room-none-text', this.#chat.notice ?? t(this.#chat.openSlug ? 'starting' : 'pick_room'));
    if (room !== this.#shown) this.#switchTo(room);
    this.composer.render(room);
    if (room) {
      setText('room-name', room.info.name);
      setText('room-topic', room.info.topic);
      setText('typing', this.#chat.online ? typingText([...room.typing.keys()]) : '');
      this.#people.render(room);
      this.messages.render(room);
    }
    this.renderConnection();
  }

  renderConnection() {
    const { status } = this.#chat;
    byId('connection').dataset.state = status.state;
    setText('connection-text', t(`state.${status.state}`));
    const lost = ['reconnecting', 'offline', 'stopped'].includes(status.state);
    byId('banner').hidden = !lost;
    byId('banner').dataset.state = status.state;
    byId('banner-retry').hidden = status.state !== 'stopped' && status.retry_at === null;
    // Written only when it changes: it is read aloud.
    const text = lost ? t(`lost_${status.state}`) : '';
    if (text !== this.#connection) byId('banner-text').textContent = text;
    this.#connection = text;
  }

  get panel() {
    return byId('chat').dataset.panel;
  }

  toggle(panel) {
    this.showPanel(this.panel === panel ? 'none' : panel);
  }

  /** `people`, `search` or `none`. */
  showPanel(panel) {
    const before = this.panel;
    byId('chat').dataset.panel = panel;
    byId('people-toggle').setAttribute('aria-expanded', String(panel === 'people'));
    byId('search-toggle').setAttribute('aria-expanded', String(panel === 'search'));
    if (panel === 'search') this.search.focus();
    if (panel === 'people' && before !== 'people') this.#people.opened();
    if (panel === 'none' && before === 'search') byId('search-toggle').focus();
    this.#chat.changed();
  }

  #switchTo(room) {
    this.#shown = room;
    if (!room) return;
    byId('room-kind').replaceChildren(icon(KIND_ICONS[room.info.kind]));
    if (this.panel === 'people' && !this.#wide.matches) this.showPanel('none');
    this.#people.switched();
  }

  #menu() {
    const room = this.#chat.open;
    const { manage, own } = powers(room, this.#chat.me);
    const direct = room.info.kind === 'direct';
    openMenu(byId('room-menu'), t('room_menu'), [
      manage && { label: t('room_settings'), icon: 'gear', id: 'room-settings', run: () => this.#dialogs.settings(room) },
      manage && { label: t('invite_people'), icon: 'userplus', id: 'room-invites', run: () => this.#dialogs.invites(room) },
      manage && { label: t('bans_and_mutes'), icon: 'shield', id: 'room-moderation', run: () => this.#dialogs.moderation(room) },
      { label: t('copy_room_link'), icon: 'link', id: 'room-link', run: () => this.#actions.history.copyRoomLink(room.slug) },
      !direct && room.info.role && { label: t('leave_room'), icon: 'out', id: 'room-leave', run: () => this.#dialogs.leave(room) },
      own && { label: t('delete_room'), icon: 'trash', id: 'room-delete', danger: true, run: () => this.#dialogs.remove(room) },
    ]);
  }
}

function typingText(users) {
  if (users.length === 0) return '';
  if (users.length === 1) return t('typing_one', { a: users[0] });
  if (users.length === 2) return t('typing_two', { a: users[0], b: users[1] });
  return t('typing_many');
}
