// Reactions: what was given under a message, and the small picker.

import { el } from './dom.js';
import { openBox } from './menu.js';
import { t } from './texts.js';

const EMOJI = [
  '👍', '👎', '❤️', '😂', '🎉', '😮', '😢', '🙏', '👏', '🔥', '✅', '❌',
  '👀', '💯', '🚀', '🤔', '😀', '😉', '😍', '😎', '😅', '😭', '😡', '🤯',
  '🙌', '👋', '💪', '🤝', '☕', '🍰', '🐛', '💡', '❓', '➕', '⭐', '🌈',
];

/** The row under a message; null where there is none. */
export function reactionRow(message, me, on) {
  const kinds = Object.entries(message.reactions ?? {});
  if (kinds.length === 0) return null;
  return el('div', { class: 'reactions' }, ...kinds.map(([emoji, { count, users }]) => {
    const mine = users.includes(me?.username);
    const more = count - users.length;
    const names = more > 0 ? t('and_more', { names: users.join(', '), count: more }) : users.join(', ');
    return el('button', {
      type: 'button',
      class: `reaction${mine ? ' mine' : ''}`,
      title: names,
      'aria-pressed': String(mine),
      'data-testid': 'reaction',
      'data-emoji': emoji,
      onclick: () => on.react(message, emoji),
    }, el('span', { class: 'emoji' }, emoji), el('span', { class: 'number' }, String(count)), el('span', { class: 'sr' }, t('reaction', { names })));
  }));
}

/** Opens the picker at a button; `pick(emoji)` is called once. */
export function openPicker(anchor, pick) {
  const buttons = EMOJI.map((emoji) => el('button', {
    type: 'button', class: 'emoji ghost', 'data-testid': 'pick', 'data-emoji': emoji,
    onclick: () => {
      box.hidePopover();
      pick(emoji);
    },
  }, emoji));
  const box = openBox(anchor, el('div', { class: 'menu picker', role: 'group', 'aria-label': t('react') }, ...buttons));
  box.addEventListener('keydown', (event) => {
    // As many stand in a row as have the height of the first.
    const columns = buttons.filter((button) => button.offsetTop === buttons[0].offsetTop).length;
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    buttons[buttons.indexOf(document.activeElement) + step]?.focus();
  });
  buttons[0].focus();
}
