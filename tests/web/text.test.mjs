// Links and mentions in what people write.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { firstLine, matching, pieces, typedMention } from '../../web/text.js';

const links = (text) => pieces(text).filter(({ href }) => href).map(({ href }) => href);

test('the pieces together are the text', () => {
  for (const text of ['', ' ', 'a\nb', 'see http://a.b/c, @bob.', '@@bob http://', 'https://x.y/?a=1&b=[2]) end', '😀@bob😀']) {
    assert.equal(pieces(text, ['bob']).map((piece) => piece.text).join(''), text);
  }
});

test('only http and https become links', () => {
  assert.deepEqual(links('http://a.b https://c.d/e?f#g'), ['http://a.b', 'https://c.d/e?f#g']);
  for (const text of ['javascript:alert(1)', 'data:text/html,x', 'ftp://a.b', 'JAVASCRIPT://x', 'http://', 'file:///etc/passwd', 'vbscript:x', '//a.b']) {
    assert.deepEqual(links(text), [], text);
  }
  assert.deepEqual(links('javascript:http://a.b'), ['http://a.b']);
});

test('a link ends where the sentence does', () => {
  for (const [text, link] of [
    ['(http://a.b/c)', 'http://a.b/c'], ['http://a.b/c.', 'http://a.b/c'], ['http://a.b/c_(d)', 'http://a.b/c_(d)'],
    ['(see http://a.b/c_(d))', 'http://a.b/c_(d)'], ['"http://a.b"', 'http://a.b'], ['<http://a.b>', 'http://a.b'],
    ['http://a.b/?q=x!?', 'http://a.b/?q=x'], ['http://é.fr/ü', 'http://é.fr/ü'],
  ]) assert.deepEqual(links(text), [link], text);
});

test('a mention is what the server says is one', () => {
  const named = (text, names) => pieces(text, names).filter(({ mention }) => mention).map(({ text: shown, mention }) => [shown, mention]);
  assert.deepEqual(named('hi @bob.', ['bob']), [['@bob', 'bob']]);
  assert.deepEqual(named('hi @bob.', ['bob.']), [['@bob.', 'bob.']]);
  assert.deepEqual(named('@BOB (@Анна), @eve', ['bob', 'анна']), [['@BOB', 'bob'], ['@Анна', 'анна']]);
  assert.deepEqual(named('a@bob.c', ['bob', 'bob.c']), []);
  assert.deepEqual(named('@mu\u0308ller', ['müller']), [['@mu\u0308ller', 'müller']]);
  assert.deepEqual(named('http://a.b/@bob', ['bob']), []);
});

test('what is typed after an @ is completed, a mail address is not', () => {
  assert.deepEqual(typedMention('hi @bo', 6), { from: 3, name: 'bo' });
  assert.deepEqual(typedMention('hi @', 4), { from: 3, name: '' });
  assert.equal(typedMention('a@bo', 4), null);
  assert.equal(typedMention('hi @bo ', 7), null);
  assert.deepEqual(matching(['Abob', 'bob', 'BOBBY', 'eve'], 'bo', 2), ['bob', 'BOBBY']);
});

test('the first line is short', () => {
  assert.equal(firstLine('\n a\nb'), 'a');
  assert.equal([...firstLine('😀'.repeat(500))].length, 140);
});

test('long texts take no long time', () => {
  const began = performance.now();
  for (const text of [`http://a.b/${')'.repeat(4000)}`, '@'.repeat(4000), `http://${'.'.repeat(4000)}`, `${'('.repeat(2000)}http://a${')'.repeat(2000)}`]) {
    pieces(text, ['bob']);
  }
  assert.ok(performance.now() - began < 500);
});
