// A person's own dialogs: settings of this browser, the password, and where they are logged in.

import { byId, el } from './dom.js';
import { clearErrors, showError, whileBusy } from './forms.js';
import { call } from './http.js';
import { permission, want, wanted } from './notify.js';
import { ACCOUNT_TEXTS } from './texts-account.js';
import { LANGUAGES, addTexts, errorText, language, setLanguage, t } from './texts.js';

addTexts(ACCOUNT_TEXTS);

/** `further.push(new AccountView(chat, actions))`: `items()` are its entries of the person's own menu. */
export class AccountView {
  #chat;
  #actions;

  constructor(chat, actions) {
    this.#chat = chat;
    this.#actions = actions;
  }

  /** Nothing of it stands on the page itself. */
  render() {}

  items() {
    return [
      { label: t('mine.settings'), icon: 'gear', id: 'settings-mine-open', run: () => this.#settings() },
      { label: t('mine.password'), icon: 'lock', id: 'password-open', run: () => this.#password() },
      { label: t('mine.sessions'), icon: 'user', id: 'sessions-open', run: () => this.#sessions() },
    ];
  }

  // ---- settings of this browser

  #settings() {
    const options = Object.entries(LANGUAGES).map(([code, name]) =>
      el('option', { value: code, lang: code, selected: code === language() }, name));
    const select = el('select', { id: 'mine-language', onchange: async () => {
      await setLanguage(select.value);
      // In its new language; the choice keeps the focus.
      this.#settings();
      byId('mine-language').focus();
    } }, ...options);
    const note = el('p', { id: 'mine-notify-note', class: 'hint', role: 'status' }, notifyNote());
    const check = el('input', {
      id: 'mine-notify', type: 'checkbox', checked: wanted(), 'aria-describedby': 'mine-notify-note',
      disabled: ['missing', 'denied'].includes(permission()),
    });
    check.addEventListener('change', async () => {
      check.checked = await want(check.checked);
      check.disabled = permission() === 'denied';
      note.textContent = notifyNote();
    });
    open('mine', t('mine.settings'),
      el('label', { for: 'mine-language' }, t('mine.language')), select,
      el('label', { class: 'check', for: 'mine-notify' }, check, el('span', {}, t('mine.notify'))), note,
      el('div', { class: 'buttons' }, closeButton()));
  }

  // ---- the password

  #password() {
    const submit = el('button', { id: 'password-submit', class: 'primary', type: 'submit' }, t('mine.change'));
    const form = el('form', { id: 'password-form', novalidate: true },
      el('p', { id: 'password-error', class: 'form-error', role: 'alert', hidden: true }),
      // For who keeps passwords: whose it is.
      el('input', { name: 'username', autocomplete: 'username', value: this.#chat.me.username, readonly: true, hidden: true }),
      ...field('current', t('mine.current'), 'current-password'),
      ...field('new', t('mine.new'), 'new-password', t('mine.new_rule')),
      el('div', { class: 'buttons' }, closeButton(), submit));
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      whileBusy(submit, () => this.#changePassword());
    });
    open('password', t('mine.password'), form);
    byId('password-current').focus();
  }

  async #changePassword() {
    clearErrors('password');
    const [current, wished] = ['current', 'new'].map((name) => byId(`password-${name}`).value);
    const empty = [['current', current], ['new', wished]].find(([, value]) => !value);
    if (empty) {
      byId(`password-${empty[0]}`).focus();
      return;
    }
    try {
      await call('POST', '/api/account/password', { current, new: wished });
      open('password', t('mine.password'),
        el('p', { id: 'password-done', class: 'note', role: 'status' }, t('mine.changed')),
        el('div', { class: 'buttons' }, closeButton()));
    } catch (error) {
      showError('password', inWords(error));
    } finally {
      const hint = byId('password-new-hint');
      if (hint) hint.hidden = !byId('password-new-error').hidden;
    }
  }

  // ---- where one is logged in

  async #sessions() {
    const list = el('ul', { id: 'sessions-list', class: 'entries', 'aria-live': 'polite' });
    open('sessions', t('mine.sessions'),
      el('p', { class: 'hint' }, t('mine.sessions_hint')), list,
      el('div', { class: 'buttons' }, closeButton()));
    await this.#list(list);
  }

