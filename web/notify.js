// What a person sees of the page without looking at it: its title, its icon, and notifications where they want them.

import { t } from './texts.js';

const KEPT_AS = 'salon.notify';
const BODY_CHARS = 140;
const UNREAD_SHOWN_MAX = 99;
/** Two files, since the policy for this page allows neither drawings in an address nor styles from a script. */
const ICONS = { quiet: '/favicon.svg', unread: '/favicon-unread.svg' };

/** `further.push(new Notify(chat, actions))`: `render()` at each drawing; `chat` says `message` for what others wrote. */
export class Notify {
  #chat;
  #actions;
  /** What was unread in each room when it was last looked at. */
  #before = new Map();

  constructor(chat, actions) {
    this.#chat = chat;
    this.#actions = actions;
    chat.addEventListener('message', ({ detail }) => this.#told(detail));
  }

  render() {
    const { me, open } = this.#chat;
    const unread = me ? this.#chat.unread : 0;
    const title = titleOf(unread, open?.info.name);
    if (document.title !== title) document.title = title;
    const icon = unread > 0 ? ICONS.unread : ICONS.quiet;
    const link = document.querySelector('link[rel=icon]');
    if (link && link.getAttribute('href') !== icon) link.setAttribute('href', icon);
    this.#lookElsewhere(me);
  }

  // Of a room that is not joined only the counts are told, and not what was said.
  #lookElsewhere(me) {
    if (!me) this.#before.clear();
    for (const room of this.#chat.rooms.values()) {
      const { slug, info, unread, mentions = 0, joined } = room;
      const before = this.#before.get(slug);
      this.#before.set(slug, { unread, mentions });
      if (!before || joined || unread <= before.unread) continue;
      if (this.#isWanted(info.kind, mentions > before.mentions)) this.#show(room, info.name, t('unread', { count: unread }));
    }
  }

  #told({ room, message, mention }) {
    if (!this.#isWanted(room.info.kind, mention)) return;
    const { author, content } = message;
    const title = room.info.kind === 'direct' ? author : t('mine.in_room', { author, room: room.info.name });
    this.#show(room, title, bodyOf(content));
  }

  #isWanted(kind, mention) {
    return wanted() && isWorthIt(kind, mention, document.hidden || !document.hasFocus());
  }

  #show(room, title, body) {
    try {
      // One for each room, of all tabs together: the newest stands for those before it.
      const shown = new Notification(title, { body, tag: `salon ${room.slug}`, icon: ICONS.quiet });
      shown.addEventListener('click', () => {
        window.focus();
        shown.close();
        this.#actions.openRoom(room.slug);
      });
    } catch {
      // Some browsers have the permission and not the means.
    }
  }
}

/** What the browser says of it: `missing`, `denied`, `default` (not asked yet) or `granted`. */
export function permission() {
  return 'Notification' in globalThis ? Notification.permission : 'missing';
}

/** Whether the person wants it here, and the browser lets us. */
export function wanted() {
  return permission() === 'granted' && kept();
}

/** Asks the browser where it has to be asked; says whether it is on now. */
export async function want(on) {
  if (on && permission() === 'default') await Notification.requestPermission();
  try {
    if (on && permission() === 'granted') localStorage.setItem(KEPT_AS, 'on');
    else localStorage.removeItem(KEPT_AS);
  } catch {
    // A browser that keeps nothing has it off.
  }
  return wanted();
}

/** Only what is meant for this person, and only when they do not see it anyway. */
export function isWorthIt(kind, mention, away) {
  return away && (mention || kind === 'direct');
}

export function titleOf(unread, roomName) {
  const count = unread > UNREAD_SHOWN_MAX ? `${UNREAD_SHOWN_MAX}+` : String(unread);
  return `${unread > 0 ? `(${count}) ` : ''}${roomName ? `${roomName} · ` : ''}salon`;
}

/** One line of a message, cut between characters and not within them. */
export function bodyOf(content) {
  const chars = [...content.replace(/\s+/g, ' ').trim()];
  return chars.length > BODY_CHARS ? `${chars.slice(0, BODY_CHARS - 1).join('')}…` : chars.join('');
}

function kept() {
  try {
    return localStorage.getItem(KEPT_AS) === 'on';
  } catch {
    return false;
  }
}
