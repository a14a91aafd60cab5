// Making and finding elements. Whatever people wrote only ever becomes a text node.

import { t } from './texts.js';

const SVG = 'http://www.w3.org/2000/svg';

/** Icons as path data on a 24×24 grid, drawn as lines. */
const ICONS = {
  lock: 'M7 11V8a5 5 0 0 1 10 0v3M6 11h12v9H6z',
  hash: 'M9 4 7 20M17 4l-2 16M4 9h16M4 15h16',
  at: 'M16 12a4 4 0 1 1-8 0 4 4 0 0 1 8 0v1.5a2.5 2.5 0 0 0 5 0V12a9 9 0 1 0-4 7.5',
  plus: 'M12 5v14M5 12h14',
  people: 'M9 11a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM2 21a7 7 0 0 1 14 0M16 3.5a4 4 0 0 1 0 7M18 14.5a7 7 0 0 1 4 6.5',
  back: 'M15 5l-7 7 7 7',
  send: 'M4 12l16-8-6 16-3-7z',
  out: 'M14 4H5v16h9M10 12h11M17 8l4 4-4 4',
  edit: 'M4 20l1-5L16 4l4 4L9 19z',
  trash: 'M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13',
  down: 'M12 5v14M6 13l6 6 6-6',
};

/** `el('p', {class: 'x', title: 'y', onclick: f}, 'text', child)`; properties that are null or false are left out. */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  const path = document.createElementNS(SVG, 'path');
  path.setAttribute('d', ICONS[name]);
  svg.append(path);
  return svg;
}

export function byId(id) {
  return document.getElementById(id);
}

/** Fills the fixed page: `data-text` names an element's text, `data-label` its label, `data-icon` its icon. */
export function fillPage() {
  for (const element of document.querySelectorAll('[data-icon]')) element.prepend(icon(element.dataset.icon));
  for (const element of document.querySelectorAll('[data-text]')) element.append(t(element.dataset.text));
  for (const element of document.querySelectorAll('[data-label]')) {
    element.setAttribute('aria-label', t(element.dataset.label));
    element.title = t(element.dataset.label);
  }
  for (const element of document.querySelectorAll('[data-placeholder]')) {
    element.placeholder = t(element.dataset.placeholder);
  }
}

/** A person's mark: the first letter on a colour of their own. */
export function avatar(name) {
  let hash = 0;
  for (const char of name) hash = (hash * 31 + char.codePointAt(0)) >>> 0;
  const letter = [...name][0]?.toUpperCase() ?? '?';
  return el('span', { class: `avatar hue-${hash % 8}`, 'aria-hidden': 'true' }, letter);
}

/** Gives a list the children that `rows` describe (`{key, shape, make}`), reusing those whose shape is the same. */
export function patchList(list, rows) {
  const shapes = new Map(rows.map((row) => [row.key, row.shape]));
  const kept = new Map();
  // What goes, goes first: what stays is then never moved, and keeps its focus.
  for (const node of [...list.children]) {
    if (shapes.get(node.rowKey) === node.rowShape) kept.set(node.rowKey, node);
    else node.remove();
  }
  let place = list.firstElementChild;
  for (const { key, shape, make } of rows) {
    const node = kept.get(key) ?? Object.assign(make(), { rowKey: key, rowShape: shape });
    if (node === place) place = place.nextElementSibling;
    else list.insertBefore(node, place);
  }
}
