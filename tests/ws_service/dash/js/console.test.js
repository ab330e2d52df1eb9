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

for (const isThere of [false, true]) {
  test(`messages for a component that ${isThere ? "is there" : "never comes"}`, (context) => {
    context.mock.timers.enable({apis: ["setTimeout"]});
    const calls = heard(context);
    let effects = null, changed = null;
    parts.target = {
      domId: String, find: () => null,
      watch: (id, call) => { changed = call; return {check: () => {}, end: () => {}}; }
    };
    parts.Listener = function (name, options, position, given) {
      effects = given;
      this.sequence = {isFilling: false};
    };
    delete require.cache[path.join(FOLDER, "delivery.js")];
    require(path.join(FOLDER, "delivery.js"));
    const settings = {topic: "prices", into: "prcies", prop: "data", mode: "latest", history: 1, queue: 1, jitter: 0};
    parts.delivery(settings).attach(settings, {});
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
