// What is worth a notification, and how it and the title read.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bodyOf, isWorthIt, titleOf } from '../../web/notify.js';
import { ACCOUNT_TEXTS } from '../../web/texts-account.js';

test('only what is meant for a person who does not see it anyway is worth a notification', () => {
  for (const [kind, mention, away, worth] of [
    ['public', false, true, false], ['public', true, true, true], ['private', true, true, true],
    ['direct', false, true, true], ['direct', true, false, false], ['public', true, false, false],
  ]) {
    assert.equal(isWorthIt(kind, mention, away), worth, `${kind} ${mention} ${away}`);
  }
});

test('the title counts what is unread', () => {
  assert.equal(titleOf(0, undefined), 'salon');
  assert.equal(titleOf(3, 'General'), '(3) General · salon');
  assert.equal(titleOf(100, undefined), '(99+) salon');
});

test('a notification is one line, cut between characters', () => {
  assert.equal(bodyOf(' two\n lines '), 'two lines');
  const long = bodyOf('👍'.repeat(200));
  assert.equal([...long].length, 140);
  assert.ok(long.endsWith('👍…'));
});

test('every language has every text, with the same values in it', () => {
  const values = (text) => [...text.matchAll(/\{(\w+)\}/g)].map(([, name]) => name).sort();
  const { en, ...others } = ACCOUNT_TEXTS;
  for (const [code, { mine }] of Object.entries(others)) {
    assert.deepEqual(Object.keys(mine), Object.keys(en.mine), code);
    for (const [name, text] of Object.entries(mine)) assert.deepEqual(values(text), values(en.mine[name]), `${code}: ${name}`);
  }
});
