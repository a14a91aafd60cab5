// The dialogs about a room: settings, invitations, bans and mutes, and the questions before what cannot be undone.

import { byId, el } from './dom.js';
import { clearErrors, showError, whileBusy } from './forms.js';
import { copy } from './history.js';
import { errorText, t } from './texts.js';
import { format } from './view-message.js';

const HOUR_S = 3_600;

export class RoomDialogs {
  #chat;
  #actions;
  #room = null;
  #agreed = null;
  #punished = null;

  constructor(chat, actions) {
    this.#chat = chat;
    this.#actions = actions;
    for (const button of document.querySelectorAll('[data-close]')) {
      button.addEventListener('click', () => button.closest('dialog').close());
    }
    byId('ask-form').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#answered();
    });
    byId('settings-form').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#save();
    });
    byId('punish-form').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#punish();
    });
    byId('invite-form').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#invite();
    });
    byId('add-form').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#add();
    });
    byId('invite-copy').addEventListener('click', () => this.#copyInvite());
  }

  // ---- questions

  leave(room) {
    const hint = room.info.kind === 'private' ? t('leave_private_hint') : '';
    this.#ask(t('leave_sure', { name: room.info.name }), hint, t('leave_room'), () => this.#actions.leaveRoom(room.slug));
  }

  remove(room) {
    const run = () => this.#actions.members.deleteRoom(room);
    this.#ask(t('delete_room_sure', { name: room.info.name }), t('delete_room_hint'), t('delete_room'), run);
  }

  kick(room, username) {
    const run = () => this.#actions.members.kick(room, username);
    this.#ask(t('kick_sure', { name: username }), t(room.info.kind === 'public' ? 'kick_hint' : 'kick_private_hint'), t('kick'), run);
  }

  #ask(title, hint, button, run) {
    clearErrors('ask');
    byId('ask-title').textContent = title;
    byId('ask-hint').textContent = hint;
    byId('ask-confirm').textContent = button;
    this.#agreed = run;
    byId('ask-dialog').showModal();
    byId('ask-cancel').focus();
  }

  #answered() {
    return this.#submit('ask', byId('ask-confirm'), async () => {
      await this.#agreed();
      byId('ask-dialog').close();
    });
  }

  // ---- settings

  settings(room) {
    this.#room = room;
    clearErrors('settings');
    byId('settings-name').value = room.info.name;
    byId('settings-topic').value = room.info.topic;
    byId('settings-dialog').showModal();
  }

  #save() {
    const wish = { name: byId('settings-name').value.trim(), topic: byId('settings-topic').value.trim() };
    return this.#submit('settings', byId('settings-submit'), async () => {
      await this.#actions.members.change(this.#room, wish);
      byId('settings-dialog').close();
    });
  }

  // ---- bans and mutes

  /** Asks for how long and why; `what` is `bans` or `mutes`. */
  punish(room, what, username) {
    this.#punished = { room, what, username };
    clearErrors('punish');
    byId('punish-form').reset();
    byId('punish-title').textContent = t(what === 'bans' ? 'ban_title' : 'mute_title', { name: username });
    byId('punish-hint').textContent = t(what === 'bans' ? 'ban_hint' : 'mute_hint');
    byId('punish-submit').textContent = t(what === 'bans' ? 'ban' : 'mute');
    byId('punish-dialog').showModal();
  }

  #punish() {
    const { room, what, username } = this.#punished;
    const hours = Number(byId('punish-until').value);
    const until = hours ? new Date(Date.now() + hours * HOUR_S * 1000).toISOString() : null;
    const reason = byId('punish-reason').value.trim() || null;
    return this.#submit('punish', byId('punish-submit'), async () => {
      await this.#actions.members.punish(room, what, username, { reason, until });
      byId('punish-dialog').close();
    });
  }

  async moderation(room) {
    byId('moderation-dialog').showModal();
    await Promise.all(['bans', 'mutes'].map((what) => this.#list(room, what)));
  }

  async #list(room, what) {
    const list = byId(`${what}-list`);
    list.replaceChildren(el('li', { class: 'muted' }, t('starting')));
    try {
      const found = await this.#actions.members.listed(room, what);
      list.replaceChildren(...found.map((entry) => this.#punishedRow(room, what, entry)));
      if (found.length === 0) list.append(el('li', { class: 'muted' }, t('nobody')));
    } catch (error) {
      list.replaceChildren(el('li', { class: 'field-error' }, errorText(error)));
    }
  }

  #punishedRow(room, what, { username, reason, until, by }) {
    const terms = [until ? t('until', { time: format('short', until) }) : t('until_lifted'), by && t('by', { name: by })];
    const lift = async (event) => {
      event.currentTarget.disabled = true;
      await this.#actions.members.lift(room, what, username);
      await this.#list(room, what);
    };
    return el('li', { 'data-testid': what === 'bans' ? 'banned' : 'muted', 'data-user': username },
      el('div', { class: 'grow' }, el('strong', {}, username),
        el('small', { class: 'muted block' }, terms.filter(Boolean).join(' · ')),
        reason && el('small', { class: 'block' }, reason)),
      el('button', { type: 'button', 'data-testid': 'lift', onclick: lift }, t(what === 'bans' ? 'unban' : 'unmute')));
  }

  // ---- invitations

  async invites(room) {
    this.#room = room;
    clearErrors('invite');
    clearErrors('add');
    byId('invite-form').reset();
    byId('add-form').reset();
    byId('invite-made').hidden = true;
    byId('invite-dialog').showModal();
    await this.#listInvites();
  }

  async #listInvites() {
    const room = this.#room;
    try {
      const open = await this.#actions.members.invites(room);
      byId('invites-title').hidden = open.length === 0;
      byId('invites-list').replaceChildren(...open.map((invite) => this.#inviteRow(room, invite)));
    } catch (error) {
      showError('invite', error);
    }
  }

  #inviteRow(room, { id, by, uses_left: uses, expires_at: expires }) {
    const withdraw = async (event) => {
      event.currentTarget.disabled = true;
      await this.#actions.members.withdraw(room, id);
      await this.#listInvites();
    };
    const text = uses === null || uses === undefined ? t('uses_any') : t('uses_left', { count: uses });
    return el('li', { 'data-testid': 'invite' },
      el('div', { class: 'grow' }, text, el('small', { class: 'muted block' },
        `${t('until', { time: format('short', expires) })} · ${t('by', { name: by })}`)),
      el('button', { type: 'button', 'data-testid': 'withdraw', onclick: withdraw }, t('withdraw')));
  }

  #invite() {
    const uses = Number(byId('invite-uses').value) || undefined;
    const wish = { uses, expires_in: Number(byId('invite-expires').value) };
    return this.#submit('invite', byId('invite-submit'), async () => {
      const { url } = await this.#actions.members.invite(this.#room, wish);
      byId('invite-url').value = url;
      byId('invite-made').hidden = false;
      byId('invite-copied').textContent = '';
      byId('invite-url').select();
      await this.#listInvites();
    });
  }

  async #copyInvite() {
    byId('invite-url').select();
    const copied = await copy(byId('invite-url').value);
    byId('invite-copied').textContent = t(copied ? 'copied' : 'copy_by_hand');
  }

  #add() {
    const username = byId('add-username').value.trim();
    if (!username) return undefined;
    return this.#submit('add', byId('add-submit'), async () => {
      await this.#actions.members.add(this.#room, username);
      byId('add-form').reset();
      byId('add-done').textContent = t('added', { name: username });
    });
  }

  #submit(form, button, run) {
    clearErrors(form);
    byId('add-done').textContent = '';
    return whileBusy(button, async () => {
      try {
        await run();
      } catch (error) {
        const nobody = form === 'add' && error.code === 'not_found';
        showError(form, nobody ? { own: true, errors: { username: t('no_such_user') } } : error);
      }
    });
  }
}
