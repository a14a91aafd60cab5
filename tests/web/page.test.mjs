// The page as it is delivered: what it says it needs is there, and nothing in it breaks its own policy.

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { test } from 'node:test';

const web = new URL('../../web/', import.meta.url);
const read = (name) => readFileSync(new URL(name, web), 'utf8');
const page = read('index.html');

/** The modules that the page loads, by following what each imports. */
function reached(name, all = new Set()) {
  if (all.has(name)) return all;
  all.add(name);
  for (const [, next] of read(name).matchAll(/^(?:import|export)[^;]*?from '\.\/([\w-]+\.js)';/gms)) reached(next, all);
  return all;
}

test('what is fetched early is what will be asked for', () => {
  const early = [...page.matchAll(/rel="modulepreload" href="\/([\w-]+\.js)"/g)].map(([, name]) => name);
  const asked = reached('app.js');
  assert.ok(early.length > 10);
  assert.deepEqual(early.filter((name) => !asked.has(name)), [], 'nobody asks for these');
});

test('nothing inline: no script, no style, no handler', () => {
  assert.ok(!/\son\w+=|\sstyle=|<style|javascript:/i.test(page));
  for (const [, inside] of page.matchAll(/<script[^>]*>([^]*?)<\/script>/g)) assert.equal(inside, '');
});

test('what people write can only become text', () => {
  for (const name of readdirSync(web).filter((file) => file.endsWith('.js'))) {
    const found = read(name).match(/innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment|\beval\(|new Function/);
    assert.equal(found, null, name);
  }
});

test('every id of the page stands there once, and what labels and describes is there', () => {
  const ids = [...page.matchAll(/\sid="([^"]+)"/g)].map(([, id]) => id);
  assert.equal(new Set(ids).size, ids.length);
  for (const [, list] of page.matchAll(/\s(?:for|aria-labelledby|aria-describedby|aria-controls)="([^"]+)"/g)) {
    for (const id of list.split(' ')) assert.ok(ids.includes(id), id);
  }
});

test('no file is longer than one can read', () => {
  for (const name of readdirSync(web).filter((file) => /^(view|text|app|state|actions|timeline|room|style|index)/.test(file))) {
    assert.ok(read(name).split('\n').length <= 400, name);
  }
});
