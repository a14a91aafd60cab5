// The window onto a room's history: bounded, without holes, and back at the live end.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Timeline, WINDOW_MAX } from '../../web/timeline.js';
import { message } from './harness.mjs';

const SLACK = 50;
const ids = (timeline) => timeline.shown.map(({ id }) => id);
const range = (from, to) => Array.from({ length: to - from + 1 }, (_, at) => from + at);
const page = (from, to) => range(from, to).map((id) => message(id));

/** A room of `count` messages, at its end. */
function room(count) {
  const timeline = new Timeline();
  timeline.reset(page(count - 49, count), true, count);
  return timeline;
}

function up(timeline) {
  const { from } = timeline;
  timeline.pageBefore(page(Math.max(1, from - 100), from - 1), from - 100 > 1);
}

function down(timeline, newest) {
  const { to } = timeline;
  timeline.pageAfter(page(to + 1, Math.min(newest, to + 100)));
}

test('scrolling through 10,000 messages and back never holds many, and leaves none out', () => {
  const timeline = room(10_000);
  let most = 0;
  while (timeline.older) {
    up(timeline);
    most = Math.max(most, timeline.messages.size);
    const shown = ids(timeline);
    assert.deepEqual(shown, range(shown[0], shown.at(-1)));
  }
  assert.equal(timeline.shown[0].id, 1);
  assert.ok(!timeline.live);
  while (!timeline.live) {
    down(timeline, 10_000);
    most = Math.max(most, timeline.messages.size);
    const shown = ids(timeline);
    assert.deepEqual(shown, range(shown[0], shown.at(-1)));
  }
  assert.equal(timeline.shown.at(-1).id, 10_000);
  assert.ok(timeline.older);
  assert.ok(most <= WINDOW_MAX + 2 * SLACK + 200, `${most}`);
});

test('what is said while one reads far up is there when one is back', () => {
  const timeline = room(2_000);
  for (let step = 0; step < 8; step += 1) up(timeline);
  assert.ok(!timeline.live);
  for (let id = 2_001; id <= 2_400; id += 1) assert.equal(timeline.change(message(id)), true);
  assert.ok(timeline.messages.size <= WINDOW_MAX + SLACK + 200, `${timeline.messages.size}`);
  const walked = Object.assign(new Timeline(), { ...timeline, messages: new Map(timeline.messages) });
  timeline.toLive();
  assert.equal(timeline.shown.at(-1).id, 2_400);
  while (!walked.live) down(walked, 2_400);
  assert.deepEqual(ids(walked).slice(-100), range(2_301, 2_400));
});

test('a jump shows what is around, and both ends go on from there', () => {
  const timeline = room(5_000);
  timeline.around(page(951, 1_050), true);
  assert.deepEqual(ids(timeline), range(951, 1_050));
  up(timeline);
  down(timeline, 5_000);
  assert.deepEqual(ids(timeline), range(851, 1_150));
  timeline.around(page(4_940, 5_000), true);
  assert.ok(timeline.live);
  assert.deepEqual(ids(timeline), range(4_940, 5_000));
});

test('a change meets a page that was asked for before it', () => {
  const timeline = room(500);
  const done = timeline.loading();
  timeline.change(message(440, { seq: 501, type: 'message_edited', content: 'new' }));
  up(timeline);
  done();
  assert.equal(timeline.get(440).content, 'new');
  timeline.change(message(7, { seq: 502, type: 'message_edited' }));
  assert.equal(timeline.get(7), undefined, 'far away it is not kept');
});

test('a short room has no more, and an empty one nothing', () => {
  const timeline = new Timeline();
  timeline.reset([], false, 0);
  assert.deepEqual(ids(timeline), []);
  assert.equal(timeline.change(message(1)), true);
  assert.equal(timeline.change(message(1, { seq: 2, type: 'message_deleted' })), false);
  assert.deepEqual(ids(timeline), [1]);
  assert.ok(!timeline.older);
});

test('whoever reads the end lets the beginning go', () => {
  const timeline = room(50);
  for (let id = 51; id <= 3_000; id += 1) {
    timeline.change(message(id));
    timeline.cutStart();
  }
  assert.ok(timeline.messages.size <= WINDOW_MAX + SLACK);
  assert.ok(timeline.live && timeline.older);
  assert.equal(timeline.shown.at(-1).id, 3_000);
});

test('where nothing comes after the window, it is at the live end', () => {
  const timeline = room(5_000);
  timeline.around(page(951, 1_050), true);
  timeline.pageAfter([]);
  assert.ok(timeline.live);
});
