/* The browser's part of the telemetry page: keeps one WebSocket to an endpoint of one's own open, and passes its messages
 * to Dash through two stores: "samples" (drawn) and "link" (shown). */
(function () {
  "use strict";

  const WINDOW = 600;        // points per trace: 60 s at 10 Hz
  const SUMMARY = 5000;      // ms between two texts of what the chart shows
  const SILENCE = 5000;      // ms without a message, where 50 should have come: the connection is dead
  const FIRST_WAIT = 500;    // ms; doubled by each failed try ...
  const LONGEST_WAIT = 5000;  // ... up to here
  const RESTART = 1012;      // IANA's registry of close codes: "service restart"; reconnect soon

  const link = { state: "connecting", detail: "", roundTrip: null, rate: null };
  let socket = null;
  let tries = 0;
  let reason = "no answer";  // why the last live connection ended; none yet
  let timer = null;
  let waiting = [];          // samples not drawn yet, never more than WINDOW
  let frame = null;          // the next drawing, or null when nothing waits for one
  let last = null;           // the last sample drawn or waiting
  let heard = 0;             // when the last message came
  let since = 0;             // when the first sample of this connection came
  let arrivals = [];         // when the samples of the last 2 s came
  let shown = [];            // the samples that the chart shows, for its text
  let summarized = 0;        // when that text was made
  let drawn = null;          // the chart that has been drawn into: another one is empty

  /** Where the socket is: the page's own host and scheme, under the app's own prefix. */
  function address() {
    const config = JSON.parse(document.getElementById("_dash-config").textContent);
    const url = new URL(config.requests_pathname_prefix + "live", location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    return url.href;
  }

  function tell(change) {
    Object.assign(link, change);
    if (document.getElementById("pulse")) dash_clientside.set_props("link", { data: Object.assign({}, link) });
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
    if ("ping" in message) {
      link.roundTrip = performance.now() - message.ping;
      return;
    }
    if (link.state !== "live") {
      tries = 0; // only now: a socket that opens and dies at once is not a success
      since = heard;
      tell({ state: "live", detail: "" });
    }
    arrivals.push(heard);
    keep(Object.assign(message, { roundTrip: link.roundTrip }));
    socket.send(JSON.stringify({ ping: performance.now() }));
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

  /** Once a second: show the figures, and drop a connection that the browser still shows as open; its own close may
   *  take a minute. A hidden tab's timers may sleep as long and run before its messages arrive: visible tabs only. */
  function beat() {
    if (socket && !document.hidden && Date.now() - heard > SILENCE) {
      const dead = socket;
      lost(1006);
      dead.close();
    } else {
      tell({ rate: rate() });
    }
  }

  /** The tab is visible again, or the network is back: reconnect at once. */
  function hurry() {
    heard = Date.now();
    if (timer !== null && !document.hidden) open();
  }

  function rate() {
    const now = Date.now();
    arrivals = arrivals.filter((at) => now - at < 2000);
    return now - since < 2000 ? null : arrivals.length / 2;
  }

  function keep(sample) {
    last = sample;
    waiting.push(sample);
    if (waiting.length > WINDOW) waiting.shift(); // a hidden tab draws nothing for hours
    if (frame === null) frame = requestAnimationFrame(flush);
  }

  /** Draw all waiting samples at once; then pause twice as long as drawing took, so that clicks are handled. */
  function flush() {
    frame = null;
    const plot = document.querySelector("#pulse .js-plotly-plot");
    if (!plot || !plot._fullLayout) {
      if (document.getElementById("pulse")) frame = requestAnimationFrame(flush); // plotly.js is still loading
      return; // on another page the samples wait, and the next one asks again
    }
    if (plot !== drawn) waiting = shown.concat(waiting).slice(-WINDOW); // the page was left, and is back
    drawn = plot;
    shown = shown.concat(waiting).slice(-WINDOW);
    dash_clientside.set_props("samples", { data: waiting });
    waiting = [];
    const began = performance.now();
    frame = requestAnimationFrame(() => setTimeout(() => {
      const cost = performance.now() - began;
      setTimeout(() => {
        frame = waiting.length ? requestAnimationFrame(flush) : null;
      }, 2 * cost);
    }));
  }

  /** What the chart shows, as text. */
  function summary() {
    const parts = [["CPU", "cpu", " %"], ["memory", "memory", " %"], ["round trip", "roundTrip", " ms"]].map(([name, key, unit]) => {
      const values = shown.map((s) => s[key]).filter((value) => typeof value === "number");
      const digits = unit === " ms" ? 1 : 0;
      return values.length
        ? `${name} ${Math.min(...values).toFixed(digits)} to ${Math.max(...values).toFixed(digits)}${unit}`
        : `${name} not known yet`;
    });
    const seconds = shown.length ? Math.max(1, Math.round((last.t - shown[0].t) / 1000)) : 0;
    return `The last ${seconds} s: ${parts.join(", ")}.`;
  }

  window.dash_clientside = window.dash_clientside || {};
  window.dash_clientside.live = {
    /** Open the socket, once. */
    start() {
      if (!socket && timer === null) {
        setTimeout(open, 0); // after this callback has returned: open() sets props itself
        setInterval(beat, 1000);
        document.addEventListener("visibilitychange", hurry);
        window.addEventListener("online", hurry);
        window.addEventListener("pageshow", hurry);
      }
      return Object.assign({}, link);
    },

    /** Turn samples into the figure's new points, the numbers and the text. */
    draw(samples) {
      const skip = window.dash_clientside.no_update;
      // Plotly shows a date as it is written; shift it so that the axis shows local time.
      const shift = new Date().getTimezoneOffset() * 60000;
      const x = samples.map((s) => s.t - shift);
      const y = ["cpu", "memory", "roundTrip"].map((key) => samples.map((s) => (s.gap ? null : s[key])));
      const points = [{ x: y.map(() => x), y }, y.map((_, i) => i), WINDOW];
      const s = samples[samples.length - 1];
      const isDue = Date.now() - summarized > SUMMARY;
      if (isDue) summarized = Date.now();
      const text = isDue ? summary() : skip;
      return s.gap ? [points, skip, skip, text] : [points, `${s.cpu.toFixed(0)} %`, `${s.memory.toFixed(0)} %`, text];
    },

    /** Describe the connection's state. */
    tell(now) {
      const state = now ? now.state : "connecting";
      return [
        "state " + state,
        now && now.detail ? `${state}: ${now.detail}` : state,
        now && now.roundTrip !== null ? now.roundTrip.toFixed(1) + " ms" : "…",
        now && now.rate ? now.rate.toFixed(1) + " Hz" : "…",
      ];
    },
  };
})();
