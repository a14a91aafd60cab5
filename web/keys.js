// The keys that work everywhere on the page, and the little help that tells them.

import { byId, el } from './dom.js';
import { t } from './texts.js';

const MAC = /Mac|iP(hone|ad)/.test(globalThis.navigator?.platform ?? '');
const MOD = MAC ? '⌘' : 'Ctrl';

/** Sections of the help: what is said, and its keys. */
const HELP = [
  ['help.anywhere', [
    ['help.find_room', [MOD, 'K']], ['help.search', ['/']], ['help.next_room', ['Alt', '↑↓']],
    ['help.next_unread', ['Alt', 'Shift', '↑↓']], ['help.close', ['Esc']], ['help.help', ['?']],
  ]],
  ['help.writing', [
    ['help.send', ['Enter']], ['help.new_line', ['Shift', 'Enter']], ['help.edit_last', ['↑']], ['help.mention', ['@']],
  ]],
  ['help.messages', [
    ['help.move', ['↑↓']], ['help.reply', ['R']], ['help.react', ['+']], ['help.edit', ['E']], ['help.delete', ['Del']],
    ['help.more', ['M']],
  ]],
];

export class Keys {
  #chat;
  #actions;
  #rooms;
  #room;

  constructor(chat, actions, rooms, room) {
    this.#chat = chat;
    this.#actions = actions;
    this.#rooms = rooms;
    this.#room = room;
    document.addEventListener('keydown', (event) => this.#key(event));
  }

  showHelp() {
    byId('help-list').replaceChildren(...HELP.map(([title, rows]) => el('section', {},
      el('h3', {}, t(title)),
      el('dl', {}, ...rows.flatMap(([text, keys]) => [
        el('dt', {}, ...keys.map((key) => el('kbd', {}, key))), el('dd', {}, t(text)),
      ])))));
    byId('help-dialog').showModal();
    // The button that closes it stands at its end, and has the focus.
    byId('help-dialog').scrollTop = 0;
  }

  #key(event) {
    if (event.isComposing || event.defaultPrevented || !this.#chat.me || document.querySelector('dialog[open]')) return;
    const mod = MAC ? event.metaKey : event.ctrlKey;
    const writing = event.target.closest?.('input, textarea, select') !== null;
    if (mod && !event.altKey && event.key.toLowerCase() === 'k') this.#findRoom();
    else if (event.altKey && (event.key === 'ArrowUp' || event.key === 'ArrowDown')) this.#go(event);
    else if (event.key === 'Escape') this.#escape();
    else if (writing || mod || event.altKey) return;
    else if (event.key === '/' && this.#chat.open) this.#room.showPanel('search');
    else if (event.key === '?') this.showHelp();
    else return;
    event.preventDefault();
  }

  #findRoom() {
    if (this.#chat.openSlug && getComputedStyle(byId('sidebar')).display === 'none') this.#actions.closeRoom();
    byId('room-find-input').focus();
    byId('room-find-input').select();
  }

  #go({ key, shiftKey }) {
    const slug = this.#rooms.neighbour(key === 'ArrowDown' ? 1 : -1, shiftKey);
    if (slug) this.#actions.openRoom(slug);
  }

  // What is open closes; then the end of the room comes into view, and one can write.
  #escape() {
    if (!this.#chat.open) return;
    if (this.#room.panel === 'search') this.#room.showPanel('none');
    else if (!this.#chat.atEnd) this.#room.messages.follow();
    this.#room.composer.focus();
  }
}
