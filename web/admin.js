// The page for administrators of the site: who may see it, which part is shown, and what is asked before it is done.

import { NodesView } from './admin-nodes.js';
import { RoomsView } from './admin-rooms.js';
import { errorText, language, t } from './admin-texts.js';
import { UsersView } from './admin-users.js';
import { byId } from './dom.js';
import { call } from './http.js';
import { backoffMs, checkSession } from './salon.js';

const COMPLAINT_SHOWN_MS = 8_000;

let complaintTimer = null;
let views = null;
let shown = null;

fill();
start();

/** Who is not logged in is sent to where that is done; who is no administrator is told so. */
async function start(attempt = 0) {
  close(t('starting'));
  const session = await checkSession();
  if (session.state === 'logged_out') {
    location.replace('/');
    return;
  }
  try {
    if (session.state !== 'ok') throw { code: session.state === 'unreachable' ? 'network' : 'unavailable' };
    // What the log-in says of the role may be old: the server is asked.
    await call('GET', '/api/admin/nodes');
    open(session.user);
  } catch (error) {
    if (error.code === 'forbidden') {
      close(t('not_administrator', { name: session.user.username }));
    } else {
      close(errorText(error));
      setTimeout(() => start(attempt + 1), 1_000 + backoffMs(attempt));
    }
  }
}

function close(text) {
  byId('closed').hidden = false;
  byId('desk').hidden = true;
  byId('closed-text').textContent = text;
}

function open(me) {
  const desk = { me, sure, fail };
  views = { users: new UsersView(desk), rooms: new RoomsView(desk), nodes: new NodesView(desk) };
  byId('closed').hidden = true;
  byId('desk').hidden = false;
  byId('me').textContent = me.username;
  window.addEventListener('hashchange', route);
  route();
}

function route() {
  const wanted = location.hash.slice(1);
  const name = wanted in views ? wanted : 'users';
  if (shown) views[shown].hide?.();
  shown = name;
  for (const part of Object.keys(views)) byId(`part-${part}`).hidden = part !== name;
  for (const link of byId('sections').children) {
    if (link.hash === `#${name}`) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  byId('desk').scrollTop = 0;
  views[name].show();
}

/** Asks before something is done; gives whether it shall be. */
function sure(title, text, button) {
  const dialog = byId('sure-dialog');
  byId('sure-title').textContent = title;
  byId('sure-text').textContent = text;
  byId('sure-confirm').textContent = button;
  dialog.returnValue = '';
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true });
  });
}

/** Says what did not work. */
function fail(error) {
  if (error.code === 'unauthenticated') {
    location.replace('/');
    return;
  }
  clearTimeout(complaintTimer);
  byId('complaint').textContent = errorText(error);
  byId('complaint').hidden = false;
  complaintTimer = setTimeout(() => {
    byId('complaint').hidden = true;
  }, COMPLAINT_SHOWN_MS);
}

function fill() {
  document.documentElement.lang = language;
  document.title = `${t('title')} · salon`;
  for (const element of document.querySelectorAll('[data-text]')) element.textContent = t(element.dataset.text);
  for (const element of document.querySelectorAll('[data-label]')) {
    element.setAttribute('aria-label', t(element.dataset.label));
  }
  for (const element of document.querySelectorAll('[data-placeholder]')) {
    element.placeholder = t(element.dataset.placeholder);
  }
  byId('sure-form').addEventListener('submit', (event) => {
    event.preventDefault();
    byId('sure-dialog').close('yes');
  });
  byId('sure-cancel').addEventListener('click', () => byId('sure-dialog').close());
}
