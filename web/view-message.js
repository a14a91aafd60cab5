// How one message looks, and which lines stand between messages.

import { avatar, el, icon } from './dom.js';
import { t } from './texts.js';

/** Messages of one author closer together than this are one run, with one head. */
const RUN_GAP_MS = 5 * 60_000;

const TIME = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
/** For the narrow margin: without "am" and "pm". */
const SHORT_TIME = new Intl.DateTimeFormat(undefined, { hour: 'numeric', minute: '2-digit' });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: 'long', day: 'numeric', month: 'long', year: 'numeric' });
const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'medium' });

/** The rows of a room for `patchList`: days, the line "New", messages, and one's own on their way. */
export function messageRows(room, { messages, me, online, editing, on }) {
  const rows = [];
  let before = null;
  let divided = room.dividerAfter === null;
  // Where reading ended long ago, the line stands above what is loaded.
  const reachesDivider = !room.more || messages[0]?.id <= room.dividerAfter;
  for (const message of [...messages, ...room.pending.map((sent) => asMessage(sent, me))]) {
    const day = new Date(message.created_at).toDateString();
    const newDay = !before || new Date(before.created_at).toDateString() !== day;
    if (newDay) rows.push(dayRow(day, message.created_at));
    const divide = !divided && reachesDivider && message.id > room.dividerAfter && message.author_id !== me?.id;
    if (divide) {
      divided = true;
      rows.push({ key: 'divider', shape: '', make: () => el('li', { class: 'divider' }, el('span', {}, t('new_divider'))) });
    }
    const first = newDay || divide || !continuesRun(before, message);
    rows.push(messageRow(message, { first, me, online, on, editing: editing?.id === message.id ? editing : null }));
    before = message;
  }
  return rows;
}

// A message that is still on its way looks like one that came back.
function asMessage(sent, me) {
  return {
    id: sent.id, nonce: sent.nonce, author: me?.username ?? '', author_id: me?.id, content: sent.content,
    created_at: sent.at, edited_at: null, deleted: false, sending: sent.state, why: sent.why,
  };
}

function continuesRun(before, message) {
  return before.author_id === message.author_id
    && Date.parse(message.created_at) - Date.parse(before.created_at) < RUN_GAP_MS;
}

function dayRow(day, at) {
  const today = new Date();
  const yesterday = new Date(today);
  yesterday.setDate(today.getDate() - 1);
  let text = DAY.format(new Date(at));
  if (day === today.toDateString()) text = t('today');
  else if (day === yesterday.toDateString()) text = t('yesterday');
  return { key: `day ${day}`, shape: text, make: () => el('li', { class: 'day' }, el('span', {}, text)) };
}

function messageRow(message, { first, me, online, editing, on }) {
  const own = message.author_id === me?.id;
  const state = message.sending ?? 'sent';
  const waiting = state === 'sending' && !online;
  return {
    // One's own message keeps its row when it comes back from the server.
    key: own && message.nonce ? `own ${message.nonce}` : `id ${message.id}`,
    // An open editor stays as it is, whatever happens to its message meanwhile.
    shape: JSON.stringify(editing ? [message.id, first, editing] : [
      message.id, message.author, message.content, message.edited_at, message.deleted, message.created_at,
      first, own, state, message.why, waiting,
    ]),
    make: () => el('li', {
      class: `message${first ? ' first' : ''}${own ? ' own' : ''}`,
      'data-testid': 'message',
      'data-id': message.id ? String(message.id) : null,
      'data-author': message.author,
      'data-state': state,
      'data-deleted': message.deleted || null,
      // A tap, where there is no pointer to hover with, brings out the tools.
      tabindex: own ? '-1' : null,
    },
    first ? avatar(message.author) : el('span', { class: 'gutter' }, time(message, SHORT_TIME)),
    el('div', { class: 'body' },
      el('div', { class: first ? 'meta' : 'sr' }, el('strong', {}, message.author), ' ', first && time(message)),
      editing ? editor(message, editing, on) : content(message),
      state === 'sending' && el('span', { class: 'fate' }, t(waiting ? 'waiting' : 'sending')),
      state === 'failed' && failure(message, on)),
    own && !message.sending && !message.deleted && !editing && tools(message, on)),
  };
}

function time(message, format = TIME) {
  const at = new Date(message.created_at);
  const text = format.formatToParts(at).filter(({ type }) => format === TIME || type !== 'dayPeriod');
  return el('time', { datetime: message.created_at, title: FULL.format(at) },
    text.map(({ value }) => value).join('').trim());
}

function content(message) {
  if (message.deleted) return el('p', { class: 'text gone', 'data-testid': 'message-text' }, t('deleted'));
  return el('p', { class: 'text', 'data-testid': 'message-text' },
    ...linked(message.content),
    message.edited_at && el('small', {
      class: 'edited', title: FULL.format(new Date(message.edited_at)), 'data-testid': 'message-edited',
    }, ` (${t('edited')})`));
}

// Addresses become links; only what begins with http:// or https:// is one, so no other scheme gets in.
function linked(text) {
  const parts = [];
  let end = 0;
  for (const found of text.matchAll(/https?:\/\/[^\s<>"]*[^\s<>"'.,;:!?)\]}]/gi)) {
    parts.push(text.slice(end, found.index));
    parts.push(el('a', { href: found[0], target: '_blank', rel: 'noopener noreferrer nofollow' }, found[0]));
    end = found.index + found[0].length;
  }
  return [...parts, text.slice(end)].filter((part) => part !== '');
}

function failure(message, on) {
  return el('div', { class: 'failure', role: 'alert' },
    el('span', {}, t('failed', { why: message.why })), ' ',
    el('button', { type: 'button', class: 'link', 'data-testid': 'message-retry', onclick: () => on.retry(message.nonce) },
      t('try_again')),
    ' ',
    el('button', { type: 'button', class: 'link', 'data-testid': 'message-discard', onclick: () => on.discard(message.nonce) },
      t('discard')));
}

function tools(message, on) {
  const tool = (name, sign, run) => el('button', {
    type: 'button', class: 'ghost', title: t(name), 'aria-label': t(name), 'data-testid': `message-${name}`, onclick: run,
  }, icon(sign));
  return el('div', { class: 'tools' },
    tool('edit', 'edit', () => on.edit(message)), tool('delete', 'trash', () => on.delete(message)));
}

function editor(message, { content: draft, error }, on) {
  const input = el('textarea', {
    'aria-label': t('edit'),
    'data-testid': 'message-editor',
    onkeydown: (event) => {
      if (event.isComposing) return;
      if (event.key === 'Escape') on.cancel();
      else if (event.key === 'Enter' && !event.shiftKey) on.save(message, input.value);
      else return;
      event.preventDefault();
    },
    oninput: () => {
      input.style.height = 'auto';
      input.style.height = `${input.scrollHeight + 2}px`;
    },
  });
  input.value = draft ?? message.content;
  return el('form', {
    class: 'editor',
    onsubmit: (event) => {
      event.preventDefault();
      on.save(message, input.value);
    },
  },
  input,
  error && el('p', { class: 'field-error', role: 'alert' }, error),
  el('div', { class: 'buttons' },
    el('small', { class: 'muted' }, t('edit_hint')),
    el('button', { type: 'button', onclick: () => on.cancel(), 'data-testid': 'message-editor-cancel' }, t('cancel')),
    el('button', { type: 'submit', class: 'primary', 'data-testid': 'message-editor-save' }, t('save'))));
}
