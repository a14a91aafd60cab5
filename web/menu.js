// What opens beside a button: a menu, or any other small box. Escape and a click elsewhere close it; the focus returns.

import { el, icon } from './dom.js';

const GAP_PX = 4;

/**
 * `items` are `{label, icon, run}` or `{label, icon, href}`, with `id`, `danger`; those that are null or false are left
 * out. `anchor` is the button that opened it.
 */
export function openMenu(anchor, label, items) {
  const entries = items.filter(Boolean).map((item) => {
    const inside = [item.icon && icon(item.icon), el('span', {}, item.label)];
    const common = {
      role: 'menuitem', tabindex: '-1', class: item.danger ? 'item danger-text' : 'item', id: item.id,
      'data-testid': item.testid,
    };
    if (item.href) return el('a', { ...common, href: item.href }, ...inside);
    return el('button', { ...common, type: 'button', onclick: () => { box.hidePopover(); item.run(); } }, ...inside);
  });
  const box = openBox(anchor, el('div', { class: 'menu', role: 'menu', 'aria-label': label }, ...entries));
  box.addEventListener('keydown', (event) => {
    const at = entries.indexOf(document.activeElement);
    const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 }[event.key];
    if (next === undefined) {
      if (event.key === 'Tab') box.hidePopover();
      return;
    }
    event.preventDefault();
    entries.at(next % entries.length)?.focus();
  });
  entries[0]?.focus();
  return box;
}

/** Opens a box at a button, inside of what is in view. */
export function openBox(anchor, box) {
  box.setAttribute('popover', 'auto');
  // Inside an open dialog, where the rest of the page cannot be reached.
  (anchor.closest('dialog') ?? document.body).append(box);
  box.addEventListener('toggle', (event) => {
    if (event.newState === 'open') return;
    const hadFocus = box.contains(document.activeElement) || document.activeElement === document.body;
    anchor.removeAttribute('aria-expanded');
    box.remove();
    if (hadFocus && anchor.isConnected) anchor.focus();
  });
  box.showPopover();
  anchor.setAttribute('aria-expanded', 'true');
  const at = anchor.getBoundingClientRect();
  const { width, height } = box.getBoundingClientRect();
  const below = at.bottom + GAP_PX;
  const top = below + height <= innerHeight ? below : Math.max(GAP_PX, at.top - height - GAP_PX);
  const left = Math.min(Math.max(GAP_PX, at.right - width), innerWidth - width - GAP_PX);
  // Measured in the page's own pixels, and set by the object model, which the policy for styles allows.
  box.style.top = `${top}px`;
  box.style.left = `${Math.max(GAP_PX, left)}px`;
  return box;
}
