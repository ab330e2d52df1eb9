"use strict";
/* connection.js and delivery.js: what the browser's console says where a page gets nothing. */
const test = require("node:test");
const assert = require("node:assert/strict");
const path = require("node:path");

const handlers = {}, subscription = {};

/* The client of npm, as far as a page's connection uses it. */
global.window = {
  location: {protocol: "http:", host: "127.0.0.1:8050"},
  Centrifuge: function () {
    this.on = (event, call) => { handlers[event] = call; };
    this.connect = () => {};
    this.newSubscription = () => ({on: (event, call) => { subscription[event] = call; }, subscribe: () => {}});
  }
};
global.document = {getElementById: () => ({textContent: "{}"})};
const parts = require("./scripts.js");
const FOLDER = path.join(__dirname, "../../../../ws_service/dash/js");
require(path.join(FOLDER, "connection.js"));
parts.mark = {turn: () => {}};

function heard(context) {
  const calls = [];
  context.mock.method(console, "info", (...said) => { calls.push(said); });
  return calls;
}

test("a page without a connection says once where it has looked", (context) => {
  const calls = heard(context);
  parts.connection();
  for (let i = 0; i < 9; i += 1) {
    handlers.error({});
  }
  assert.equal(calls.length, 1);
  assert.match(calls[0][0], /no hub answers at ws:\/\/127\.0\.0\.1:8050\/connection\/websocket\. Is this page/);
});

test("a page that comes back by itself says nothing", (context) => {
  const calls = heard(context);
  handlers.connected({});
  for (let i = 0; i < 9; i += 1) {
    handlers.error({});
  }
  assert.equal(calls.length, 0);
});

test("a topic that is refused is named, with the reason", (context) => {
  const calls = heard(context);
  parts.connection().open("prices", {}).join({state: () => {}});
  subscription.unsubscribed({code: 103, reason: "permission denied"});
  assert.deepEqual(calls[0], ["dashHub: the topic prices is refused (103 permission denied)"]);
});

/* Attach a delivery to a component that the test plays; returns its listener's effects and what the watch calls. */
function delivered(given) {
  const played = {updates: []};
  parts.target = {
    domId: String, find: () => played.found || null, isReady: () => true, current: () => undefined,
    takes: () => given.takes !== false, set: (...update) => { played.updates.push(update); },
    watch: (id, call) => { played.changed = call; return {check: () => {}, end: () => {}}; }
  };
  parts.Listener = function (name, options, position, effects) {
    played.effects = effects;
    this.sequence = {isFilling: false};
  };
  delete require.cache[path.join(FOLDER, "delivery.js")];
  require(path.join(FOLDER, "delivery.js"));
  const settings = {topic: "prices", prop: "data", mode: "latest", history: 1, queue: 1, jitter: 0, ...given};
  parts.delivery(settings).attach(settings, {});
  return played;
}

for (const isThere of [false, true]) {
  test(`messages for a component that ${isThere ? "is there" : "never comes"}`, (context) => {
    context.mock.timers.enable({apis: ["setTimeout"]});
    const calls = heard(context);
    const {changed, effects} = delivered({into: "prcies"});
    if (isThere) {
      changed(true);
    }
    effects.accept({offset: 1, data: 1});
    effects.accept({offset: 2, data: 2});
    context.mock.timers.tick(5000);
    const said = ["dashHub: messages of prices wait for the component prcies, which is not on this page"];
    assert.deepEqual(calls, isThere ? [] : [said]);
  });
}

for (const [what, given, data, said] of [
  ["without the path", {path: ["percnt"]}, {percent: 1}, "a message of prices has nothing at percnt, and is left out"],
  ["of another form", {mode: "extendData"}, 5, "a message of prices has no form that mode extendData takes, and is left out"],
  ["for a property that is not", {takes: false}, 5,
    "the component bar (Div) has no property data; name another one: Live(..., prop=...)"]
]) {
  test(`a message ${what} is told once`, (context) => {
    context.mock.timers.enable({apis: ["setTimeout"]});
    const calls = heard(context), played = delivered({into: "bar", ...given});
    played.found = {node: {type: "Div"}};
    played.changed(true);
    for (const offset of [1, 2]) {
      played.effects.accept({offset, data});
      context.mock.timers.tick(100);
    }
    assert.deepEqual(calls, [[`dashHub: ${said}`]]);
    assert.equal(played.updates.length, given.takes === false ? 2 : 0);
  });
}

test("a component has the properties that it names, and any if it names none", () => {
  delete require.cache[path.join(FOLDER, "target.js")];
  require(path.join(FOLDER, "target.js"));
  global.window.html = {Div: {propTypes: {children: null, "data-*": null}}, New: {}};
  const takes = (type, prop) => parts.target.takes({node: {namespace: "html", type}}, prop);
  assert.deepEqual(["children", "data", "data-x"].map((prop) => takes("Div", prop)), [true, false, true]);
  assert.ok(takes("New", "any") && takes("Missing", "any") && parts.target.takes({node: null}, "any"));
});
