/* A WebSocket that comes back by itself. A browser does not do that: the page has to. */
window.stream = (() => {
  "use strict";
  const FIRST = 500, LONGEST = 10000; // ms to wait before another try; doubled by each that fails
  const SILENCE = 5000;               // ms without a message, where 50 should have come: the connection is dead

  let socket = null, wait = FIRST, wanted = null, silence = null;

  function open() {
    const mine = socket = new WebSocket(location.origin.replace("http", "ws") + "/stream"); // https: wss
    silence = setTimeout(() => lost(mine), SILENCE);
    mine.onopen = () => ask(wanted); // the endpoint begins anew, so it has to be told again
    mine.onclose = () => lost(mine);
    mine.onmessage = event => mine === socket && show(JSON.parse(event.data));
  }

  function lost(mine) {
    if (mine !== socket) return;
    socket = null;
    clearTimeout(silence);
    mine.close();
    dash_clientside.set_props("state", {children: "lost; it is opened again"});
    setTimeout(open, wait * (0.5 + Math.random() / 2)); // by chance: not all pages at the same time
    wait = Math.min(2 * wait, LONGEST);
  }

  function show(message) {
    wait = FIRST; // only now: a connection that opens and ends at once is no success
    clearTimeout(silence);
    const mine = socket;
    silence = setTimeout(() => lost(mine), SILENCE);
    dash_clientside.set_props("state", {children: "open"});
    dash_clientside.set_props("level", {value: String(message.sample)});
    dash_clientside.set_props("sent", {children: `${message.frequency} Hz`});
  }

  function ask(what) {
    wanted = what;
    if (socket === null && silence === null) open(); // the first time, when the page is drawn
    else if (socket !== null && socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(wanted));
  }

  return {ask};
})();
