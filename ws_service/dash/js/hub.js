/* window.dashHub: topics for JavaScript of one's own (docs/hub.md, "In the page"). */
(function (parts) {
  "use strict";

  var listening = [];

  /* Call fn(data, info) for each publication of a topic, in order. options.history: how many older ones come first
     (none). A topic needs a Live on the page, a namespace that lets anyone subscribe, or options.token.
     Returns a function that ends it. */
  function on(name, fn, options) {
    var given = options || {};
    if (typeof fn !== "function") {
      throw new TypeError("dashHub.on(topic, fn): fn is not a function");
    }
    if (given.token) {
      parts.connection().allow(name, given.token);
    }
    function nothing() {}
    var entry = {name: name, fn: fn};
    entry.listener = new parts.Listener(name, {
      every: true, history: given.history || 0, most: given.queue || 10000
    }, null, {
      accept: function (publication) {
        parts.guarded("a function of dashHub.on(\"" + name + "\")", function () {
          fn(publication.data, {
            topic: name, offset: publication.offset || 0, info: publication.info || null, tags: publication.tags || {}
          });
        });
      },
      gap: given.gap ? function () {
        parts.guarded("options.gap of dashHub.on(\"" + name + "\")", function () { given.gap(name); });
      } : nothing,
      live: nothing, state: nothing, subscribed: nothing, joined: nothing
    });
    listening.push(entry);
    return function () { end(entry); };
  }

  function end(entry) {
    if (listening.indexOf(entry) >= 0) {
      listening = listening.filter(function (each) { return each !== entry; });
      entry.listener.end();
    }
  }

  /* End what on() began: of a function, or of all functions of a topic. */
  function off(name, fn) {
    listening.filter(function (entry) {
      return entry.name === name && (fn === undefined || entry.fn === fn);
    }).forEach(end);
  }

  window.dashHub = {
    on: on,
    off: off,
    /* Publish, where the topic's namespace lets clients do so. Returns a promise. */
    publish: function (name, data) { return parts.connection().client.publish(name, data); },
    /* Return the state of the connection, or of a topic; null: there is none, or the page does not listen to it. */
    state: function (name) {
      if (!parts.isConnected()) {
        return null;
      }
      var connection = parts.connection(), topic = name === undefined ? connection : connection.topic(name);
      return topic === null ? null : topic.state;
    },
    /* Show the mark of a page that is not connected, or never. */
    mark: function (on) { parts.mark.enable(on); }
  };
})(window.ws_service = window.ws_service || {});
