// How one message looks, and which lines stand between messages.

import { avatar, el, icon } from './dom.js';
import { firstLine, pieces } from './text.js';
import { language, t } from './texts.js';
import { reactionRow } from './view-reactions.js';

/** Messages of one author closer together than this are one run, with one head. */
const RUN_GAP_MS = 5 * 60_000;
/** Names in a line that tells who came and went. */
const NOTE_NAMES_MAX = 5;

const FORMATS = {
  time: { hour: '2-digit', minute: '2-digit' },
  day: { weekday: 'long', day: 'numeric', month: 'long', year: 'numeric' },
  full: { dateStyle: 'full', timeStyle: 'medium' },
  short: { dateStyle: 'medium', timeStyle: 'short' },
};
const formats = new Map();

/** A time in words of the page's language, in one of FORMATS. */
export function format(kind, at) {
  return formatOf(kind).format(new Date(at));
}

// For the narrow margin: without "am" and "pm".
function shortTime(at) {
  const parts = formatOf('time').formatToParts(new Date(at)).filter(({ type }) => type !== 'dayPeriod');
  return parts.map(({ value }) => value).join('').trim();
}

function formatOf(kind) {
  const key = `${language()} ${kind}`;
  if (!formats.has(key)) formats.set(key, new Intl.DateTimeFormat(language(), FORMATS[kind]));
  return formats.get(key);
}

/**
 * The rows of a room for `patchList`: days, the line "New", who came and went, messages, one's own on their way.
 * `view` has `me`, `online`, `editing`, `quoted(id)` and `on`, what to call for what is clicked.
 */
export function messageRows(room, view) {
  const rows = [];
  const { timeline } = room;
  const messages = timeline.shown;
  const pending = timeline.live ? room.pending.map((sent) => asMessage(sent, view.me)) : [];
  // Of those who came and went before what is loaded, nothing is said.
  const notes = room.notes.filter(({ after }) => !timeline.older || after >= messages[0]?.id);
  let before = null;
  let divided = room.dividerAfter === null;
  // Where reading ended long ago, the line stands above what is loaded.
  const reachesDivider = !timeline.older || messages[0]?.id <= room.dividerAfter;
  for (const message of [...messages, ...pending]) {
    while (notes.length > 0 && (message.id === null || notes[0].after < message.id)) rows.push(...noteRow(notes.shift()));
    const day = new Date(message.created_at).toDateString();
    const newDay = !before || new Date(before.created_at).toDateString() !== day;
    if (newDay) rows.push(dayRow(day, message.created_at));
    const divide = !divided && reachesDivider && message.id > room.dividerAfter && message.author_id !== view.me?.id;
    if (divide) {
      divided = true;
      rows.push(dividerRow());
    }
    rows.push(messageRow(message, newDay || divide || !continuesRun(before, message), view));
    before = message;
  }
  if (timeline.live) for (const note of notes) rows.push(...noteRow(note));
  return rows;
}

// A message that is still on its way looks like one that came back.
function asMessage(sent, me) {
  return {
    id: sent.id, nonce: sent.nonce, author: me?.username ?? '', author_id: me?.id, content: sent.content,
    created_at: sent.at, edited_at: null, deleted: false, reply_to: sent.reply_to, sending: sent.state, why: sent.why,
  };
}

function continuesRun(before, message) {
  return before.author_id === message.author_id && !message.reply_to
    && Date.parse(message.created_at) - Date.parse(before.created_at) < RUN_GAP_MS;
}

function dividerRow() {
  const make = () => el('li', { class: 'divider', 'data-testid': 'divider' }, el('span', {}, t('new_divider')));
  return { key: 'divider', shape: language(), make };
}

function dayRow(day, at) {
  const today = new Date();
  const yesterday = new Date(today);
  yesterday.setDate(today.getDate() - 1);
  let text = format('day', at);
  if (day === today.toDateString()) text = t('today');
  else if (day === yesterday.toDateString()) text = t('yesterday');
  return { key: `day ${day}`, shape: text, make: () => el('li', { class: 'day' }, el('span', {}, text)) };
}

function noteRow({ after, came, went }) {
  const texts = [came.length > 0 && t('came', names(came)), went.length > 0 && t('went', names(went))].filter(Boolean);
  if (texts.length === 0) return [];
  const text = texts.join(' · ');
  return [{ key: `note ${after}`, shape: text, make: () => el('li', { class: 'note-line', 'data-testid': 'note' }, text) }];
}

