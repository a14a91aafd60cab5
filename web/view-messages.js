// The messages of the open room: rows by day and author, and a scroll position that never jumps.

import { byId, patchList } from './dom.js';
import { messageRows } from './view-message.js';
import { shownMessages } from './state.js';
import { errorText, t } from './texts.js';

/** Nearer than this to the end counts as being there. */
const END_PX = 60;
/** Nearer than this to the beginning, older messages are fetched. */
const OLDER_PX = 500;

export class MessagesView {
  /** True while the end of the room is in view. */
  atEnd = true;
  #chat;
  #actions;
  #leaveEdit;
  #room = null;
  #wasJoined = false;
  #editing = null;
  #top = 0;
  #scroll = byId('messages-scroll');
  #list = byId('messages');

  constructor(chat, actions, leaveEdit) {
    this.#chat = chat;
    this.#actions = actions;
    this.#leaveEdit = leaveEdit;
    this.#scroll.addEventListener('scroll', () => this.#scrolled(), { passive: true });
    byId('to-latest').addEventListener('click', () => {
      this.follow();
      this.#toEnd();
      this.#leaveEdit();
    });
    byId('messages-older-retry').addEventListener('click', () => actions.loadOlder());
    // The composer grows, the keyboard opens: who was at the end stays there.
    new ResizeObserver(() => this.atEnd && this.#toEnd()).observe(this.#scroll);
    this.#setUpDelete();
  }

  render(room) {
    const switched = room !== this.#room || room.joined !== this.#wasJoined;
    if (room !== this.#room) this.#editing = null;
    this.#room = room;
    this.#wasJoined = room.joined;
    const anchor = switched || this.atEnd ? null : this.#findAnchor();
    this.#list.setAttribute('aria-busy', String(switched || room.loadingOlder));
    patchList(this.#list, messageRows(room, {
      messages: shownMessages(room),
      me: this.#chat.me,
      online: this.#chat.status.state === 'online',
      editing: this.#editing,
      on: this.#handlers(room),
    }));
    this.#renderTop(room);
    if (switched) this.#arrive();
    else if (this.atEnd) this.#toEnd();
    else this.#restore(anchor);
    this.#renderToLatest(room);
    this.#wantOlder(room);
  }

  /** From now on the end stays in view. */
  follow() {
    this.atEnd = true;
    this.#chat.changed();
  }

  /** Opens the editor for one's last message, if there is one. */
  editLastOwn() {
    const own = shownMessages(this.#room).filter((message) => message.author_id === this.#chat.me.id && !message.deleted);
    if (own.length === 0) return false;
    this.#edit(own[own.length - 1]);
    return true;
  }

  #handlers(room) {
    return {
      edit: (message) => this.#edit(message),
      save: (message, content) => this.#save(room, message, content),
      cancel: () => this.#closeEditor(),
      delete: (message) => this.#askDelete(message),
      retry: (nonce) => this.#actions.retry(room.slug, nonce),
      discard: (nonce) => this.#actions.discard(room.slug, nonce),
    };
  }

  // ---- scrolling

  #arrive() {
    const divider = this.#list.querySelector('.divider');
    if (divider) divider.scrollIntoView({ block: 'center' });
    else this.#toEnd();
    this.#top = Infinity;
    this.#scrolled();
  }

  #toEnd() {
    this.#scroll.scrollTop = this.#scroll.scrollHeight;
  }

  #scrolled() {
    const { scrollTop, clientHeight, scrollHeight } = this.#scroll;
    // Only who scrolls up leaves the end; when the page is reshaped the end moves away by itself, and is followed.
    const stayed = this.atEnd && scrollTop >= this.#top;
    const atEnd = stayed || scrollHeight - scrollTop - clientHeight < END_PX;
    this.#top = scrollTop;
    if (atEnd !== this.atEnd) {
      this.atEnd = atEnd;
      this.#chat.changed();
    }
    if (this.#room) this.#wantOlder(this.#room);
  }

  // The first message in view is held where it is, whatever is put in or taken out above it.
  #findAnchor() {
    const top = this.#scroll.getBoundingClientRect().top;
    for (const row of this.#list.children) {
      const box = row.getBoundingClientRect();
      if (box.bottom > top && row.matches('.message')) return { key: row.rowKey, top: box.top };
    }
    return null;
  }

  #restore(anchor) {
    if (!anchor) return;
    const row = [...this.#list.children].find((child) => child.rowKey === anchor.key);
    if (row) this.#scroll.scrollTop += row.getBoundingClientRect().top - anchor.top;
  }

  #wantOlder(room) {
    if (!room.joined || !room.more || room.loadingOlder || room.olderFailed) return;
    if (this.#scroll.scrollTop < OLDER_PX) this.#actions.loadOlder();
  }

  #renderTop(room) {
    const empty = room.joined && room.messages.size === 0 && room.pending.length === 0;
    let text = '';
    if (room.olderFailed) text = t('older_failed');
    else if (room.more) text = t('loading_older');
    else if (empty) text = t('room_empty');
    else if (room.joined) text = t('room_start', { name: room.info.name });
    else text = t('starting');
    if (byId('messages-top').textContent !== text) byId('messages-top').textContent = text;
    byId('messages-top').classList.toggle('empty', empty);
    byId('messages-older-retry').hidden = !room.olderFailed;
  }

  #renderToLatest(room) {
    byId('to-latest').hidden = this.atEnd;
    byId('to-latest').classList.toggle('has-unread', room.unread > 0);
    byId('to-latest-text').textContent = t(room.unread > 0 ? 'new_below' : 'to_latest');
  }

  // ---- editing and deleting

  #edit(message) {
    this.#editing = { id: message.id, error: '' };
    this.render(this.#room);
    const input = this.#list.querySelector('.editor textarea');
    input.style.height = `${input.scrollHeight + 2}px`;
    input.focus();
    input.setSelectionRange(input.value.length, input.value.length);
    input.closest('li').scrollIntoView({ block: 'nearest' });
  }

  async #save(room, message, content) {
    if (!content.trim()) {
      this.#askDelete(message);
      return;
    }
    this.#closeEditor();
    if (content === message.content) return;
    try {
      await this.#actions.edit(room.slug, message.id, content);
    } catch (error) {
      if (this.#room !== room) return;
      this.#editing = { id: message.id, content, error: t('edit_failed', { why: errorText(error) }) };
      this.render(room);
    }
  }

  #closeEditor() {
    this.#editing = null;
    this.render(this.#room);
    this.#leaveEdit();
  }

  #askDelete(message) {
    const dialog = byId('delete-dialog');
    dialog.message = message;
    byId('delete-quote').textContent = message.content;
    dialog.showModal();
  }

  #setUpDelete() {
    const dialog = byId('delete-dialog');
    byId('delete-cancel').addEventListener('click', () => dialog.close());
    byId('delete-form').addEventListener('submit', (event) => {
      event.preventDefault();
      dialog.close();
      this.#closeEditor();
      this.#actions.delete(dialog.message.room, dialog.message.id);
    });
  }
}