  async #list(list) {
    try {
      const { body } = await call('GET', '/api/account/sessions');
      list.replaceChildren(...body.map((session) => this.#row(list, session)));
    } catch (error) {
      list.replaceChildren(el('li', { class: 'field-error' }, errorText(error)));
    }
  }

  #row(list, { id, agent, address, created_at, last_seen_at, current }) {
    const device = deviceOf(agent) ?? t('mine.unknown_device');
    const end = async () => {
      await whileBusy(button, async () => {
        if (current) {
          byId('sessions-dialog').close();
          await this.#actions.logOut();
          return;
        }
        try {
          await call('DELETE', `/api/account/sessions/${encodeURIComponent(id)}`);
        } catch (error) {
          // Ended already, by whomever: the list says so.
          if (error.code !== 'not_found') list.prepend(el('li', { class: 'field-error', role: 'alert' }, errorText(error)));
          if (error.code !== 'not_found') return;
        }
        await this.#list(list);
      });
    };
    const label = t('mine.end_of', { device, address });
    const button = el('button', { type: 'button', 'data-testid': 'end', 'aria-label': label, onclick: end },
      t(current ? 'log_out' : 'mine.end'));
    return el('li', { 'data-testid': 'login-session', 'data-current': current ? 'true' : null },
      el('div', { class: 'grow' },
        el('strong', { title: agent ?? null }, device), current && el('span', { class: 'muted' }, ` · ${t('mine.this_one')}`),
        el('small', { class: 'muted block' }, [address, t('mine.seen', { time: when(last_seen_at) })].filter(Boolean).join(' · ')),
        el('small', { class: 'muted block' }, t('mine.since', { time: when(created_at) }))),
      button);
  }
}

/** What program and system an agent's long name means, where we know; its own name, cut, where we do not. */
export function deviceOf(agent) {
  if (!agent) return null;
  const browser = BROWSERS.find(([, pattern]) => pattern.test(agent))?.[0];
  const system = SYSTEMS.find(([, pattern]) => pattern.test(agent))?.[0];
  if (browser && system) return t('mine.on', { browser, system });
  return browser ?? agent.slice(0, 60);
}

// Most of them also name those whom they are like, so the order matters.
const BROWSERS = [
  ['Edge', /\bEdgA?\//], ['Opera', /\bOPR\//], ['Samsung Internet', /\bSamsungBrowser\//], ['Firefox', /\b(Firefox|FxiOS)\//],
  ['Chrome', /\b(Headless)?(Chrome|Chromium|CriOS)\//], ['Safari', /\bSafari\//], ['curl', /^curl\//],
];
const SYSTEMS = [
  ['Android', /Android/], ['iPhone', /iPhone/], ['iPad', /iPad/], ['Windows', /Windows/], ['macOS', /Macintosh|Mac OS X/],
  ['ChromeOS', /CrOS/], ['Linux', /Linux/],
];

/** Opens a dialog anew, with these things in it. */
function open(name, title, ...inside) {
  byId(`${name}-dialog`)?.remove();
  const dialog = el('dialog', { id: `${name}-dialog`, 'aria-labelledby': `${name}-title` },
    el('h2', { id: `${name}-title` }, title), ...inside);
  dialog.addEventListener('close', () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

function closeButton() {
  return el('button', { type: 'button', 'data-testid': 'close', onclick: (event) => event.target.closest('dialog').close() },
    t('mine.close'));
}

function field(name, label, autocomplete, hint) {
  const id = `password-${name}`;
  return [
    el('label', { for: id }, label),
    el('input', { id, name, type: 'password', autocomplete, required: true, maxlength: '256',
      'aria-describedby': hint ? `${id}-error ${id}-hint` : `${id}-error` }),
    hint && el('p', { id: `${id}-hint`, class: 'hint' }, hint),
    el('p', { id: `${id}-error`, class: 'field-error', role: 'alert', hidden: true }),
  ];
}

/** At the field that it is about, in the person's language. */
function inWords(error) {
  const errors = {};
  if (error.code === 'invalid_credentials') errors.current = t('mine.wrong');
  // The server says more, but in English.
  if (error.errors?.new && language() !== 'en') errors.new = t('mine.new_rule');
  if (Object.keys(errors).length > 0) return { code: error.code, errors, own: true };
  return error.code === 'forbidden' ? { code: 'invalid', message: t('mine.foreign') } : error;
}

function notifyNote() {
  const state = permission();
  return t(['missing', 'denied'].includes(state) ? `mine.notify_${state}` : 'mine.notify_hint');
}

function when(at) {
  return new Intl.DateTimeFormat(language(), { dateStyle: 'medium', timeStyle: 'short' }).format(new Date(at));
}
