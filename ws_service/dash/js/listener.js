/* A listener of a topic: its publications in order, with history before them and what was missed between them. */
(function (parts) {
  "use strict";

  /* Milliseconds until history is asked for again that could not be had at the moment. */
  var ASK_AGAIN = 1000;

  /* options: of a Sequence, and presence. position: {epoch, offset} to go on from, null for none.
     effects: {accept(publication), gap(), live(), state(name), subscribed(), joined()}. */
  function Listener(name, options, position, effects) {
    this._options = options;
    this._effects = effects;
    this._generation = 0;
    this.wantsNewest = !options.every && options.history > 0;
    this.sequence = new parts.Sequence(options, {
      accept: effects.accept, gap: effects.gap, live: effects.live, ask: this._ask.bind(this)
    });
    if (position !== null) {
      this.sequence.resume(position);
    }
    this.topic = parts.connection().open(name, options);
    this.topic.join(this);
  }

  Listener.prototype.subscribed = function (news) {
    if (news.isLost && this._hasMissed(news.position)) {
      this._effects.gap();
    }
    this.sequence.subscribed(news.position, news.isContinued, news.hasNewest);
    this._effects.subscribed();
  };

  /* Of a listener that needs each publication, the sequence finds out, and of another epoch too. */
  Listener.prototype._hasMissed = function (position) {
    var known = this.sequence.position();
    return position === null ||
      (!this._options.every && position.epoch === known.epoch && position.offset !== known.offset);
  };

  Listener.prototype.publication = function (publication) {
    this.sequence.publication(publication);
  };

  Listener.prototype.state = function (state) {
    this._effects.state(state);
  };

  Listener.prototype.joined = function () {
    this._effects.joined();
  };

  Listener.prototype.end = function () {
    this._generation += 1;
    this.topic.leave(this);
  };

  /* Only the answer to the last question counts. */
  Listener.prototype._ask = function (question) {
    var self = this, generation = this._generation += 1;
    function current(call) {
      return function (result) {
        if (generation === self._generation) {
          parts.guarded("history of " + self.topic.name, function () { call(result); });
        }
      };
    }
    this.topic.history(question.since, question.limit).then(
      current(function (result) { self.sequence.filled(result.publications, result.position); }),
      current(function (refusal) {
        if (refusal.isFinal) {
          self.sequence.failed();
        } else {
          setTimeout(current(function () { self._ask(question); }), ASK_AGAIN);
        }
      })
    );
  };

  parts.Listener = Listener;
})(window.ws_service = window.ws_service || {});
