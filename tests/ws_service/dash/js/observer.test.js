"use strict";
/* live.js: what a Live tells, with a connection that the test plays. */
const test = require("node:test");
const assert = require("node:assert/strict");
const path = require("node:path");
const parts = require("./scripts.js");
require(path.join(__dirname, "../../../../ws_service/dash/js/live.js"));

parts.guarded = (what, call) => call();
parts.mark = {want: () => {}};
global.document = {hidden: false};

/* Play the clock of one test; returns a function that lets so many milliseconds pass. */
function clock(context) {
  const real = {set: global.setTimeout, clear: global.clearTimeout};
  let now = 0, last = 0, timers = [];
  global.setTimeout = (call, delay) => timers.push({id: last += 1, at: now + delay, call}) && last;
  global.clearTimeout = (id) => { timers = timers.filter((timer) => timer.id !== id); };
  context.after(() => { global.setTimeout = real.set; global.clearTimeout = real.clear; });
  return (milliseconds) => {
    now += milliseconds;
    const due = timers.filter((timer) => timer.at <= now);
    timers = timers.filter((timer) => timer.at > now);
    due.forEach((timer) => timer.call());
  };
}

/* Mount a Live whose listener the test plays; returns it, what it told, and how to unmount it. */
function mounted(props, topic = {}) {
  const played = {};
  parts.connection = () => ({allow: (name, token) => { played.token = token; }, topic: () => topic});
  parts.Listener = function (name, options, position, effects) {
    played.effects = effects;
    played.options = options;
    this.end = () => { played.isEnded = true; };
  };
  const told = [];
  let unmount = null;
  global.window.React = {useRef: () => ({}), useEffect: (effect) => { unmount = effect(); }};
  parts.Live({topic: "t", mode: "latest", jitter: 0, mark: true, setProps: (changed) => told.push(changed), ...props});
  return {played, told, unmount};
}

test("its token is kept for the whole page", () => {
  const {played, unmount} = mounted({token: "signed"});
  assert.equal(played.token, "signed");
  unmount();
  assert.ok(played.isEnded);
});

test("states are told once each", (context) => {
  const pass = clock(context);
  const {played, told} = mounted({});
  for (const state of ["connecting", "open", "open"]) {
    played.effects.state(state);
    pass(1);
  }
  assert.deepEqual(told, [{state: "connecting"}, {state: "open"}]);
});

test("what waits for its jitter is told with what comes next", (context) => {
  const pass = clock(context);
  const {played, told} = mounted({jitter: 5});
  played.effects.gap();
  pass(0);
  played.effects.state("connecting");
  pass(0);
  assert.deepEqual(told, [{state: "connecting", gaps: 1}]);
});

test("each gap is told, spread over the jitter", (context) => {
  const pass = clock(context);
  const {played, told} = mounted({jitter: 5});
  played.effects.gap();
  pass(5000);
  played.effects.gap();
  pass(5000);
  assert.deepEqual(told, [{state: "gap", gaps: 1}, {state: "gap", gaps: 2}]);
});

test("nothing is told after it is unmounted", (context) => {
  const pass = clock(context);
  const {played, told, unmount} = mounted({});
  played.effects.state("open");
  unmount();
  pass(1000);
  assert.deepEqual(told, []);
});

test("more clients than can be listed are counted", async (context) => {
  const topic = {presenceStats: () => Promise.resolve({numClients: 101, numUsers: 7})};
  const told = await new Promise((resolve) => {
    const {played, unmount} = mounted({presence: true, setProps: resolve}, topic);
    context.after(unmount);
    played.effects.subscribed();
  });
  assert.deepEqual(told, {present: {clients: 101, users: 7, list: null}});
});
