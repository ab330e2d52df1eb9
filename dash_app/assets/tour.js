/* The browser's part of the tour: the figures of the head, who is here, and what the recovery page counts. */
(function () {
  "use strict";

  const EVENTS = 6; // lines of the list of what has happened

  /* The page's sockets, so that "Cut my sockets" can close them as a network would: without asking the page. */
  const sockets = new Set();
  window.WebSocket = class extends WebSocket {
    constructor(...args) {
      super(...args);
      sockets.add(this);
      this.addEventListener("close", (event) => {
        sockets.delete(this);
        note(`${name(this)} closed, code ${event.code}`);
      });
      this.addEventListener("open", () => {
        if (known.has(this.url)) note(`${name(this)} opened`); // the first opening is no event
        known.add(this.url);
      });
    }
  };
  const known = new Set(); // addresses that were open once

  function name(socket) {
    return new URL(socket.url).pathname;
  }

  function show(id, value) {
    if (document.getElementById(id)) dash_clientside.set_props(id, { children: value });
  }

  function element(type, children, props) {
    return { type, namespace: "dash_html_components", props: Object.assign({ children }, props) };
  }

  // -- the head

  const delays = []; // milliseconds from publish to this page, of the last messages
  const pids = {};
  let isFirst = true;
  let before = {}; // publications by topic
  let sent = null; // when the figures before were published

  /** A figure of the feed: its delay is measured here, before Dash draws it. Both clocks are this machine's. */
  function figures(data) {
    const delay = performance.timeOrigin + performance.now() - data.sent;
    if (isFirst) return (isFirst = false); // the newest one of before
    delays.push(delay);
    if (delays.length > 9) delays.shift();
    const median = [...delays].sort((a, b) => a - b)[delays.length >> 1];
    show("latency", median >= 0 && median < 1000 ? `${median.toFixed(1)} ms` : "–");
    const made = data.topics.map((row) => row.subscribers * Math.max(0, row.publications - (before[row.topic] ?? row.publications)));
    before = Object.fromEntries(data.topics.map((row) => [row.topic, row.publications]));
    if (sent) show("deliveries", `${Math.round((made.reduce((a, b) => a + b, 0) * 1000) / (data.sent - sent))}/s`);
    sent = data.sent;
    show("sockets", `${data.sockets}`);
    process("The gateway", data.pids.gateway);
    process("The service", data.pids.service);
  }

  function process(program, processes) {
    const pid = String(processes);
    if (!pid) return; // it is on its way
    if (pids[program] !== undefined && pids[program] !== pid) note(`${program} is process ${pid} now`);
    pids[program] = pid;
  }

  // -- recovery

  const count = { got: 0, missing: 0, twice: 0, last: null, at: null, pause: 0 };
  let events = [];

  function tick(data) {
    const now = performance.now();
    if (count.last !== null && data.n <= count.last) count.twice += 1;
    else if (count.last !== null) count.missing += data.n - count.last - 1;
    if (count.at !== null) count.pause = Math.max(count.pause, now - count.at);
    Object.assign(count, { got: count.got + 1, last: data.n, at: now });
    show("got", `${count.got}`);
    show("missing", `${count.missing}`);
    show("twice", `${count.twice}`);
    show("pause", `${(count.pause / 1000).toFixed(1)} s`);
  }

  function note(text) {
    const time = new Date().toLocaleTimeString([], { hour12: false });
    events = [{ time, text }, ...events].slice(0, EVENTS);
    draw();
  }

  function draw() {
    const lines = events.map((e) => element("Li", [element("Time", e.time), " " + e.text]));
    show("events", lines.length ? lines : element("Li", "Nothing has happened yet."));
  }

  const once = {};

  /** Listen to a topic, once for the life of the page: a navigation does not end it. */
  function listen(topic, fn, options) {
    if (!once[topic]) once[topic] = dashHub.on(topic, fn, options);
  }

  window.dash_clientside = window.dash_clientside || {};
  const nothing = () => window.dash_clientside.no_update;
  window.dash_clientside.tour = {
    start() {
      listen("figures", figures);
      listen("ticks:dash", (data) => note(`Dash is process ${data.pid} now`));
      return nothing();
    },

    /** Say which link is the page that is shown. */
    visit(path) {
      for (const link of document.querySelectorAll("header nav a")) {
        if (new URL(link.href).pathname === path) link.setAttribute("aria-current", "page");
        else link.removeAttribute("aria-current");
      }
      return nothing();
    },

    here(present) {
      return present ? String(present.clients) : "…";
    },

    present(present) {
      if (!present) return [nothing(), nothing()];
      const rows = (present.list || []).map((one) =>
        element("Li", [element("I", "", { style: { background: color(one.client) } }), one.client.slice(0, 8)]));
      return [`${present.clients} open ${present.clients === 1 ? "page" : "pages"}`, rows];
    },

    follow() {
      listen("ticks:clock", tick, { gap: () => note("some messages may be lost, and the page is told") });
      setTimeout(draw, 0);
      return nothing();
    },

    cut(clicks) {
      if (clicks) sockets.forEach((socket) => socket.close(4000, "cut by the page"));
      return nothing();
    },
  };

  function color(text) {
    let hash = 0;
    for (const character of text) hash = (hash * 31 + character.charCodeAt(0)) % 360;
    return `hsl(${hash} 60% 50%)`;
  }
})();
