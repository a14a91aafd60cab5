// The page: puts its parts together, shows the right one, and keeps the address.

import { Actions } from './actions.js';
import { byId, fillPage } from './dom.js';
import { Keys } from './keys.js';
import { openMenu } from './menu.js';
import { Notify } from './notify.js';
import { Salon, backoffMs, checkSession } from './salon.js';
import { Chat } from './state.js';
import { firstLine } from './text.js';
import { LANGUAGES, language, setLanguage, t } from './texts.js';
import { AccountView } from './view-account.js';
import { AuthView } from './view-auth.js';
import { RoomView } from './view-room.js';
import { RoomsView } from './view-rooms.js';

/** A hidden page is drawn this late: nobody sees it, and the browser draws no frames for it. */
const HIDDEN_DRAW_MS = 250;
const SAID_SHOWN_MS = 8_000;
/** New messages in the part that is read aloud. */
const ALOUD_MAX = 5;

const chat = new Chat();
const salon = new Salon();
const page = { go, show, complain: (text) => say(text, 'complaint'), say: (text) => say(text, 'said') };
const actions = new Actions(chat, salon, page);

document.documentElement.lang = language();
fillPage();
const auth = new AuthView(actions);
const rooms = new RoomsView(chat, actions);
const room = new RoomView(chat, actions);
const keys = new Keys(chat, actions, rooms, room);
const further = [new AccountView(chat, actions), new Notify(chat, actions)];

let drawing = false;
let invite = null;
const timers = {};

chat.addEventListener('changed', () => {
  if (drawing) return;
  drawing = true;
  if (document.hidden) setTimeout(draw, HIDDEN_DRAW_MS);
  else requestAnimationFrame(draw);
});
chat.addEventListener('message', ({ detail }) => aloud(detail));

for (const event of ['focus', 'blur']) window.addEventListener(event, () => chat.changed());
// Also when only what stands behind the # has changed.
window.addEventListener('popstate', () => (takeInvite() ? accept() : route()));
window.addEventListener('online', () => salon.check());
window.addEventListener('offline', () => salon.check());
window.addEventListener('salon-language', () => {
  document.documentElement.lang = language();
  fillPage();
  auth.relabel();
  chat.changed();
});
document.addEventListener('visibilitychange', () => {
  // A machine that slept may not know yet that its connection is gone.
  if (!document.hidden) salon.check();
  chat.changed();
});
byId('me-open').addEventListener('click', openAccountMenu);
setUpLanguages();

takeInvite();
start();

async function start(attempt = 0) {
  const session = await checkSession();
  if (session.state === 'ok') {
    actions.entered(session.user);
  } else if (session.state === 'logged_out') {
    show('auth', invite ? t('invite_log_in') : '');
  } else {
    byId('start').hidden = false;
    byId('start').firstElementChild.textContent = t(session.state === 'unreachable' ? 'error.network' : 'error.unavailable');
    setTimeout(() => start(attempt + 1), 1_000 + backoffMs(attempt));
  }
}

function draw() {
  drawing = false;
  const { open } = chat;
  chat.attentive = !document.hidden && document.hasFocus() && !byId('chat').hidden && open !== null && open.joined;
  if (chat.me) {
    rooms.render();
    room.render();
    if (chat.attentive) actions.read(room.messages.seen());
  }
  for (const view of further) view.render();
}

/** Shows `chat` or `auth`; `note` says why. */
function show(what, note) {
  for (const part of ['start', 'auth', 'chat']) byId(part).hidden = part !== what;
  if (what === 'auth') {
    for (const dialog of document.querySelectorAll('dialog[open]')) dialog.close();
    for (const box of document.querySelectorAll('[popover]')) box.hidePopover();
    auth.show(note);
  } else if (invite) {
    accept();
  } else {
    route();
  }
  chat.changed();
}

// ---- addresses: /r/{slug}, with #m42 a message of it, and #invite=CODE

function go(path) {
  if (location.pathname + location.hash !== path) history.pushState(null, '', path);
}

function route() {
  if (!chat.me) return;
  const slug = slugInAddress();
  const at = Number(/^#m(\d+)$/.exec(location.hash)?.[1]) || null;
  if (slug) actions.openRoom(slug, { go: false, at });
  else actions.closeRoom({ go: false });
}

function slugInAddress() {
  const found = /^\/r\/([^/]+)\/?$/.exec(location.pathname);
  try {
    return found && decodeURIComponent(found[1]);
  } catch {
    return null;
  }
}

// The code is taken out of the address at once: whoever looks at it later cannot use it.
function takeInvite() {
  const code = /^#invite=([\w-]+)$/.exec(location.hash)?.[1];
  if (!code) return false;
  invite = code;
  history.replaceState(null, '', location.pathname);
  return true;
}

function accept() {
  if (!chat.me) return;
  const code = invite;
  invite = null;
  actions.acceptInvite(code);
}

// ---- what is said beside

/** Says something where there is no form to say it at. */
function say(text, id) {
  clearTimeout(timers[id]);
  byId(id).textContent = text;
  byId(id).hidden = false;
  timers[id] = setTimeout(() => {
    byId(id).hidden = true;
  }, SAID_SHOWN_MS);
}

// Screen readers read what is put here; the list of messages itself changes for other reasons too.
function aloud({ room: heard, message }) {
  if (heard !== chat.open) return;
  const line = document.createElement('p');
  line.textContent = `${message.author}: ${firstLine(message.content, 300)}`;
  byId('aloud').append(line);
  while (byId('aloud').children.length > ALOUD_MAX) byId('aloud').firstElementChild.remove();
}

// ---- the person's own menu

function openAccountMenu() {
  openMenu(byId('me-open'), t('account'), [
    ...further.flatMap((view) => view.items?.() ?? []),
    { label: t('help.title'), icon: 'help', id: 'help-open', run: () => keys.showHelp() },
    chat.me?.role === 'admin' && { label: t('administration'), icon: 'shield', id: 'admin-link', href: '/admin' },
  ]);
}

function setUpLanguages() {
  const select = byId('language');
  for (const [code, name] of Object.entries(LANGUAGES)) select.append(new Option(name, code, false, code === language()));
  select.addEventListener('change', () => setLanguage(select.value));
  window.addEventListener('salon-language', () => { select.value = language(); });
}
