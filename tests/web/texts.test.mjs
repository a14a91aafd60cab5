// The texts of all languages: none is missing, none is too many, and what is filled in is the same.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { texts as en } from '../../web/texts-en.js';
import { texts as fr } from '../../web/texts-fr.js';
import { texts as ru } from '../../web/texts-ru.js';
import { t } from '../../web/texts.js';

const FORMS = { fr: ['one', 'other'], ru: ['one', 'few', 'many', 'other'] };

/** `name -> text`, a text in several forms once, by its form `other`. */
function flat(texts, before = '') {
  return Object.entries(texts).flatMap(([name, text]) => {
    if (before === '' && name === 'field') return [];
    if (typeof text === 'string') return [[before + name, text]];
    return text.other ? [[before + name, text.other]] : flat(text, `${before}${name}.`);
  });
}

const holes = (text) => [...new Set(text.match(/\{\w+\}/g) ?? [])].sort();

for (const [code, texts] of Object.entries({ fr, ru })) {
  test(`${code} says all that English says`, () => {
    const said = new Map(flat(texts));
    assert.deepEqual([...said.keys()].sort(), flat(en).map(([name]) => name).sort());
    for (const [name, text] of flat(en)) assert.deepEqual(holes(said.get(name)), holes(text), name);
  });

  test(`${code} has all forms of what is counted`, () => {
    const check = (texts, english) => {
      for (const [name, text] of Object.entries(english)) {
        if (typeof text === 'string') continue;
        if (!text.other) check(texts[name], text);
        else assert.deepEqual(Object.keys(texts[name]), FORMS[code], name);
      }
    };
    check(texts, en);
  });
}

test('a text takes its values and its number', () => {
  assert.equal(t('unread', { count: 1 }), '1 unread');
  assert.equal(t('new_below', { count: 4321 }), '4,321 new messages');
  assert.equal(t('join_named', { name: '{name}' }), 'Join “{name}”');
  assert.equal(t('no.such.text'), 'no.such.text');
  assert.equal(t('constructor'), 'constructor');
});
