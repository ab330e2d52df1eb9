"use strict";
const test = require("node:test");
const assert = require("node:assert/strict");
const {merge} = require("./scripts.js");
const {latest, list, append, extendData, rowTransaction} = merge.rules;

const text = (messages, current, most = 1000) => append(messages, {max_chars: most}, current).value;

test("latest is the last message", () => {
  assert.deepEqual(latest([1, 2, 3]), {value: 3, used: 3});
});

test("a list has each message once, and two equal batches differ", () => {
  const first = list([1, 1], {}, undefined);
  assert.deepEqual(first, {value: {batch: [1, 1], n: 2}, used: 2});
  assert.deepEqual(list([1, 1], {}, first.value).value, {batch: [1, 1], n: 4});
});

test("text is added to what is there", () => {
  assert.equal(text(["b", "c"], "a"), "abc");
  assert.equal(text(["b"], null), "b");
  assert.equal(text([1, {a: 1}], ""), '1{"a":1}');
});

test("a reset marker begins anew, with or without text", () => {
  assert.equal(text(["b", {reset: true}, "c"], "a"), "c");
  assert.equal(text([{reset: true, text: "new "}, "c"], "a"), "new c");
});

test("text has a cap, keeps its end, and never half of a character", () => {
  assert.equal(text(["bcdef"], "a", 3), "def");
  assert.equal(text(["a\u{1f600}b"], "", 2), "b");
});

test("points are joined for each trace and key", () => {
  const {value, used} = extendData([{x: [[1], [1]], y: [[2], [3]]}, {x: [[4], [4]], y: [[5], [6]]}], {});
  assert.deepEqual(value, [{x: [[1, 4], [1, 4]], y: [[2, 5], [3, 6]]}, [0, 1]]);
  assert.equal(used, 2);
});

test("a single point and a single trace can be written short", () => {
  assert.deepEqual(extendData([{x: 1, y: 2}, {x: [2, 3], y: [4, 5]}], {}).value, [{x: [[1, 2, 3]], y: [[2, 4, 5]]}, [0]]);
});

test("messages for different traces are one update", () => {
  const {value} = extendData([[{y: [[1]]}, [2]], [{y: [[5]]}, [0]], [{y: [[2]]}, [2]]], {});
  assert.deepEqual(value, [{y: [[1, 2], [5]]}, [2, 0]]);
});

test("the smallest cap of points is the update's", () => {
  assert.deepEqual(extendData([[{y: [[1]]}, [0], 9], [{y: [[2]]}, [0], 7]], {max_points: 8}).value[2], 7);
  assert.deepEqual(extendData([{y: 1}], {max_points: 8}).value[2], 8);
});

test("other keys begin another update", () => {
  const messages = [{x: 1, y: 1}, {y: 2}, {x: 3, y: 3}];
  assert.equal(extendData(messages, {}).used, 1);
  assert.deepEqual(extendData(messages.slice(1), {}), {value: [{y: [[2]]}, [0]], used: 1});
});

test("what is no points is left out", () => {
  assert.deepEqual(extendData([null, 5, "x", {}, {x: [[1], [2]], y: [[1]]}, [{y: [[1]]}, [0, 1]]], {}), {value: undefined, used: 6});
  assert.deepEqual(extendData([null, {y: 1}], {}), {value: [{y: [[1]]}, [0]], used: 2});
});

test("a long burst of points is merged in a moment", () => {
  const many = Array.from({length: 10000}, (_, i) => ({x: i, y: i}));
  const began = process.hrtime.bigint();
  assert.equal(extendData(many, {}).value[0].x[0].length, 10000);
  assert.ok(process.hrtime.bigint() - began < 500_000_000n);
});

const rows = (...messages) => rowTransaction(messages, {row_id: "id"});

test("rows of one kind are joined in their order", () => {
  assert.deepEqual(rows({add: [{id: 1}]}, {add: [{id: 2}]}).value, {add: [{id: 1}, {id: 2}]});
  const twice = rows({update: [{id: 1, p: 1}]}, {update: [{id: 1, p: 2}]});
  assert.deepEqual(twice, {value: {update: [{id: 1, p: 1}, {id: 1, p: 2}]}, used: 2});
});

test("kinds are joined where no row is in two of them", () => {
  const {value, used} = rows({add: [{id: 1}]}, {update: [{id: 2}]}, {remove: [{id: 3}]});
  assert.deepEqual(value, {add: [{id: 1}], update: [{id: 2}], remove: [{id: 3}]});
  assert.equal(used, 3);
});

test("an update of a removed row begins a new transaction", () => {
  assert.equal(rows({remove: [{id: 1}]}, {update: [{id: 1}]}).used, 1);
  assert.equal(rows({remove: [{id: 1}]}, {add: [{id: 1}]}).used, 1);
  assert.equal(rows({add: [{id: 1}]}, {update: [{id: 1}]}).used, 1);
});

test("rows that cannot be told apart are never in two kinds of one transaction", () => {
  assert.equal(rows({add: [{name: "a"}]}, {update: [{name: "b"}]}).used, 1);
  assert.equal(rows({add: [{name: "a"}]}, {add: [{name: "b"}]}).used, 2);
});

test("a transaction with a place of its own stands alone", () => {
  assert.equal(rows({add: [{id: 1}], addIndex: 0}, {add: [{id: 2}]}).used, 1);
  assert.equal(rows({add: [{id: 1}]}, {add: [{id: 2}], addIndex: 0}).used, 1);
});

const parsed = (rule, text) => rule(JSON.parse(text), {row_id: "id"});

test("points of a form that cannot be are left out, and the others stay", () => {
  for (const bad of [
    '{"__proto__": 1}', '[{"x": [[1]]}, ["__proto__"]]', '[{"x": [[1]]}, [{"toString": 1, "valueOf": 1}]]', '[{"x": [[1]]}, [null]]'
  ]) {
    assert.deepEqual(parsed(extendData, `[{"x": 1}, ${bad}, {"x": 2}]`), {value: [{x: [[1, 2]]}, [0]], used: 3}, bad);
  }
});

test("keys that every object has are keys like others", () => {
  for (const key of ["constructor", "toString", "a\nb"]) {
    const text = JSON.stringify([{[key]: 1}, {[key]: 2}, {a: 1, b: 2}]);
    assert.deepEqual(parsed(extendData, text), {value: [{[key]: [[1, 2]]}, [0]], used: 2}, key);
  }
});

test("transactions of a form that cannot be are left out, and the others stay", () => {
  for (const bad of ['{"add": 5}', '{"add": "abc"}', '{"remove": {"id": 1}}', '[1, 2]', '"abc"', '{"__proto__": {"add": [1]}}']) {
    const {value, used} = parsed(rowTransaction, `[{"add": [{"id": 1}]}, ${bad}, {"add": [{"id": 2}]}]`);
    assert.deepEqual([value, used], [{add: [{id: 1}, {id: 2}]}, 3], bad);
  }
});

test("an id that is no text and no number tells no row apart", () => {
  const odd = '{"id": {"toString": 1, "valueOf": 1}}';
  assert.equal(parsed(rowTransaction, `[{"add": [${odd}]}, {"update": [{"id": 1}]}]`).used, 1);
});

test("a path leads into a message, and never to what it inherits", () => {
  assert.equal(merge.at({a: {b: [7]}}, ["a", "b", 0]), 7);
  assert.equal(merge.at({a: 1}, ["b"]), undefined);
  assert.equal(merge.at({a: null}, ["a", "b"]), undefined);
  assert.equal(merge.at({}, ["constructor"]), undefined);
  assert.equal(merge.at(5, []), 5);
});
