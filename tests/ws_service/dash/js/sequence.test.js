"use strict";
const test = require("node:test");
const assert = require("node:assert/strict");
const {Sequence} = require("./scripts.js");

/* A sequence, and what it did: the offsets it accepted, "gap", and the questions it asked. */
function play(options = {}) {
  const did = [];
  const sequence = new Sequence({every: true, history: 100, most: 1000, ...options}, {
    accept: (publication) => did.push(publication.offset || publication.data),
    gap: () => did.push("gap"),
    live: () => {},
    ask: (question) => did.push(question.since ? `since ${question.since.offset}` : `newest ${question.limit}`),
  });
  const take = () => did.splice(0);
  return {sequence, take};
}

const pubs = (first, last) => Array.from({length: last - first + 1}, (_, i) => ({offset: first + i}));
const at = (offset, epoch = "e") => ({offset, epoch});

function live(options, offset = 3) {
  const {sequence, take} = play(options);
  sequence.subscribed(at(offset), false);
  sequence.filled(pubs(1, offset), at(offset));
  take();
  return {sequence, take};
}

test("history comes first, and what came meanwhile once", () => {
  const {sequence, take} = play();
  sequence.subscribed(at(3), false);
  sequence.publication({offset: 4});
  sequence.publication({offset: 5});
  sequence.filled(pubs(1, 4), at(4));
  assert.deepEqual(take(), ["newest 100", 1, 2, 3, 4, 5]);
});

test("without history it begins with the next one", () => {
  const {sequence, take} = play({history: 0});
  sequence.subscribed(at(3), false);
  sequence.publication({offset: 4});
  assert.deepEqual(take(), [4]);
});

test("nothing is accepted twice", () => {
  const {sequence, take} = live();
  for (const offset of [4, 4, 3, 5]) sequence.publication({offset});
  assert.deepEqual(take(), [4, 5]);
});

test("a topic without history takes all that comes", () => {
  const {sequence, take} = play();
  sequence.subscribed(null, false);
  sequence.publication({data: "a"});
  sequence.publication({data: "a"});
  assert.deepEqual(take(), ["a", "a"]);
});

test("a hole is asked for, and closed in order", () => {
  const {sequence, take} = live();
  sequence.publication({offset: 7});
  sequence.publication({offset: 8});
  sequence.filled(pubs(4, 7), at(8));
  assert.deepEqual(take(), ["since 3", 4, 5, 6, 7, "since 7"]);
  sequence.filled(pubs(8, 8), at(8));
  assert.deepEqual(take(), [8]);
});

test("a hole that history does not reach is a gap", () => {
  const {sequence, take} = live();
  sequence.publication({offset: 20});
  sequence.filled(pubs(11, 20), at(20));
  assert.deepEqual(take(), ["since 3", "gap", ...pubs(11, 20).map((p) => p.offset)]);
  sequence.publication({offset: 21});
  assert.deepEqual(take(), [21]);
});

test("a hole in a history that is empty by now is a gap, told once", () => {
  const {sequence, take} = live();
  sequence.publication({offset: 7});
  sequence.filled([], at(7));
  assert.deepEqual(take(), ["since 3", "gap"]);
  sequence.publication({offset: 8});
  assert.deepEqual(take(), [8]);
});

test("where history is refused, a hole is a gap and the rest goes on", () => {
  const {sequence, take} = live();
  sequence.publication({offset: 7});
  sequence.failed();
  sequence.publication({offset: 9});
  assert.deepEqual(take(), ["since 3", "gap", 7, "gap", 9]);
});

test("history that is refused at the beginning is no gap", () => {
  const {sequence, take} = play();
  sequence.subscribed(at(3), false);
  sequence.publication({offset: 4});
  sequence.failed();
  assert.deepEqual(take(), ["newest 100", 4]);
});

test("what the server has recovered is not asked for again", () => {
  const {sequence, take} = live();
  sequence.subscribed(at(6), true);
  for (const offset of [4, 5, 6]) sequence.publication({offset});
  assert.deepEqual(take(), [4, 5, 6]);
});

test("the rest is asked for where the server has recovered the newest value alone", () => {
  const {sequence, take} = live();
  sequence.subscribed(at(6), true);
  sequence.publication({offset: 6});
  sequence.filled(pubs(4, 6), at(6));
  assert.deepEqual(take(), ["since 3", 4, 5, 6]);
});

test("what the server could not recover is asked for", () => {
  const {sequence, take} = live();
  sequence.subscribed(at(6), false);
  sequence.filled(pubs(4, 6), at(6));
  assert.deepEqual(take(), ["since 3", 4, 5, 6]);
  sequence.subscribed(at(6), false);
  assert.deepEqual(take(), []);
});

test("another epoch is a gap, and all of its history is new", () => {
  const {sequence, take} = live();
  sequence.subscribed(at(2, "f"), false);
  sequence.filled(pubs(1, 2), at(2, "f"));
  assert.deepEqual(take(), ["gap", "newest 100", 1, 2]);
});

test("an epoch that changes while history is asked for is a gap, and what was held is asked for again", () => {
  const {sequence, take} = live();
  sequence.publication({offset: 7});
  sequence.filled(pubs(1, 1), at(1, "f"));
  assert.deepEqual(take(), ["since 3", "gap", 1, "since 1"]);
  sequence.filled(pubs(2, 3), at(3, "f"));
  assert.deepEqual(take(), [2, 3]);
});

test("history is asked for again when the connection came back meanwhile", () => {
  const {sequence, take} = play();
  sequence.subscribed(at(3), false);
  sequence.subscribed(at(4), true);
  sequence.filled(pubs(1, 4), at(4));
  assert.deepEqual(take(), ["newest 100", "newest 100", 1, 2, 3, 4]);
});

test("a listener that needs the newest alone minds no holes", () => {
  const {sequence, take} = live({every: false, history: 1});
  sequence.publication({offset: 7});
  sequence.publication({offset: 6});
  assert.deepEqual(take(), [7]);
});

test("the newest is not asked for where it comes by itself", () => {
  const {sequence, take} = play({every: false, history: 1});
  sequence.subscribed(at(3), false, true);
  sequence.publication({offset: 3});
  assert.deepEqual(take(), [3]);
});

test("the newest is asked for where it was missed", () => {
  const {sequence, take} = live({every: false, history: 1});
  sequence.subscribed(at(9), false);
  sequence.filled(pubs(9, 9), at(9));
  assert.deepEqual(take(), ["newest 1", 9]);
});

test("a component that is rendered anew gets its history again", () => {
  const {sequence, take} = live();
  sequence.restart();
  sequence.filled(pubs(1, 3), at(3));
  assert.deepEqual(take(), ["newest 100", 1, 2, 3]);
});

test("a component that stayed gets what it has missed", () => {
  const {sequence, take} = play();
  sequence.resume(at(3));
  sequence.subscribed(at(5), false);
  sequence.filled(pubs(4, 5), at(5));
  assert.deepEqual(take(), ["since 3", 4, 5]);
});

test("what is held while history is asked for is bounded, and asked for again", () => {
  const {sequence, take} = play({most: 3});
  sequence.subscribed(at(0), false);
  for (const {offset} of pubs(1, 10)) sequence.publication({offset});
  sequence.filled([], at(0));
  assert.deepEqual(take(), ["newest 100", "since 0"]);
});
