"use strict";
const test = require("node:test");
const assert = require("node:assert/strict");
const {Queue} = require("./scripts.js");

const items = (queue) => queue.items.map((item) => item.data);

test("the oldest are dropped beyond the count", () => {
  const queue = new Queue(2, 1e9);
  assert.deepEqual([1, 2, 3].map((data) => queue.push({offset: 0, data})), [0, 0, 1]);
  assert.deepEqual(items(queue), [2, 3]);
});

test("the oldest are dropped beyond the bytes", () => {
  const queue = new Queue(100, 1000);
  queue.push({offset: 1, data: "a".repeat(200)});
  queue.push({offset: 2, data: {key: ["b".repeat(100)]}});
  assert.equal(queue.push({offset: 3, data: "c".repeat(200)}), 1);
  assert.equal(queue.length, 2);
});

test("one message is kept whatever its size", () => {
  const queue = new Queue(10, 100);
  assert.equal(queue.push({offset: 1, data: "a".repeat(1000)}), 0);
  assert.equal(queue.length, 1);
});

test("what is taken no longer counts", () => {
  const queue = new Queue(100, 1000);
  for (let i = 0; i < 50; i += 1) {
    queue.push({offset: i, data: "a".repeat(200)});
    queue.shift(1);
  }
  queue.push({offset: 99, data: "a".repeat(200)});
  assert.equal(queue.push({offset: 100, data: "a".repeat(200)}), 0);
});
