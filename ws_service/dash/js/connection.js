/* The page's one connection to the hub, and its subscriptions: one for each topic, however many listen.

   Nothing that a listener does ends the connection: centrifuge ends it when a handler throws
   (centrifugal/centrifuge-js #394), so each call is guarded. */
(function (parts) {
  "use strict";

  var Centrifuge = window.Centrifuge;

  /* Milliseconds that a subscription outlives its last listener: pages that are exchanged share it. */
  var LINGER = 2000;

  /* Bytes of history after which no more is asked for. */
  var HISTORY = 4 * 1024 * 1024;

  /* Attempts without a connection until the console says where the page has looked. */
  var ATTEMPTS = 3;

  var EXPIRED = {1: true, 109: true, 110: true};

  function guarded(what, call) {
    try {
      return call();
    } catch (error) {
      console.error("dashHub: " + what + ":", error);
      return undefined;
    }
  }

  /* The hub is where the page is: its scheme, its host, and the prefix under which Dash serves it. */
  function address() {
    var prefix = config().requests_pathname_prefix || "/";
    var scheme = window.location.protocol === "https:" ? "wss:" : "ws:";
    return scheme + "//" + window.location.host + prefix + "connection/websocket";
  }

  function config() {
    var element = document.getElementById("_dash-config");
    return guarded("the page's configuration", function () { return JSON.parse(element.textContent); }) || {};
  }

  function Connection(url) {
    this._topics = {};
    this._tokens = {};
    this._watchers = [];
    this.state = "connecting";
    this._failures = 0;
    var client = this.client = new Centrifuge(url, {name: "dash"});
    client.on("connecting", this._turn.bind(this, "connecting"));
    client.on("connected", this._turn.bind(this, "open"));
    client.on("disconnected", this._turn.bind(this, "refused"));
    client.on("error", this._failed.bind(this, url));
    client.connect();
  }

  /* A page that has never had a connection was perhaps opened at the wrong port; one that had one comes back. */
  Connection.prototype._failed = function (url) {
    this._failures += 1;
    if (this._failures === ATTEMPTS) {
      console.info("dashHub: no hub answers at " + url + ". Is this page opened at the gateway's address and not at " +
                   "Dash's own, and does dash-ws-service run? Its log says whether it has a hub");
    }
  };

  Connection.prototype._turn = function (state) {
    this.state = state;
    if (state === "open") {
      this._failures = ATTEMPTS;
    }
    if (state === "refused") {
      Object.keys(this._topics).forEach(function (name) { this._topics[name].turn("refused"); }, this);
    }
    this._watchers.slice().forEach(function (watcher) {
      guarded("a watcher of the connection", function () { watcher(state); });
    });
  };

  Connection.prototype.watch = function (watcher) {
    this._watchers.push(watcher);
    watcher(this.state);
  };

  /* Keep a topic's token, which the server has rendered, for everything on the page that listens to it. */
  Connection.prototype.allow = function (name, token) {
    this._tokens[name] = token;
    if (this._topics[name]) {
      this._topics[name].renew();
    }
  };

  Connection.prototype.token = function (name) {
    return this._tokens[name] || null;
  };

  /* Return the one subscription of a topic; what listens joins it. options.presence: whether the first that asks wants
     to be told which clients join and leave. */
  Connection.prototype.open = function (name, options) {
    var topic = this._topics[name] = this._topics[name] || new Topic(this, name, options);
    return topic;
  };

  Connection.prototype.topic = function (name) {
    return this._topics[name] || null;
  };

  Connection.prototype.forget = function (topic) {
    if (this._topics[topic.name] === topic) {
      delete this._topics[topic.name];
      delete this._tokens[topic.name];
    }
  };

  function Topic(connection, name, options) {
    this.name = name;
    this.state = "connecting";
    this.newest = null;  // the publication, for a listener that needs no more than the newest value
    this._connection = connection;
    this._options = options;
    this._wasOpen = false;
    this._listeners = [];
    this._context = null;
    this._timer = null;
    this._subscription = null;
    this._used = null;
    this._subscribe();
  }

  Topic.prototype._subscribe = function () {
    var self = this, token = this._connection.token(this.name);
    var options = {recoverable: true, positioned: true, joinLeave: !!this._options.presence};
    if (token !== null) {
      options.token = this._used = token;
      options.getToken = function () { return self._fresh(); };
    }
    var client = this._connection.client;
    var subscription = this._subscription = client.newSubscription(this.name, options);
    subscription.on("subscribing", function () { self.turn("connecting"); });
    subscription.on("subscribed", function (context) { self._subscribed(context); });
    subscription.on("unsubscribed", function (context) { self._unsubscribed(subscription, context); });
    subscription.on("publication", function (publication) { self._publication(publication); });
    subscription.on("join", function () { self._tell("joined"); });
    subscription.on("leave", function () { self._tell("joined"); });
    subscription.on("error", function () {});  // each is followed by an attempt, or by "unsubscribed"
    subscription.subscribe();
  };

  /* A topic that keeps no history has lost what was published meanwhile. */
  Topic.prototype._subscribed = function (context) {
    var isBack = this._wasOpen, isPositioned = !!context.streamPosition;
    this._context = context;
    this._wasOpen = true;
    var isLost = isBack && (isPositioned ? context.wasRecovering && !context.recovered : true);
    if (isLost) {
      this.newest = null;
    }
    this.turn(context.wasRecovering && context.recovered && isBack ? "recovered" : "open");
    this._tell("subscribed", {
      position: context.streamPosition || null,
      isContinued: isBack && context.wasRecovering && context.recovered,
      isLost: isLost,
      hasNewest: context.hasRecoveredPublications
    });
    if (isLost) {
      this.state = "gap";  // a listener finds out by itself whether it is one: history may have the rest
    }
  };

  Topic.prototype._unsubscribed = function (subscription, context) {
    if (subscription === this._subscription && this._listeners.length) {
      this._context = null;
      this.turn(EXPIRED[context.code] ? "expired" : "refused");
      console.info("dashHub: the topic " + this.name + " is " + this.state + " (" + context.code + " " +
                   context.reason + ")");
    }
  };

  Topic.prototype._publication = function (publication) {
    this.newest = publication;
    this._tell("publication", publication);
  };

  Topic.prototype._tell = function (event, argument) {
    var name = this.name;
    this._listeners.slice().forEach(function (listener) {
      if (listener[event]) {
        guarded("a listener of " + name, function () { listener[event](argument); });
      }
    });
  };

  Topic.prototype.turn = function (state) {
    this.state = state;
    if (state === "connecting") {
      this._context = null;
    }
    this._tell("state", state);
  };

  /* listener: {subscribed(news), publication(publication), state(name), joined()}; each call is guarded. */
  Topic.prototype.join = function (listener) {
    clearTimeout(this._timer);
    this._timer = null;
    this._listeners.push(listener);
    var self = this;
    guarded("a listener of " + this.name, function () {
      listener.state(self._context !== null ? "open" : self.state);  // it has missed nothing
      if (self._context !== null) {
        listener.subscribed({
          position: self._context.streamPosition || null, isContinued: false, isLost: false,
          hasNewest: self.newest !== null
        });
        if (self.newest !== null && listener.wantsNewest) {
          listener.publication(self.newest);
        }
      }
    });
  };

  Topic.prototype.leave = function (listener) {
    var self = this;
    this._listeners = this._listeners.filter(function (each) { return each !== listener; });
    if (!this._listeners.length && this._timer === null) {
      this._timer = setTimeout(function () { self._end(); }, LINGER);
    }
  };

  Topic.prototype._end = function () {
    this._connection.forget(this);
    this._remove();
  };

  Topic.prototype._remove = function () {
    var subscription = this._subscription, client = this._connection.client;
    this._subscription = null;
    guarded("the end of " + this.name, function () {
      subscription.unsubscribe();
      client.removeSubscription(subscription);
    });
  };

  /* A newer token has been rendered: a topic that was refused, or has expired, is asked for again. */
  Topic.prototype.renew = function () {
    if (this.state === "refused" || this.state === "expired") {
      if (this._connection.state === "refused") {
        this._connection.client.connect();
      }
      this._remove();
      this.turn("connecting");
      this._subscribe();
    }
  };

  /* Return another token than the one that has expired: one that was rendered later, or one of the page's layout, which
     Dash renders anew when it is asked. */
  Topic.prototype._fresh = function () {
    var self = this, known = this._connection.token(this.name);
    if (known !== this._used) {
      this._used = known;
      return Promise.resolve(known);
    }
    return freshLayout().then(function (layout) {
      var token = find(layout, self.name);
      if (token === null || token === self._used) {
        throw new Centrifuge.UnauthorizedError("the token of " + self.name + " has expired");
      }
      self._connection._tokens[self.name] = self._used = token;
      return token;
    });
  };

  var asked = null;

  /* Topics that expire together ask for the layout together. */
  function freshLayout() {
    if (asked === null) {
      asked = fetchLayout();
      var forget = function () { setTimeout(function () { asked = null; }, LINGER); };
      asked.then(forget, forget);
    }
    return asked;
  }

  function fetchLayout() {
    var url = (config().requests_pathname_prefix || "/") + "_dash-layout";
    return window.fetch(url, {credentials: "same-origin"}).then(function (response) {
      if (!response.ok) {
        throw new Error("the layout answered " + response.status);
      }
      return response.json();
    });
  }

  function find(node, name) {
    if (node === null || typeof node !== "object") {
      return null;
    }
    if (node.namespace === "ws_service" && node.type === "Live" && node.props && node.props.topic === name) {
      return node.props.token || null;
    }
    for (var keys = Object.keys(node), i = 0; i < keys.length; i += 1) {
      var found = find(node[keys[i]], name);
      if (found !== null) {
        return found;
      }
    }
    return null;
  }

  /* Ask for history. since: {offset, epoch}, for those after it, as many as the hub gives at once; null: the newest
     ones, limit of them. Resolves to {publications, position}, ascending; rejects with {isFinal}: whether asking again
     could help. */
  Topic.prototype.history = function (since, limit) {
    return since === null ? this._newest(limit) : this._ask("history", {limit: limit, since: since}).then(asHistory);
  };

  function asHistory(result) {
    return {publications: result.publications, position: {offset: result.offset, epoch: result.epoch}};
  }

  /* The hub gives a part at once, so the newest ones are asked for part by part, backwards. */
  Topic.prototype._newest = function (limit) {
    var self = this, position = null, parted = [], count = 0, size = 0;
    function more(since) {
      var options = {limit: limit - count, reverse: true};
      if (since !== null) {
        options.since = since;
      }
      return self._ask("history", options).then(function (result) {
        var part = result.publications.slice().reverse();
        position = position || {offset: result.offset, epoch: result.epoch};
        if (part.length && result.epoch === position.epoch) {
          parted.unshift(part);
          count += part.length;
          size += parts.sizeOf(part);
          if (count < limit && size < HISTORY && part[0].offset > 1) {
            return more({offset: part[0].offset, epoch: position.epoch});
          }
        }
        return {publications: Array.prototype.concat.apply([], parted), position: position};
      });
    }
    return more(null);
  };

  Topic.prototype.presenceStats = function () { return this._ask("presenceStats"); };

  Topic.prototype.presence = function () { return this._ask("presence"); };

  Topic.prototype._ask = function (what, argument) {
    if (this._context === null || this._subscription === null) {
      return Promise.reject({isFinal: false});
    }
    return this._subscription[what](argument).catch(function (error) {
      return Promise.reject({isFinal: !(error && (error.code < 100 || error.temporary)), error: error});
    });
  };

  var connection = null;

  /* Return the page's connection; the first call opens it. */
  parts.connection = function () {
    if (connection === null) {
      connection = new Connection(address());
      connection.watch(parts.mark.turn);
    }
    return connection;
  };

  /* Tell whether it was ever asked for. */
  parts.isConnected = function () { return connection !== null; };
  parts.guarded = guarded;
})(window.ws_service = window.ws_service || {});
