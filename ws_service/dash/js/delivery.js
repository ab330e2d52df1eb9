/* Deliveries: publications of one topic, in order, to one property of one component.

   A delivery to a component outlives the Live that began it: it knows what the component shows already, so that a
   navigation and its way back show nothing twice. */
(function (parts) {
  "use strict";

  /* Milliseconds. React puts what changes in one turn together, so one flush in each frame is enough. Not an animation
     frame: a hidden tab has none. */
  var FLUSH = 16;

  /* Milliseconds until a component that cannot take an update is looked at again. */
  var RETRY = 100;

  /* Milliseconds that messages wait for a component that never was there until the console says so: its id may be
     mistyped. */
  var NOTICE = 5000;

  /* Bytes that wait for one component. */
  var BYTES = 8 * 1024 * 1024;

  /* By component and property. One whose Live is gone is kept while its component is there and nothing else feeds it. */
  var deliveries = [];

  /* settings: the properties of a Live, complete. */
  function Delivery(settings) {
    this.key = keyOf(settings);
    this.place = placeOf(settings);
    this._settings = settings;
    this._queue = new parts.Queue(isLatest(settings) ? 1 : settings.queue, BYTES);
    this._timer = null;
    this._observer = null;
    this._listener = null;
    this._position = null;  // what the component shows already
    this._isMounted = false;
    this._wasMounted = false;
    this._missing = null;
    this._noted = {};
    this._rule = parts.merge.rules[settings.mode];
    this._watch = parts.target.watch(settings.into, this._mounted.bind(this));
  }

  function isLatest(settings) {
    return settings.mode === "latest";
  }

  function placeOf(settings) {
    return parts.target.domId(settings.into) + "\n" + settings.prop;
  }

  function keyOf(settings) {
    return [placeOf(settings), settings.topic, settings.mode, JSON.stringify(settings.path || [])].join("\n");
  }

  /* observer: {state(name), gap(), subscribed(), joined()}: the Live. */
  Delivery.prototype.attach = function (settings, observer) {
    this._settings = settings;
    this._observer = observer;
    if (this._listener === null) {
      var options = {
        every: !isLatest(settings), history: settings.history, most: settings.queue, presence: settings.presence
      };
      this._listener = new parts.Listener(settings.topic, options, this._position, {
        accept: this._accept.bind(this),
        live: this._schedule.bind(this, FLUSH),
        gap: this._tell.bind(this, "gap"),
        state: this._tell.bind(this, "state"),
        subscribed: this._tell.bind(this, "subscribed"),
        joined: this._tell.bind(this, "joined")
      });
    }
  };

  Delivery.prototype.detach = function (observer) {
    if (this._observer !== observer) {
      return;
    }
    this._observer = null;
    this._position = this._listener.sequence.position();
    this._listener.end();
    this._listener = null;
    if (!this._isMounted) {
      this.end();
    }
  };

  Delivery.prototype.isAttached = function () {
    return this._listener !== null;
  };

  Delivery.prototype._tell = function (event, argument) {
    if (this._observer !== null) {
      this._observer[event](argument);
    }
  };

  Delivery.prototype.end = function () {
    var self = this;
    clearTimeout(this._timer);
    clearTimeout(this._missing);
    this._watch.end();
    deliveries = deliveries.filter(function (each) { return each !== self; });
  };

  /* The component is there (again), or is not. Another instance of it shows nothing yet. */
  Delivery.prototype._mounted = function (isMounted) {
    this._isMounted = isMounted;
    if (!isMounted) {
      if (this._listener === null) {
        this.end();
      }
      return;
    }
    if (this._wasMounted) {
      this._position = null;
      if (this._listener !== null && this._settings.history > 0) {
        this._listener.sequence.restart();
      }
    }
    this._wasMounted = true;
    this._schedule(FLUSH);
  };

  Delivery.prototype._accept = function (publication) {
    var path = this._settings.path || [], data = publication.data;
    if (!(this._settings.mode === "append" && parts.merge.isReset(data))) {
      data = parts.merge.at(data, path);
    }
    if (data === undefined) {
      this._note("path", "a message of " + this._settings.topic + " has nothing at " + path.join(".") +
                 ", and is left out");
      return;
    }
    var dropped = this._put({offset: publication.offset || 0, data: data});
    if (!this._wasMounted && this._missing === null) {
      this._missing = setTimeout(this._tellMissing.bind(this), NOTICE);
    }
    if (dropped && !isLatest(this._settings)) {
      this._tell("gap");
    }
    this._schedule(FLUSH + Math.random() * 1000 * this._settings.jitter);
  };

  Delivery.prototype._tellMissing = function () {
    if (!this._wasMounted) {
      this._note("component", "messages of " + this._settings.topic + " wait for the component " +
                 parts.target.domId(this._settings.into) + ", which is not on this page");
    }
  };

  /* Say once what may be a mistake of the layout, and may be meant: a note of the console, and no error. */
  Delivery.prototype._note = function (kind, text) {
    if (!this._noted[kind]) {
      this._noted[kind] = true;
      console.info("dashHub: " + text);
    }
  };

  /* What waited while the component was not there is already queued when its history comes: each is queued once, in the
     order of the offsets. */
  Delivery.prototype._put = function (item) {
    var items = this._queue.items, last = items.length ? items[items.length - 1].offset : 0;
    if (!item.offset || item.offset > last) {
      return this._queue.push(item);
    }
    if (items.some(function (each) { return each.offset === item.offset; })) {
      return 0;
    }
    var all = this._queue.shift(items.length).concat([item]);
    all.sort(function (a, b) { return a.offset && b.offset ? a.offset - b.offset : 0; });
    return all.reduce(function (dropped, each) { return dropped + this._queue.push(each); }.bind(this), 0);
  };

  /* While older ones are asked for, what is newer waits. */
  Delivery.prototype._schedule = function (delay) {
    var isFilling = this._listener !== null && this._listener.sequence.isFilling;
    if (this._timer === null && this._queue.length && this._isMounted && !isFilling) {
      this._timer = setTimeout(this._flush.bind(this), delay);
    }
  };

  Delivery.prototype._flush = function () {
    var self = this;
    this._timer = null;
    parts.guarded("an update from " + this._settings.topic, function () { self._update(); });
  };

  Delivery.prototype._update = function () {
    this._watch.check();
    var settings = this._settings, found = parts.target.find(settings.into);
    if (found === null || (this._listener !== null && this._listener.sequence.isFilling)) {
      return;  // the watch says when it is there, and the sequence when it is whole
    }
    if (!parts.target.isReady(found, settings.into, settings.prop)) {
      this._schedule(RETRY);
      return;
    }
    var value = this._merged(parts.target.current(found, settings.prop));
    this._schedule(FLUSH);
    if (value === undefined) {
      this._note("form", "a message of " + settings.topic + " has no form that mode " + settings.mode +
                 " takes, and is left out");
      return;
    }
    if (!parts.target.takes(found, settings.prop)) {
      this._note("prop", "the component " + parts.target.domId(settings.into) + " (" + found.node.type +
                 ") has no property " + settings.prop + "; name another one: Live(..., prop=...)");
    }
    parts.target.set(settings.into, settings.prop, value);
  };

  /* Take as many messages as one update can hold. Those that cannot be merged are lost, and the others go on. */
  Delivery.prototype._merged = function (current) {
    var messages = this._queue.items.map(function (item) { return item.data; }), merged = null;
    try {
      merged = this._rule(messages, this._settings, current);
    } finally {
      this._queue.shift(merged === null ? messages.length : merged.used);
      if (merged === null) {
        this._tell("gap");
      }
    }
    return merged.value;
  };

  /* Return the delivery of a Live: the one that its component had before, or a new one. */
  function delivery(settings) {
    var key = keyOf(settings), place = placeOf(settings), found = null;
    deliveries.slice().forEach(function (each) {
      if (each.key === key) {
        found = each;
      } else if (each.place === place && !each.isAttached()) {
        each.end();
      }
    });
    if (found === null) {
      deliveries.push(found = new Delivery(settings));
    }
    return found;
  }

  parts.delivery = delivery;
})(window.ws_service = window.ws_service || {});
