// The tools of a message. They stand at one message at a time, where the pointer or the focus is: buttons in every row
// would be a thousand elements and a thousand stops of the Tab key. Up and Down go from message to message.

import { el, icon } from './dom.js';
import { mayActOn, powers } from './members.js';
import { openMenu } from './menu.js';
import { t } from './texts.js';
import { openPicker } from './view-reactions.js';

export class MessageTools {
  #list;
  #chat;
  #actions;
  #on;
  #tools = null;
  #row = null;
  /** The row that the Tab key comes to. */
  #stop = null;

  constructor(list, chat, actions, on) {
    this.#list = list;
    this.#chat = chat;
    this.#actions = actions;
    this.#on = on;
    // A finger that only scrolls by is not meant; a tap gives the focus. Nor is a pointer that rests while rows move by.
    list.addEventListener('pointermove', (event) => {
      if (event.pointerType !== 'touch' && !inUse()) this.#show(event.target.closest('li.message'));
    });
    list.addEventListener('focusin', (event) => this.#show(event.target.closest('li.message')));
    list.addEventListener('pointerleave', () => !inUse() && !list.contains(document.activeElement) && this.#show(null));
    list.addEventListener('keydown', (event) => this.#key(event));
  }

  /** After the rows were drawn anew: `focused` is the key of the row that had the focus. */
  rendered(focused) {
    if (this.#row && !this.#row.isConnected) {
      const again = [...this.#list.children].find((row) => row.rowKey === this.#row.rowKey);
      this.#row = null;
      this.#tools = null;
      if (again) this.#show(again);
    }
    // A message that was on its way has tools once the server has it.
    if (this.#row && !this.#tools) {
      const row = this.#row;
      this.#row = null;
      this.#show(row);
    }
    if (focused && !this.#list.contains(document.activeElement)) {
      [...this.#list.children].find((row) => row.rowKey === focused)?.focus({ preventScroll: true });
    }
    if (!this.#stop?.isConnected) this.#setStop([...this.#list.querySelectorAll('li.message')].at(-1) ?? null);
  }

  focusLast() {
    const last = [...this.#list.querySelectorAll('li.message')].at(-1);
    last?.focus();
  }

  #setStop(row) {
    this.#stop?.setAttribute('tabindex', '-1');
    row?.setAttribute('tabindex', '0');
    this.#stop = row;
  }

  #show(row) {
    if (row === this.#row) return;
    this.#tools?.remove();
    this.#row = row;
    this.#tools = null;
    const message = row && this.#message(row);
    if (!message || row.querySelector('.editor')) return;
    this.#tools = this.#make(message);
    row.append(this.#tools);
  }

  // Only what the server has can be answered, changed or reacted to.
  #message(row) {
    return row.dataset.state === 'sent' ? (this.#chat.open?.timeline.get(Number(row.dataset.id)) ?? null) : null;
  }

  #may(message) {
    const own = message.author_id === this.#chat.me?.id;
    const { info } = this.#chat.open;
    return {
      own: own && !message.deleted,
      delete: !message.deleted && (own || powers(this.#chat.open, this.#chat.me).manage),
      answer: !message.deleted && info.kind !== undefined,
    };
  }

  #make(message) {
    const may = this.#may(message);
    const tool = (name, sign, run) => el('button', {
      type: 'button', class: 'ghost', title: t(name), 'aria-label': t(name), 'data-testid': `message-${name}`,
      onclick: (event) => run(event.currentTarget),
    }, icon(sign));
    return el('div', { class: 'tools', role: 'group', 'aria-label': t('message_tools') },
      may.answer && tool('react', 'smile', (anchor) => openPicker(anchor, (emoji) => this.#on.react(message, emoji))),
      may.answer && tool('reply', 'reply', () => this.#on.reply(message)),
      may.own && tool('edit', 'edit', () => this.#on.edit(message)),
      may.delete && tool('delete', 'trash', () => this.#on.delete(message)),
      tool('more', 'more', (anchor) => this.#menu(anchor, message)));
  }

  #menu(anchor, message) {
    const room = this.#chat.open;
    const author = { username: message.author, role: this.#actions.members.roleOf(room, message.author) };
    const moderates = mayActOn(room, this.#chat.me, author);
    openMenu(anchor, t('more'), [
      { label: t('copy_link'), icon: 'link', testid: 'copy-link', run: () => this.#actions.history.copyLink(room.slug, message.id) },
      !message.deleted && { label: t('copy_text'), icon: 'copy', run: () => navigator.clipboard?.writeText(message.content) },
      message.author_id !== this.#chat.me?.id && {
        label: t(moderates ? 'person_moderate' : 'person_more', { name: message.author }), icon: moderates ? 'shield' : 'user',
        testid: 'message-person', run: () => this.#on.person(anchor, message.author),
      },
    ]);
  }

  #key(event) {
    const row = event.target;
    if (!row.matches?.('li.message') || event.ctrlKey || event.metaKey || event.altKey) return;
    const rows = [...this.#list.querySelectorAll('li.message')];
    const at = rows.indexOf(row);
    const next = { ArrowUp: at - 1, ArrowDown: at + 1, Home: 0, End: rows.length - 1 }[event.key];
    const message = this.#message(row);
    const may = message ? this.#may(message) : {};
    if (next !== undefined) {
      if (event.key === 'ArrowDown' && at === rows.length - 1) this.#on.leaveEdit();
      else this.#go(rows[Math.max(0, next)]);
    } else if (event.key === 'Escape') this.#on.leaveEdit();
    else if (event.key === 'r' && may.answer) this.#on.reply(message);
    else if (event.key === 'e' && may.own) this.#on.edit(message);
    else if (event.key === 'Delete' && may.delete) this.#on.delete(message);
    else if (event.key === '+' && may.answer) openPicker(row, (emoji) => this.#on.react(message, emoji));
    else if (event.key === 'm' && message) this.#menu(this.#tools?.lastElementChild ?? row, message);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #go(row) {
    this.#setStop(row);
    row.focus();
    row.scrollIntoView({ block: 'nearest' });
  }
}

// While something is open at a button, the button stays.
function inUse() {
  return document.querySelector(':popover-open') !== null;
}
