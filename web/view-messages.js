// The messages of the open room: rows by day and author, and a scroll position that never jumps.

import { byId, patchList, setText } from './dom.js';
import { messageRows } from './view-message.js';
import { MessageTools } from './view-tools.js';
import { errorText, t } from './texts.js';

/** Nearer than this to the end counts as being there. */
const END_PX = 60;
/** Nearer than this to the beginning or the end of what is loaded, more is fetched. */
const NEAR_PX = 900;
/** A reader who stops for this long has seen what is in view. */
const SEEN_AFTER_MS = 300;

export class MessagesView {
  #chat;
  #actions;
  #leaveEdit;
  #on;
  #tools;
  #room = null;
  #wasJoined = false;
  #editing = null;
  #target = null;
  #top = 0;
  #seenTimer = null;
  #scroll = byId('messages-scroll');
  #list = byId('messages');

  /** `on.person(anchor, name)` opens somebody's menu; `on.leaveEdit()` is called when an editor closes. */
  constructor(chat, actions, on) {
    this.#chat = chat;
    this.#actions = actions;
    this.#leaveEdit = on.leaveEdit;
    this.#on = {
      ...on,
      edit: (message) => this.#edit(message),
      save: (message, content) => this.#save(this.#room, message, content),
      cancel: () => this.#closeEditor(),
      delete: (message) => this.#askDelete(message),
      retry: (nonce) => actions.retry(this.#room.slug, nonce),
      discard: (nonce) => actions.discard(this.#room.slug, nonce),
      react: (message, emoji) => actions.react(message, emoji),
      jump: (id) => actions.openRoom(this.#room.slug, { at: id }),
      reply: (message) => on.reply(message),
    };
    this.#tools = new MessageTools(this.#list, chat, actions, this.#on);
    this.#scroll.addEventListener('scroll', () => this.#scrolled(), { passive: true });
    byId('to-latest').addEventListener('click', () => {
      this.follow();
      this.#leaveEdit();
    });
    byId('to-unread').addEventListener('click', () => actions.history.toUnread(this.#room));
    byId('messages-older-retry').addEventListener('click', () => actions.history.older());
    byId('messages-newer-retry').addEventListener('click', () => actions.history.newer());
    // The composer grows, the keyboard opens: who was at the end stays there.
    new ResizeObserver(() => this.#chat.atEnd && this.#toEnd()).observe(this.#scroll);
    this.#setUpDelete();
  }

  render(room) {
    const switched = room !== this.#room || room.joined !== this.#wasJoined;
    if (room !== this.#room) this.#editing = null;
    this.#room = room;
    this.#wasJoined = room.joined;
    const { timeline, target } = room;
    const anchor = switched || this.#chat.atEnd ? null : this.#findAnchor();
    this.#list.setAttribute('aria-busy', String(!room.joined || Boolean(room.loading.older || room.loading.around)));
    const focused = this.#list.contains(document.activeElement) ? document.activeElement.closest('li')?.rowKey : null;
    patchList(this.#list, messageRows(room, {
      me: this.#chat.me,
      online: this.#chat.online,
      editing: this.#editing,
      target,
      quoted: (id) => this.#quoted(room, id),
      on: this.#on,
    }));
    this.#tools.rendered(focused);
    this.#renderEnds(room);
    if (target && target !== this.#target) this.#arriveAt(target);
    else if (switched) this.#arrive();
    else if (this.#chat.atEnd && timeline.live) this.#toEnd();
    else this.#restore(anchor);
    this.#target = target;
    this.#renderButtons(room);
    this.#wantMore(room);
  }

  /** From now on the end stays in view. */
  follow() {
    this.#actions.history.toLive(this.#room);
    this.#chat.atEnd = true;
    this.#toEnd();
    this.#chat.changed();
  }

  /** How far the open room is seen, as an id: Infinity at its end. */
  seen() {
    if (this.#chat.atEnd) return Infinity;
    const bottom = this.#scroll.getBoundingClientRect().bottom + 4;
    const rows = this.#list.querySelectorAll('.message[data-id]');
    for (let at = rows.length - 1; at >= 0; at -= 1) {
      if (rows[at].getBoundingClientRect().bottom <= bottom) return Number(rows[at].dataset.id);
    }
    return 0;
  }

  /** Opens the editor for one's last message, if there is one. */
  editLastOwn() {
    const own = this.#room.timeline.shown.filter((message) => message.author_id === this.#chat.me.id && !message.deleted);
    if (own.length === 0) return false;
    this.#edit(own[own.length - 1]);
    return true;
  }

  /** Into the list, at its last message. */
  focus() {
    this.#tools.focusLast();
  }

  #quoted(room, id) {
    const known = this.#chat.quoted(room, id);
    if (known === undefined && this.#chat.online) this.#actions.history.quote(room, id);
    return known;
  }

  // ---- scrolling

  #arrive() {
    const divider = this.#list.querySelector('.divider');
    this.#chat.atEnd = this.#room.timeline.live;
    if (divider) {
      divider.scrollIntoView({ block: 'center' });
      this.#chat.atEnd = this.#fromEnd() < END_PX;
    } else {
      this.#toEnd();
    }
    this.#top = this.#scroll.scrollTop;
  }

  #arriveAt({ id }) {
    const row = id === null ? this.#list.querySelector('.divider') : this.#list.querySelector(`[data-id="${id}"]`);
    if (!row) return;
    row.scrollIntoView({ block: 'center' });
    this.#top = this.#scroll.scrollTop;
    this.#chat.atEnd = this.#room.timeline.live && this.#fromEnd() < END_PX;
    row.focus({ preventScroll: true });
  }

  #toEnd() {
    this.#scroll.scrollTop = this.#scroll.scrollHeight;
  }

  #fromEnd() {
    const { scrollTop, clientHeight, scrollHeight } = this.#scroll;
    return scrollHeight - scrollTop - clientHeight;
  }

  #scrolled() {
    if (!this.#room) return;
    const { scrollTop } = this.#scroll;
    // Only who scrolls up leaves the end; when the page is reshaped the end moves away by itself, and is followed.
    const stayed = this.#chat.atEnd && scrollTop >= this.#top;
    const atEnd = this.#room.timeline.live && (stayed || this.#fromEnd() < END_PX);
    this.#top = scrollTop;
    if (atEnd !== this.#chat.atEnd) {
      this.#chat.atEnd = atEnd;
      this.#chat.changed();
    }
    this.#renderToUnread(this.#room);
    clearTimeout(this.#seenTimer);
    this.#seenTimer = setTimeout(() => this.#room?.unread > 0 && this.#chat.changed(), SEEN_AFTER_MS);
    this.#wantMore(this.#room);
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
    if (!row) return;
    const moved = row.getBoundingClientRect().top - anchor.top;
    if (moved !== 0) this.#scroll.scrollTop += moved;
  }

  #wantMore(room) {
    const { timeline, loading, failed } = room;
    if (!room.joined || loading.around) return;
    if (timeline.older && !loading.older && !failed.older && this.#scroll.scrollTop < NEAR_PX) this.#actions.history.older();
    if (!timeline.live && !loading.newer && !failed.newer && this.#fromEnd() < NEAR_PX) this.#actions.history.newer();
  }

  #renderEnds(room) {
    const { timeline } = room;
    const empty = room.joined && timeline.shown.length === 0 && room.pending.length === 0 && !timeline.older;
    let text = t('starting');
    if (room.failed.older) text = t('older_failed');
    else if (timeline.older) text = t('loading_older');
    else if (empty) text = t('room_empty');
    else if (room.joined) text = t('room_start', { name: room.info.name });
    setText('messages-top', text);
    byId('messages-top').classList.toggle('empty', empty);
    byId('messages-older-retry').hidden = !room.failed.older;
    byId('messages-end').hidden = timeline.live || !room.joined;
    setText('messages-end-text', t(room.failed.newer ? 'older_failed' : 'loading_newer'));
    byId('messages-newer-retry').hidden = !room.failed.newer;
  }

  #renderButtons(room) {
    const away = room.joined && !(this.#chat.atEnd && room.timeline.live);
    byId('to-latest').hidden = !away;
    byId('to-latest').classList.toggle('has-unread', room.unread > 0);
    const many = room.unread > 99;
    setText('to-latest-text', room.unread === 0 ? t('to_latest') : many ? t('new_below_many') : t('new_below', { count: room.unread }));
    this.#renderToUnread(room);
  }

  // Until the line "New" was in view it is one click away, when it stands further up.
  #renderToUnread(room) {
    const wanted = room.joined && room.dividerAfter !== null && room.dividerSeen !== room.dividerAfter;
    const line = wanted ? this.#list.querySelector('.divider')?.getBoundingClientRect() : null;
    const { top, bottom } = wanted ? this.#scroll.getBoundingClientRect() : {};
    if (line && line.bottom > top && line.top < bottom) room.dividerSeen = room.dividerAfter;
    byId('to-unread').hidden = !wanted || room.dividerSeen === room.dividerAfter || (line ? line.top > top : !room.timeline.older);
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
    dialog.message = { room: this.#room.slug, id: message.id };
    byId('delete-quote').textContent = message.content;
    dialog.showModal();
  }

  #setUpDelete() {
    const dialog = byId('delete-dialog');
    byId('delete-cancel').addEventListener('click', () => dialog.close());
    byId('delete-form').addEventListener('submit', (event) => {
      event.preventDefault();
      dialog.close();
      if (this.#editing) this.#closeEditor();
      this.#actions.delete(dialog.message.room, dialog.message.id);
    });
  }
}
