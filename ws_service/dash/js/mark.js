/* The mark that a page shows while it is not connected: small, in a corner, read out by screen readers. */
(function (parts) {
  "use strict";

  /* Milliseconds without a connection until the mark is shown: most reconnects are shorter. */
  var DELAY = 1500;

  var element = null, timer = null, isOn = true, state = "open", wasOpen = false, wanted = 0;

  function text() {
    if (!isOn || wanted < 1 || state === "open") {
      return "";
    }
    return state === "refused" ? "Not connected" : wasOpen ? "Reconnecting\u2026" : "Connecting\u2026";
  }

  function make() {
    element = document.createElement("div");
    element.className = "dash-hub-mark";
    element.setAttribute("role", "status");
    element.setAttribute("aria-live", "polite");
    var style = element.style;
    style.position = "fixed";
    style.bottom = "12px";
    style.left = "12px";
    style.zIndex = "2147483000";
    style.pointerEvents = "none";
    style.padding = "4px 12px";
    style.border = "1px solid GrayText";
    style.borderRadius = "999px";
    style.font = "13px/1.5 system-ui, sans-serif";
    style.colorScheme = "light dark";  // the two colours follow the system's theme
    style.background = "Canvas";
    style.color = "CanvasText";
    style.transition = "opacity 0.3s";
    style.opacity = "0";
    document.body.appendChild(element);
  }

  /* The element is there before its text is: a screen reader announces what changes in it. */
  function show() {
    if (element === null || !element.isConnected) {
      make();
    }
    element.textContent = text();
    element.style.opacity = text() ? "0.9" : "0";
  }

  function update() {
    clearTimeout(timer);
    if (text()) {
      timer = setTimeout(function () { parts.guarded("the mark", show); }, DELAY);
    } else if (element !== null || (document.body && wanted > 0)) {
      show();
    }
  }

  parts.mark = {
    /* The connection's state has changed. */
    turn: function (name) {
      state = name;
      wasOpen = wasOpen || name === "open";
      update();
    },
    /* Components that want the mark: one more, or one less. */
    want: function (count) {
      wanted += count;
      update();
    },
    /* Show it, or never. */
    enable: function (on) {
      isOn = !!on;
      update();
    }
  };
})(window.ws_service = window.ws_service || {});
