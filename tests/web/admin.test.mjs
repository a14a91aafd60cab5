// The texts of the page for administrators: all there, in every language.

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { test } from 'node:test';
import { TEXTS, errorText, t } from '../../web/admin-texts.js';

const WEB = new URL('../../web/', import.meta.url);
const read = (name) => readFileSync(new URL(name, WEB), 'utf8');

function flat(texts, before = '') {
  return Object.entries(texts).flatMap(([name, text]) =>
    (typeof text === 'string' ? [[before + name, text]] : flat(text, `${before}${name}.`)));
}

const names = (text) => [...text.matchAll(/\{(\w+)\}/g)].map(([, name]) => name).sort();

test('every language has every text, with the same names to fill in', () => {
  const english = flat(TEXTS.en);
  assert.deepEqual(Object.keys(TEXTS), ['en', 'fr', 'ru']);
  for (const language of ['fr', 'ru']) {
    const texts = new Map(flat(TEXTS[language]));
    assert.deepEqual([...texts.keys()], english.map(([name]) => name), language);
    for (const [name, text] of english) assert.deepEqual(names(texts.get(name)), names(text), `${language}: ${name}`);
  }
});

test('every text that the page names is there', () => {
  const known = new Set(flat(TEXTS.en).map(([name]) => name));
  const files = readdirSync(WEB).filter((name) => /^admin.*\.js$/.test(name));
  const named = files.flatMap((name) => [...read(name).matchAll(/\bt\('([\w.]+)'/g)].map(([, text]) => text));
  const shown = [...read('admin.html').matchAll(/data-(?:text|label|placeholder)="([\w.]+)"/g)].map(([, text]) => text);
  assert.ok(named.length > 20 && shown.length > 20);
  for (const name of [...named, ...shown]) assert.ok(known.has(name), name);
  for (const word of ['disable', 'promote', 'demote']) {
    for (const name of [word, `${word}_sure`, `${word}_text`]) assert.ok(known.has(name), name);
  }
});

test('a text is filled in, and an error of any code has a sentence', () => {
  assert.equal(t('ago', { seconds: 3 }), '3 s ago');
  assert.equal(t('no_such_text'), 'no_such_text');
  assert.equal(errorText({ code: 'forbidden' }), TEXTS.en.error.forbidden);
  assert.equal(errorText({ code: 'malformed' }), TEXTS.en.error.internal);
});
