// The nodes, looked at again every few seconds as long as somebody can see them.

import { cell, tag, when } from './admin-list.js';
import { errorText, language, t } from './admin-texts.js';
import { byId, el } from './dom.js';
import { call } from './http.js';

const LOOK_EVERY_MS = 3_000;
const LOOKS = { up: 'good', draining: 'warn', gone: 'bad' };
const SECONDS = new Intl.NumberFormat(language, { minimumFractionDigits: 1, maximumFractionDigits: 1 });

export class NodesView {
  #desk;
  #timer = null;
  #isShown = false;

  constructor(desk) {
    this.#desk = desk;
    document.addEventListener('visibilitychange', () => {
      if (!document.hidden && this.#isShown) this.#look();
    });
  }

  show() {
    this.#isShown = true;
    this.#look();
  }

  hide() {
    this.#isShown = false;
    clearTimeout(this.#timer);
  }

  async #look() {
    clearTimeout(this.#timer);
    const status = byId('nodes-status');
    try {
      const { body } = await call('GET', '/api/admin/nodes');
      byId('nodes-rows').replaceChildren(...body.map(row));
      const text = t('nodes_shown', { count: body.length });
      // Said once, and not at every look.
      if (status.textContent !== text) status.textContent = text;
      status.dataset.state = 'well';
    } catch (error) {
      status.textContent = errorText(error);
      status.dataset.state = 'error';
      if (error.code === 'unauthenticated') this.#desk.fail(error);
    }
    clearTimeout(this.#timer);
    if (this.#isShown && !document.hidden) this.#timer = setTimeout(() => this.#look(), LOOK_EVERY_MS);
  }
}

function row(node) {
  return el('tr', { role: 'row', 'data-testid': 'node', 'data-node': node.name, 'data-state': node.state },
    el('td', { role: 'cell' }, el('span', { class: 'desk-name' }, node.name), ' ',
      el('span', { class: 'desk-sub' }, node.incarnation)),
    cell(t('state'), tag(t(`states.${node.state}`), LOOKS[node.state])),
    cell(t('sockets'), node.sockets === null ? t('not_known') : String(node.sockets)),
    cell(t('broker'), tag(t(node.broker_up ? 'broker_up' : 'broker_down'), node.broker_up ? 'good' : 'bad')),
    cell(t('heard'), t('ago', { seconds: SECONDS.format(node.lag_ms / 1_000) })),
    cell(t('version'), node.version),
    cell(t('started'), when(node.started_at)));
}
