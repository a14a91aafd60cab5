// The page: puts its parts together, shows the right one, and keeps the address and the title.

import { Actions } from './actions.js';
import { byId, fillPage } from './dom.js';
import { Salon, backoffMs, checkSession } from './salon.js';
import { Chat } from './state.js';
import { language, t } from './texts.js';
import { AuthView } from './view-auth.js';
import { RoomView } from './view-room.js';
import { RoomsView } from './view-rooms.js';

/** A hidden page is drawn this late: nobody sees it, and the browser draws no frames for it. */
const HIDDEN_DRAW_MS = 250;
const COMPLAINT_SHOWN_MS = 8_000;

const chat = new Chat();
const salon = new Salon();
const page = { go, show, complain };
const actions = new Actions(chat, salon, page);

document.documentElement.lang = language;
fillPage();
const auth = new AuthView(actions);
const rooms = new RoomsView(chat, actions);
const room = new RoomView(chat, actions);

let drawing = false;
let complaintTimer = null;

chat.addEventListener('changed', () => {
  if (drawing) return;
  drawing = true;
  if (document.hidden) setTimeout(draw, HIDDEN_DRAW_MS);
  else requestAnimationFrame(draw);
});

for (const event of ['focus', 'blur']) window.addEventListener(event, () => chat.changed());
window.addEventListener('popstate', route);
window.addEventListener('online', () => salon.check());
window.addEventListener('offline', () => salon.check());
document.addEventListener('visibilitychange', () => {
  // A machine that slept may not know yet that its connection is gone.
  if (!document.hidden) salon.check();
  chat.changed();
});

start();

async function start(attempt = 0) {
  const session = await checkSession();
  if (session.state === 'ok') {
    await actions.entered(session.user);
  } else if (session.state === 'logged_out') {
    show('auth');
  } else {
    byId('start').hidden = false;
    byId('start').firstElementChild.textContent = t(session.state === 'unreachable' ? 'error.network' : 'error.unavailable');
    setTimeout(() => start(attempt + 1), 1_000 + backoffMs(attempt));
  }
}

function draw() {
  drawing = false;
  const { open } = chat;
  chat.attentive = !document.hidden && document.hasFocus() && !byId('chat').hidden
    && open !== null && open.joined && room.messages.atEnd;
  if (chat.me) {
    rooms.render();
    room.render();
    if (chat.attentive && room.messages.atEnd) actions.read();
  }
  const unread = chat.me && chat.unread > 0 ? `(${chat.unread > 99 ? '99+' : chat.unread}) ` : '';
  document.title = `${unread}${open ? `${open.info.name} · ` : ''}salon`;
}

/** Shows `chat` or `auth`; `note` says why. */
function show(what, note) {
  for (const part of ['start', 'auth', 'chat']) byId(part).hidden = part !== what;
  if (what === 'auth') {
    for (const dialog of document.querySelectorAll('dialog[open]')) dialog.close();
    auth.show(note);
  } else {
    route();
  }
  chat.changed();
}

function go(path) {
  if (location.pathname !== path) history.pushState(null, '', path);
}

function route() {
  if (!chat.me) return;
  const slug = slugInAddress();
  if (slug) actions.openRoom(slug, { go: false });
  else actions.closeRoom();
}

function slugInAddress() {
  const found = /^\/r\/([^/]+)\/?$/.exec(location.pathname);
  try {
    return found && decodeURIComponent(found[1]);
  } catch {
    return null;
  }
}

/** Says what did not work, where there is no form to say it at. */
function complain(text) {
  clearTimeout(complaintTimer);
  byId('complaint').textContent = text;
  byId('complaint').hidden = false;
  complaintTimer = setTimeout(() => {
    byId('complaint').hidden = true;
  }, COMPLAINT_SHOWN_MS);
}
