/* Publications that wait for a component: bounded by count and by bytes; the oldest are dropped first. No DOM, no clock. */
(function (parts) {
  "use strict";

  /* Roughly the bytes of a value in memory: two for each character, eight for anything else. */
  function sizeOf(value) {
    if (typeof value === "string") {
      return 16 + 2 * value.length;
    }
    if (value === null || typeof value !== "object") {
      return 8;
    }
    var size = 16, keys = Object.keys(value);
    for (var i = 0; i < keys.length; i += 1) {
      size += sizeOf(value[keys[i]]) + (Array.isArray(value) ? 0 : 2 * keys[i].length);
    }
    return size;
  }

  /* most: items at most; 1 keeps the newest alone, which is no loss. bytes: of all of them, roughly. */
  function Queue(most, bytes) {
    this.items = [];
    this._most = most;
    this._bytes = bytes;
    this._size = 0;
  }

  /* Add {offset, data}; returns how many older ones were dropped for it. A single item is kept whatever its size. */
  Queue.prototype.push = function (item) {
    item.size = this._most > 1 ? sizeOf(item.data) : 0;
    this.items.push(item);
    this._size += item.size;
    var dropped = 0;
    while (this.items.length - dropped > 1 &&
           (this.items.length - dropped > this._most || this._size > this._bytes)) {
      this._size -= this.items[dropped].size;
      dropped += 1;
    }
    if (dropped) {
      this.items.splice(0, dropped);
    }
    return dropped;
  };

  /* Take away the first ones. */
  Queue.prototype.shift = function (count) {
    var taken = this.items.splice(0, count);
    for (var i = 0; i < taken.length; i += 1) {
      this._size -= taken[i].size;
    }
    return taken;
  };

  Object.defineProperty(Queue.prototype, "length", {get: function () { return this.items.length; }});

  parts.sizeOf = sizeOf;
  parts.Queue = Queue;
})(window.ws_service = window.ws_service || {});
