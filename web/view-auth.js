// The form to log in or register.

import { byId } from './dom.js';
import { clearErrors, showError, whileBusy } from './forms.js';
import { t } from './texts.js';

export class AuthView {
  #mode = 'login';

  constructor(actions) {
    byId('auth-switch').addEventListener('click', () => this.#setMode(this.#mode === 'login' ? 'register' : 'login'));
    byId('auth-show').addEventListener('change', (event) => {
      byId('auth-password').type = event.target.checked ? 'text' : 'password';
    });
    byId('auth-form').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#submit(actions);
    });
    this.#setMode('login');
  }

  /** Shows the form; `note` says why, when the person did not ask for it. */
  show(note = '') {
    byId('auth-note').hidden = !note;
    byId('auth-note').textContent = note;
    this.#setMode('login');
    byId('auth-username').focus();
  }

  /** The language changed. */
  relabel() {
    this.#setMode(this.#mode);
  }

  #setMode(mode) {
    this.#mode = mode;
    const login = mode === 'login';
    clearErrors('auth');
    byId('auth-form').dataset.mode = mode;
    byId('auth-submit').textContent = t(login ? 'log_in' : 'register');
    byId('auth-switch-text').textContent = t(login ? 'no_account' : 'have_account');
    byId('auth-switch').textContent = t(login ? 'register' : 'log_in');
    byId('auth-password').autocomplete = login ? 'current-password' : 'new-password';
    byId('auth-password-hint').hidden = login;
  }

  async #submit(actions) {
    const username = byId('auth-username').value.trim();
    const password = byId('auth-password').value;
    clearErrors('auth');
    for (const [field, value] of [['username', username], ['password', password]]) {
      if (!value) {
        byId(`auth-${field}`).focus();
        return;
      }
    }
    await whileBusy(byId('auth-submit'), async () => {
      try {
        await actions.enter(this.#mode, username, password);
        byId('auth-form').reset();
        byId('auth-password').type = 'password';
      } catch (error) {
        showError('auth', error);
      }
    });
  }
}
