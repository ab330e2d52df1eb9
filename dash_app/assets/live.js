/* The browser's part of the demo: keeps one WebSocket open and passes its
 * messages to Dash, through two stores: "samples" (drawn) and "link" (shown). */
(function () {
  "use strict";

  const WINDOW = 600;        // points per trace: 60 s at 10 Hz
  const PING_EVERY = 1000;   // ms
  const SILENCE = 5000;      // ms without a message, where 50 should have come: the connection is dead
  const FIRST_WAIT = 500;    // ms; doubled by each failed try ...
  const LONGEST_WAIT = 5000;  // ... up to here
  const RESTART = 1012;      // IANA's registry of close codes: "service restart"; reconnect soon

  const link = { state: "connecting", detail: "", roundTrip: null, rate: null, pid: null };
  let socket = null;
  let tries = 0;
  let reason = "no answer";  // why the last live connection ended; none yet
  let timer = null;
  let waiting = [];          // samples not drawn yet, never more than WINDOW
  let frame = null;          // the next drawing, or null when nothing waits for one
  let started = false;       // has anything been drawn?
  let last = null;           // the last sample drawn or waiting
  let heard = 0;             // when the last message came
  let arrivals = [];         // when the samples of the last 2 s came

  /** Where the socket is: the page's own host and scheme, under the app's own prefix. */
  function address() {
    const config = JSON.parse(document.getElementById("_dash-config").textContent);
    const url = new URL(config.requests_pathname_prefix + "live", location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    return url.href;
  }

  function tell(change) {
    Object.assign(link, change);
    dash_clientside.set_props("link", { data: Object.assign({}, link) });
  }

  function open() {
    clearTimeout(timer);
    timer = null;
    heard = Date.now();
    const mine = (socket = new WebSocket(address()));
    mine.onmessage = (event) => mine === socket && hear(JSON.parse(event.data));
    mine.onclose = (event) => mine === socket && lost(event.code);
  }

  function hear(message) {
    heard = Date.now();
    if ("hello" in message) {
      tell({ pid: message.hello.pid });
      ping();
    } else if ("pong" in message) {
      tell({ roundTrip: performance.now() - message.pong, rate: rate() });
    } else {
      if (link.state !== "live") {
        tries = 0; // only now: a socket that opens and dies at once is not a success
        tell({ state: "live", detail: "" });
      }
      arrivals.push(heard);
      keep(message);
    }
  }

  /** The connection has ended: show why, and reconnect after a wait that grows, with jitter. */
  function lost(code) {
    socket = null;
    const limit = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** tries);
    const wait = code === RESTART ? FIRST_WAIT * Math.random() : limit * (0.5 + Math.random() / 2);
    tries += 1;
    arrivals = [];
    if (last) keep({ t: last.t + 1, gap: true }); // so that the line breaks instead of inventing values
    if (link.state === "live") reason = code === RESTART ? "the service restarts" : "connection lost";
    tell({ state: "reconnecting", detail: `${reason}, try ${tries}`, roundTrip: null, rate: null });
    timer = setTimeout(open, wait);
  }

  /** Drop a connection that the browser still shows as open; its own close may take a minute. */
  function abandon() {
    const dead = socket;
    lost(1006);
    dead.close();
  }

  function ping() {
    if (!socket || socket.readyState !== WebSocket.OPEN) return;
    socket.send(JSON.stringify({ ping: performance.now() }));
  }

  function beat() {
    // A hidden tab's timers may sleep for a minute and run before its messages arrive: check visible tabs only.
    if (socket && !document.hidden && Date.now() - heard > SILENCE) abandon();
    else ping();
  }

  /** The tab is visible again, or the network is back: reconnect at once. */
  function hurry() {
    heard = Date.now();
    if (timer !== null && !document.hidden) open();
  }

  function rate() {
    const now = Date.now();
    arrivals = arrivals.filter((at) => now - at <= 2000);
    return arrivals.length > 2 ? ((arrivals.length - 1) * 1000) / (arrivals[arrivals.length - 1] - arrivals[0]) : null;
  }

  function keep(sample) {
    last = sample;
    waiting.push(sample);
    if (waiting.length > WINDOW) waiting.shift(); // a hidden tab draws nothing for hours
    if (frame === null) frame = requestAnimationFrame(flush);
  }

  /** Draw all waiting samples at once; then pause twice as long as drawing took, so that clicks are handled. */
  function flush() {
    const plot = document.querySelector("#pulse .js-plotly-plot");
    if (!plot || !plot._fullLayout) {
      frame = requestAnimationFrame(flush); // plotly.js is still loading
      return;
    }
    if (!started) waiting = emptyWindow(waiting[0].t).concat(waiting);
    started = true;
    dash_clientside.set_props("samples", { data: waiting });
    waiting = [];
    const began = performance.now();
    requestAnimationFrame(() => setTimeout(() => {
      const cost = performance.now() - began;
      setTimeout(() => {
        frame = waiting.length ? requestAnimationFrame(flush) : null;
      }, 2 * cost);
    }));
  }

  /** Points without a value, so that the axis is 60 s wide from the first sample on. */
  function emptyWindow(end) {
    return Array.from({ length: WINDOW }, (_, i) => ({ t: end - (WINDOW - i) * 100, gap: true }));
  }

  function bytes(count) {
    const steps = ["B", "kB", "MB", "GB"];
    let step = 0;
    while (count >= 1000 && step < steps.length - 1) [count, step] = [count / 1000, step + 1];
    return count.toFixed(count < 10 && step ? 1 : 0) + "\u00a0" + steps[step] + "/s"; // a space that does not break
  }

  function core(load) {
    const style = { height: Math.max(3, load) + "%" };
    const bar = { type: "Div", namespace: "dash_html_components", props: { style, className: "bar" } };
    return { type: "Div", namespace: "dash_html_components", props: { children: [bar], className: "core" } };
  }

  window.dash_clientside = window.dash_clientside || {};
  window.dash_clientside.live = {
    /** Open the socket, once. */
    start() {
      if (!socket && timer === null) {
        setTimeout(open, 0); // after this callback has returned: open() sets props itself
        setInterval(beat, PING_EVERY);
        document.addEventListener("visibilitychange", hurry);
        window.addEventListener("online", hurry);
        window.addEventListener("pageshow", hurry);
      }
      return Object.assign({}, link);
    },

    /** Turn samples into the figure's new points and the tiles' numbers. */
    draw(samples) {
      const skip = window.dash_clientside.no_update;
      // Plotly shows a date as it is written; shift it so that the axis shows local time.
      const shift = new Date().getTimezoneOffset() * 60000;
      const x = samples.map((s) => s.t - shift);
      const y = ["cpu", "memory", "down", "up", "read", "write"].map((key) =>
        samples.map((s) => (s.gap ? null : s[key])));
      const points = [{ x: y.map(() => x), y }, y.map((_, i) => i), WINDOW];
      const s = samples[samples.length - 1];
      if (s.gap) return [points, skip, skip, skip, skip, skip];
      return [
        points,
        s.cpu.toFixed(0),
        s.memory.toFixed(0),
        `↓\u00a0${bytes(s.down)}\u2003\n↑\u00a0${bytes(s.up)}`,
        `↓\u00a0${bytes(s.read)}\u2003\n↑\u00a0${bytes(s.write)}`,
        s.cores.map(core),
      ];
    },

    /** Describe the connection's state. */
    tell(now, http) {
      const ws = now && now.pid ? `process ${now.pid}` : "waiting";
      const state = now ? now.state : "connecting";
      const verdict = ws === "waiting" || !http || http === "waiting" ? ""
        : ws === http ? "One process does both. Behind dash-ws-proxy there are two."
        : "Two processes on one port. When one is restarted, the other does not notice.";
      return [
        now && now.detail ? `${state}: ${now.detail}` : state,
        "state " + state,
        now && now.roundTrip !== null ? now.roundTrip.toFixed(1) + " ms" : "…",
        now && now.rate ? now.rate.toFixed(1) + " Hz" : "…",
        ws,
        verdict,
      ];
    },
  };
})();
