/* Merge rules: how the messages that wait for a component become one update of it. No DOM, no clock.

   Each rule is merge(messages, options, current) and returns {value, used}: the property's new value, and how many
   of the messages are in it. The others wait for the next flush. React puts updates of one turn together, so without
   a rule only the last of them would be left (docs/hub.md, "In the page").

   A client may have published a message, so none is trusted to have the form that a rule expects: one that has another
   form is left out, and the others go on. "__proto__" is a key like any other in JSON, and not in an object. */
(function (parts) {
  "use strict";

  var KINDS = ["add", "update", "remove"];

  function latest(messages) {
    return {value: messages[messages.length - 1], used: messages.length};
  }

  /* n is there so that two equal batches are two changes of the property. */
  function list(messages, options, current) {
    var n = current && typeof current.n === "number" ? current.n : 0;
    return {value: {batch: messages.slice(), n: n + messages.length}, used: messages.length};
  }

  function append(messages, options, current) {
    var text = typeof current === "string" ? current : "";
    messages.forEach(function (message) {
      if (isReset(message)) {
        text = message.text === undefined ? "" : asText(message.text);
      } else {
        text += asText(message);
      }
    });
    return {value: text.length > options.max_chars ? tail(text, options.max_chars) : text, used: messages.length};
  }

  function isReset(message) {
    return message !== null && typeof message === "object" && message.reset === true;
  }

  function asText(message) {
    return typeof message === "string" ? message : JSON.stringify(message);
  }

  /* A cut never leaves half of a surrogate pair. */
  function tail(text, length) {
    var start = text.length - length;
    var code = text.charCodeAt(start);
    return text.slice(code >= 0xdc00 && code <= 0xdfff ? start + 1 : start);
  }

  /* Points are joined for each trace and key. Plotly's extendTraces takes the same keys for every trace, so a message
     with other keys begins the next update. */
  function extendData(messages, options) {
    var traces = new Map(), keys = null, most = options.max_points || null, used = 0;
    for (; used < messages.length; used += 1) {
      var part = normalised(messages[used]);
      if (part === null) {
        continue;
      }
      if (keys !== null && JSON.stringify(keys) !== JSON.stringify(part.keys)) {
        break;
      }
      keys = part.keys;
      most = least(most, part.most);
      part.traces.forEach(function (trace, index) {
        if (!traces.has(trace)) {
          traces.set(trace, keys.map(function () { return []; }));
        }
        keys.forEach(function (key, place) {
          var joined = traces.get(trace)[place];
          part.points[key][index].forEach(function (point) { joined.push(point); });
        });
      });
    }
    if (keys === null) {
      return {value: undefined, used: used};
    }
    var points = {}, order = Array.from(traces.keys());
    keys.forEach(function (key, place) {
      points[key] = order.map(function (trace) { return traces.get(trace)[place]; });
    });
    return {value: most === null ? [points, order] : [points, order, most], used: used};
  }

  function least(a, b) {
    return a === null ? b : b === null ? a : Math.min(a, b);
  }

  /* {x: 1, y: 2}, {x: [1], y: [2]}, {x: [[1]], y: [[2]]} and [points, traces, max] are all points of traces. null: none of
     them, and the message is left out. */
  function normalised(message) {
    var parts = Array.isArray(message) ? message : [message];
    var given = parts[0], points = {}, count = null;
    if (given === null || typeof given !== "object" || Array.isArray(given)) {
      return null;
    }
    var keys = Object.keys(given).sort();
    if (keys.indexOf("__proto__") >= 0) {
      return null;
    }
    keys.forEach(function (key) {
      var value = given[key];
      points[key] = !Array.isArray(value) ? [[value]] : value.every(Array.isArray) && value.length ? value : [value];
      count = count === null ? points[key].length : count === points[key].length ? count : -1;
    });
    if (count === null || count < 1) {
      return null;
    }
    var traces = Array.isArray(parts[1]) ? parts[1] : points[keys[0]].map(function (_, index) { return index; });
    if (traces.length !== count || !traces.every(function (trace) { return typeof trace === "number"; })) {
      return null;
    }
    return {keys: keys, points: points, traces: traces, most: typeof parts[2] === "number" ? parts[2] : null};
  }

  /* The kinds of one transaction are not applied in the order in which they came, so two messages are one
     transaction only where no row is in two kinds of it. Rows are told apart by options.row_id; a row without it may be
     any row. */
  function rowTransaction(messages, options) {
    var merged = null, rows = {}, used = 0;
    for (; used < messages.length; used += 1) {
      var message = messages[used];
      if (!isTransaction(message)) {
        continue;
      }
      if (merged !== null && (stands(message) || stands(merged) || conflicts(rows, message, options.row_id))) {
        break;
      }
      merged = joined(merged, message);
      remember(rows, message, options.row_id);
    }
    return {value: merged === null ? undefined : merged, used: used};
  }

  function isTransaction(message) {
    return message !== null && typeof message === "object" && !Array.isArray(message) &&
      !Object.prototype.hasOwnProperty.call(message, "__proto__") &&
      KINDS.every(function (kind) { return !message[kind] || Array.isArray(message[kind]); });
  }

  function stands(transaction) {
    return Object.keys(transaction).some(function (key) { return KINDS.indexOf(key) < 0; });
  }

  function joined(merged, message) {
    var result = {};
    KINDS.forEach(function (kind) {
      var both = ((merged || {})[kind] || []).concat(message[kind] || []);
      if (both.length) {
        result[kind] = both;
      }
    });
    Object.keys(message).forEach(function (key) {
      if (KINDS.indexOf(key) < 0) {
        result[key] = message[key];
      }
    });
    return result;
  }

  function identity(row, key) {
    var value = row !== null && typeof row === "object" ? row[key] : undefined;
    return typeof value === "string" || typeof value === "number" ? "id " + value : null;
  }

  /* rows: {kind: {ids: {}, any: bool, count: n}} of the transaction so far. */
  function remember(rows, message, key) {
    KINDS.forEach(function (kind) {
      var known = rows[kind] = rows[kind] || {ids: {}, any: false, count: 0};
      (message[kind] || []).forEach(function (row) {
        var id = identity(row, key);
        known.count += 1;
        known.any = known.any || id === null;
        if (id !== null) {
          known.ids[id] = true;
        }
      });
    });
  }

  function conflicts(rows, message, key) {
    return KINDS.some(function (kind) {
      return (message[kind] || []).some(function (row) {
        var id = identity(row, key);
        return KINDS.some(function (other) {
          var known = rows[other];
          return other !== kind && known && known.count > 0 && (id === null || known.any || known.ids[id] === true);
        });
      });
    });
  }

  /* Return the part of a message at a path (["a", "b"]); undefined: there is none. */
  function at(message, path) {
    for (var i = 0; i < path.length; i += 1) {
      if (message === null || typeof message !== "object" ||
          !Object.prototype.hasOwnProperty.call(message, path[i])) {
        return undefined;
      }
      message = message[path[i]];
    }
    return message;
  }

  parts.merge = {
    rules: {latest: latest, list: list, append: append, extendData: extendData, rowTransaction: rowTransaction},
    at: at,
    isReset: isReset
  };
})(window.ws_service = window.ws_service || {});