function names(all) {
  const first = all.slice(0, NOTE_NAMES_MAX).join(', ');
  const more = all.length - NOTE_NAMES_MAX;
  return { count: all.length, names: more > 0 ? t('and_more', { names: first, count: more }) : first };
}

function messageRow(message, first, view) {
  const { me, online, on } = view;
  const own = message.author_id === me?.id;
  const editing = view.editing?.id === message.id && message.id ? view.editing : null;
  const state = message.sending ?? 'sent';
  const waiting = state === 'sending' && !online;
  const quoted = message.reply_to ? view.quoted(message.reply_to) : null;
  const meant = !own && (message.mentions ?? []).includes(me?.username);
  const target = view.target?.id === message.id ? view.target : null;
  return {
    // One's own message keeps its row when it comes back from the server.
    key: own && message.nonce ? `own ${message.nonce}` : `id ${message.id}`,
    message,
    // An open editor stays as it is, whatever happens to its message meanwhile.
    shape: JSON.stringify(editing ? [message.id, first, editing] : [
      message.id, message.author, message.content, message.edited_at, message.deleted, message.created_at,
      message.mentions, message.reactions, quoted && [quoted.author, quoted.content, quoted.deleted], quoted === null,
      first, own, state, message.why, waiting, target !== null, language(),
    ]),
    make: () => el('li', {
      class: ['message', first && 'first', own && 'own', meant && 'meant', target && 'target'].filter(Boolean).join(' '),
      'data-testid': 'message',
      'data-id': message.id ? String(message.id) : null,
      'data-author': message.author,
      'data-state': state,
      'data-deleted': message.deleted || null,
      tabindex: '-1',
    },
    first ? avatar(message.author) : el('span', { class: 'gutter' }, time(message, shortTime)),
    el('div', { class: 'body' },
      head(message, first, on),
      message.reply_to && quote(message, quoted, on),
      editing ? editor(message, editing, on) : content(message, me),
      !editing && reactionRow(message, me, on),
      state === 'sending' && el('span', { class: 'fate' }, t(waiting ? 'waiting' : 'sending')),
      state === 'failed' && failure(message, on))),
  };
}

function head(message, first, on) {
  if (!first) return el('div', { class: 'sr' }, message.author);
  return el('div', { class: 'meta' },
    el('button', {
      type: 'button', class: 'author', 'data-testid': 'author', onclick: (event) => on.person(event.currentTarget, message.author),
    }, message.author),
    ' ', time(message));
}

function time(message, words = (at) => format('time', at)) {
  return el('time', { datetime: message.created_at, title: format('full', message.created_at) }, words(message.created_at));
}

function quote(message, quoted, on) {
  let text = t('quote_loading');
  if (quoted === null) text = t('quote_missing');
  else if (quoted) text = quoted.deleted ? t('deleted') : firstLine(quoted.content);
  return el('button', {
    type: 'button', class: 'quote', 'data-testid': 'quote', title: t('jump_to'), onclick: () => on.jump(message.reply_to),
  }, icon('reply'), quoted && el('strong', {}, quoted.author), el('span', { class: 'quote-text' }, text));
}

function content(message, me) {
  if (message.deleted) return el('p', { class: 'text gone', 'data-testid': 'message-text' }, t('deleted'));
  return el('div', { class: 'text-line' },
    el('p', { class: 'text', 'data-testid': 'message-text' }, ...textNodes(message.content, message.mentions, me)),
    message.edited_at && el('small', {
      class: 'edited', title: format('full', message.edited_at), 'data-testid': 'message-edited',
    }, `(${t('edited')})`));
}

/** A text as nodes: links and mentions are elements, all else is text. */
export function textNodes(text, mentions, me) {
  return pieces(text, mentions).map((piece) => {
    if (piece.href) return el('a', { href: piece.href, target: '_blank', rel: 'noopener noreferrer nofollow' }, piece.text);
    if (!piece.mention) return piece.text;
    const mine = piece.mention === me?.username;
    return el('span', { class: `mention${mine ? ' mine' : ''}`, 'data-testid': 'mention' }, piece.text);
  });
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

function editor(message, { content: draft, error }, on) {
  const input = el('textarea', {
    rows: '1',
    'aria-label': t('edit'),
    'data-testid': 'message-editor',
    onkeydown: (event) => {
      if (event.isComposing) return;
      if (event.key === 'Escape') on.cancel();
      else if (event.key === 'Enter' && !event.shiftKey) on.save(message, input.value);
      else return;
      event.preventDefault();
      event.stopPropagation();
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
