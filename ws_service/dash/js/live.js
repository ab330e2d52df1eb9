/* The component: Live(topic, into, ...). It draws nothing; while it is mounted, its topic goes into its target. */
(function (parts) {
  "use strict";

  /* Seconds between two looks at who is there, where no client that joins or leaves is told of. */
  var LOOK = 30;

  /* Clients that are listed; of more, only the number is told. */
  var LISTED = 100;

  function Observer(settings, set) {
    this._settings = settings;
    this._set = set;
    this._gaps = 0;
    this._state = null;
    this._looking = null;
    this._waiting = {};
    this._timer = null;
    this._isEnded = false;
  }

  /* What makes callbacks run is spread over the jitter, so that all pages do not ask at once. What is told later takes
     along what still waits. */
  Observer.prototype._tell = function (props, isSpread) {
    var self = this, delay = isSpread ? Math.random() * 1000 * this._settings.jitter : 0;
    clearTimeout(this._timer);
    Object.keys(props).forEach(function (key) { self._waiting[key] = props[key]; });
    this._timer = setTimeout(function () {
      var waiting = self._waiting;
      self._waiting = {};
      parts.guarded("the state of " + self._settings.topic, function () { self._set(waiting); });
    }, delay);
  };

  Observer.prototype.state = function (state) {
    if (state === this._state) {
      return;
    }
    this._state = state;
    this._tell({state: state}, state === "gap" || state === "recovered");
  };

  Observer.prototype.gap = function () {
    this._gaps += 1;
    this._state = "gap";
    this._tell({state: "gap", gaps: this._gaps}, true);
  };

  Observer.prototype.subscribed = function () {
    this._look(0);
  };

  Observer.prototype.joined = function () {
    this._look(Math.random() * 1000);
  };

  Observer.prototype._look = function (delay) {
    var self = this;
    if (!this._settings.presence || this._isEnded) {
      return;
    }
    clearTimeout(this._looking);
    this._looking = setTimeout(function () {
      self._look(LOOK * 1000);
      parts.guarded("presence of " + self._settings.topic, function () { self._present(); });
    }, delay);
  };

  Observer.prototype._present = function () {
    var self = this, topic = parts.connection().topic(this._settings.topic);
    if (topic === null || document.hidden) {
      return;
    }
    topic.presenceStats().then(function (stats) {
      var told = {clients: stats.numClients, users: stats.numUsers, list: null};
      return stats.numClients > LISTED ? told : topic.presence().then(function (result) {
        told.list = Object.keys(result.clients).sort().map(function (id) {
          var client = result.clients[id];
          return {client: id, user: client.user, info: client.chanInfo || client.connInfo || null};
        });
        return told;
      });
    }).then(function (told) {
      if (!self._isEnded) {
        self._tell({present: told}, false);
      }
    }, function () {});  // it is asked for again
  };

  Observer.prototype.end = function () {
    this._isEnded = true;
    clearTimeout(this._looking);
    clearTimeout(this._timer);
  };

  /* Begin what a Live asks for; returns a function that ends it. */
  function start(settings, set) {
    var connection = parts.connection(), observer = new Observer(settings, set), end;
    if (settings.token) {
      connection.allow(settings.topic, settings.token);
    }
    if (settings.into) {
      var delivery = parts.delivery(settings);
      delivery.attach(settings, observer);
      end = function () { delivery.detach(observer); };
    } else {
      var options = {every: false, history: 0, most: 1, presence: settings.presence};
      var listener = new parts.Listener(settings.topic, options, null, {
        accept: function () {},
        live: function () {},
        gap: observer.gap.bind(observer),
        state: observer.state.bind(observer),
        subscribed: observer.subscribed.bind(observer),
        joined: observer.joined.bind(observer)
      });
      end = function () { listener.end(); };
    }
    parts.mark.want(settings.mark ? 1 : 0);
    return function () {
      parts.mark.want(settings.mark ? -1 : 0);
      observer.end();
      end();
    };
  }

  /* Everything of a Live but what it tells. */
  function asked(props) {
    var settings = {};
    Object.keys(props).forEach(function (key) {
      if (["id", "state", "gaps", "present", "setProps", "loading_state"].indexOf(key) < 0 &&
          typeof props[key] !== "function") {
        settings[key] = props[key];
      }
    });
    return settings;
  }

  function Live(props) {
    var React = window.React, set = React.useRef(null), settings = asked(props);
    set.current = props.setProps;
    React.useEffect(function () {
      return parts.guarded("Live " + settings.topic, function () {
        return start(settings, function (changed) {
          if (set.current) {
            set.current(changed);
          }
        });
      });
    }, [JSON.stringify(settings)]);
    return null;
  }

  parts.Live = Live;
})(window.ws_service = window.ws_service || {});
