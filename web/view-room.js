// The open room: its title, who is there, who types, the composer, and the state of the connection.

import { avatar, byId, el, patchList } from './dom.js';
import { MessagesView } from './view-messages.js';
import { t } from './texts.js';

/** From here on the composer counts what is left. */
const COUNT_FROM_LEFT = 200;
const PEOPLE_WIDE = '(min-width: 1100px)';

export class RoomView {
  messages;
  #chat;
  #actions;
  #shown = null;
  #connection = '';

  constructor(chat, actions) {
    this.#chat = chat;
    this.#actions = actions;
    this.messages = new MessagesView(chat, actions, () => byId('composer-input').focus());
    byId('room-back').addEventListener('click', () => actions.closeRoom());
    byId('room-none-back').addEventListener('click', () => actions.closeRoom());
    byId('banner-retry').addEventListener('click', () => actions.retryConnection());
    this.#setUpPeople();
    this.#setUpComposer();
  }

  render() {
    const { open: room } = this.#chat;
    byId('chat').dataset.view = this.#chat.openSlug || this.#chat.notice ? 'room' : 'list';
    byId('room-none').hidden = room !== null;
    byId('room-open').hidden = room === null;
    byId('room-none-text').textContent = this.#chat.notice ?? t(this.#chat.openSlug ? 'starting' : 'pick_room');
    if (room !== this.#shown) this.#switchTo(room);
    if (room) {
      byId('room-name').textContent = room.info.name;
      byId('room-topic').textContent = room.info.topic;
      byId('composer-input').placeholder = t('write_to', { name: room.info.name });
      byId('composer-input').setAttribute('aria-label', t('write_to', { name: room.info.name }));
      this.#renderPeople(room);
      byId('typing').textContent = this.#chat.status.state === 'online' ? typingText([...room.typing.keys()]) : '';
      this.messages.render(room);
    }
    this.renderConnection();
  }

  renderConnection() {
    const { status } = this.#chat;
    byId('connection').dataset.state = status.state;
    byId('connection-text').textContent = t(`state.${status.state}`);
    const lost = ['reconnecting', 'offline', 'stopped'].includes(status.state);
    byId('banner').hidden = !lost;
    byId('banner').dataset.state = status.state;
    byId('banner-retry').hidden = status.state !== 'stopped' && status.retry_at === null;
    // Written only when it changes: it is read aloud.
    const text = lost ? t(`lost_${status.state}`) : '';
    if (text !== this.#connection) byId('banner-text').textContent = text;
    this.#connection = text;
  }

  #switchTo(room) {
    const input = byId('composer-input');
    if (this.#shown) this.#shown.draft = input.value;
    this.#shown = room;
    input.value = room?.draft ?? '';
    this.#grow();
    // On a touch screen the keyboard would cover what one came to read.
    if (room && globalThis.matchMedia('(hover: hover)').matches) input.focus();
  }

  #setUpPeople() {
    const wide = globalThis.matchMedia(PEOPLE_WIDE);
    const toggle = byId('people-toggle');
    const show = (shown) => {
      byId('chat').dataset.people = shown ? 'shown' : 'hidden';
      toggle.setAttribute('aria-expanded', String(shown));
    };
    show(wide.matches);
    wide.addEventListener('change', () => show(wide.matches));
    toggle.addEventListener('click', () => show(byId('chat').dataset.people !== 'shown'));
  }

  #renderPeople(room) {
    const { me, status } = this.#chat;
    const known = room.joined && status.state === 'online';
    const users = [...room.users].sort((a, b) => a.localeCompare(b));
    byId('people').dataset.known = String(known);
    byId('people-count').textContent = known ? String(room.userCount) : '–';
    byId('people-title').textContent = known ? t('online_count', { count: room.userCount }) : t('people');
    const unnamed = known && users.length === 0 && room.userCount > 0;
    byId('people-note').hidden = known && !unnamed;
    byId('people-note').textContent = unnamed ? t('online_many', { count: room.userCount }) : t('online_unknown');
    patchList(byId('people-list'), users.map((user) => ({
      key: user,
      shape: String(user === me?.username),
      make: () => el('li', { 'data-testid': 'person', 'data-user': user },
        avatar(user), el('span', { class: 'name' }, user),
        user === me?.username && el('span', { class: 'muted' }, ` ${t('you')}`)),
    })));
  }

  #setUpComposer() {
    const input = byId('composer-input');
    input.addEventListener('input', () => {
      this.#grow();
      if (input.value.trim()) this.#actions.typing();
    });
    input.addEventListener('keydown', (event) => {
      if (event.isComposing) return;
      if (event.key === 'Enter' && !event.shiftKey) {
        event.preventDefault();
        this.#send();
      } else if (event.key === 'ArrowUp' && input.value === '' && this.messages.editLastOwn()) {
        event.preventDefault();
      }
    });
    byId('composer').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#send();
      input.focus();
    });
  }

  #send() {
    const input = byId('composer-input');
    if (!input.value.trim() || this.#left() < 0) return;
    const content = input.value;
    input.value = '';
    this.#grow();
    this.messages.follow();
    this.#actions.send(content);
  }

  #left() {
    return this.#chat.contentChars - [...byId('composer-input').value].length;
  }

  #grow() {
    const input = byId('composer-input');
    input.style.height = 'auto';
    input.style.height = `${input.scrollHeight + 2}px`;
    const left = this.#left();
    byId('composer-count').hidden = left > COUNT_FROM_LEFT;
    byId('composer-count').classList.toggle('over', left < 0);
    byId('composer-count').textContent =
      left < 0 ? t('characters_over', { count: -left }) : t('characters_left', { count: left });
    byId('composer-send').disabled = !input.value.trim() || left < 0;
  }
}

function typingText(users) {
  if (users.length === 0) return '';
  if (users.length === 1) return t('typing_one', { a: users[0] });
  if (users.length === 2) return t('typing_two', { a: users[0], b: users[1] });
  return t('typing_many');
}
