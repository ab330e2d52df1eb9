/* The order of one listener's publications: none twice, none missing without being told. No DOM, no clock, no network.

   A listener is FILLING while it waits for history: publications that come meanwhile are held. It is LIVE after that.
   Offsets say what is missing, also where the server sends the newest value alone to a client that comes back, or drops
   older ones for a client that is slow: then the rest is asked for. */
(function (parts) {
  "use strict";

  /* options.every: whether each publication counts; false: only the newest one does.
     options.history: publications to begin with, from the newest ones.
     options.most: how many are held or asked for at most.
     effects.accept(publication): the next one in order. effects.gap(): some are lost.
     effects.ask({since, limit}): ask for history, and call filled() or failed(); since: null for the newest ones.
     effects.live(): it is no longer FILLING. */
  function Sequence(options, effects) {
    this._options = options;
    this._effects = effects;
    this.epoch = null;
    this.offset = null;  // of the newest publication that was accepted; null: none yet
    this.isFilling = false;
    this._held = [];
    this._asked = null;
    this._canAsk = true;
  }

  /* The topic is subscribed. position: {offset, epoch}; null where it keeps no history.
     isContinued: the same subscription came back and the server has sent all that was missed.
     hasNewest: the newest publication comes without being asked for. */
  Sequence.prototype.subscribed = function (position, isContinued, hasNewest) {
    if (position === null) {
      if (this.isFilling) {
        this._release();
      }
      return;
    }
    var isKnown = this.epoch !== null;
    if (isKnown && this.epoch !== position.epoch) {
      this._effects.gap();
      this.offset = null;
    }
    this.epoch = position.epoch;
    this._canAsk = true;
    if (this.isFilling) {
      this._ask();
    } else if (hasNewest && !this._options.every && this._options.history > 0) {
      return;
    } else if (this.offset === null) {
      this._begin(position);
    } else if (!isContinued && position.offset !== this.offset) {
      this._fill();
    }
  };

  /* Go on from what another listener has accepted. */
  Sequence.prototype.resume = function (position) {
    this.epoch = position.epoch;
    this.offset = position.offset;
  };

  Sequence.prototype.position = function () {
    return {epoch: this.epoch, offset: this.offset};
  };

  /* Begin anew: what is shown is shown in a component that has nothing yet. */
  Sequence.prototype.restart = function () {
    if (this.epoch === null) {
      return;
    }
    var offset = this.offset;
    this.offset = null;
    this._begin({epoch: this.epoch, offset: offset || 0});
  };

  Sequence.prototype._begin = function (position) {
    if (this._options.history > 0) {
      this._fill();
    } else {
      this.offset = position.offset;
    }
  };

  Sequence.prototype._fill = function () {
    this.isFilling = true;
    this._ask();
  };

  Sequence.prototype._ask = function () {
    var isFirst = this.offset === null;
    var since = isFirst ? null : {offset: this.offset, epoch: this.epoch};
    var limit = isFirst ? this._options.history : this._options.every ? this._options.most : 1;
    this._asked = since;
    this._effects.ask({since: this._options.every ? since : null, limit: limit});
  };

  Sequence.prototype.publication = function (publication) {
    if (this.isFilling) {
      this._held.push(publication);
      if (this._held.length > this._options.most) {
        this._held.shift();  // it is asked for again: the hole shows when the rest is released
      }
    } else {
      this._take(publication);
    }
  };

  Sequence.prototype._take = function (publication) {
    var offset = publication.offset || 0;
    if (offset) {
      if (this.offset !== null && offset <= this.offset) {
        return;
      }
      if (this._options.every && this.offset !== null && offset > this.offset + 1) {
        if (this._canAsk && this.epoch !== null) {
          this._held.push(publication);
          this._fill();
          return;
        }
        this._effects.gap();
      }
      this.offset = offset;
    }
    this._effects.accept(publication);
  };

  /* History has come. publications: in ascending order. position: {offset, epoch} of the history's end. */
  Sequence.prototype.filled = function (publications, position) {
    if (!this.isFilling) {
      return;
    }
    var first = publications.length ? publications[0].offset : position.offset + 1;
    var isAnother = position.epoch !== this.epoch;
    if (isAnother) {
      this._effects.gap();
      this.epoch = position.epoch;
      this.offset = null;
      this._held = [];  // of which epoch each of them is, nothing says
    } else if (this._asked !== null && first > this.offset + 1) {
      if (this._options.every) {
        this._effects.gap();
      }
      this.offset = first - 1;
    }
    var self = this;
    publications.forEach(function (publication) {
      if (self.offset === null || publication.offset > self.offset) {
        self.offset = publication.offset;
        self._effects.accept(publication);
      }
    });
    if (this.offset === null) {
      this.offset = position.offset;
    }
    if (isAnother) {
      this._ask();
      return;
    }
    if (this._options.every && this._asked !== null && position.offset > this.offset) {
      if (publications.length) {
        this._ask();  // the reply was as long as it may be
        return;
      }
      this._effects.gap();
      this.offset = position.offset;
    }
    this._release();
  };

  /* There is no history to get, now or ever: what is missing stays missing. */
  Sequence.prototype.failed = function () {
    if (!this.isFilling) {
      return;
    }
    this._canAsk = false;
    if (this._asked !== null && this._options.every && !this._held.length) {
      this._effects.gap();
    }
    this._release();
  };

  Sequence.prototype._release = function () {
    var held = this._held;
    this._held = [];
    this.isFilling = false;
    for (var i = 0; i < held.length; i += 1) {
      this.publication(held[i]);  // a hole among them begins another fill, which holds the rest
    }
    if (!this.isFilling) {
      this._effects.live();
    }
  };

  parts.Sequence = Sequence;
})(window.ws_service = window.ws_service || {});
