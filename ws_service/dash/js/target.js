/* Components of the page, as Dash's renderer knows them: where one is, whether it can take an update, and updating it.

   Dash's stores have the paths of what is mounted; set_props of an id that is not throws in every version of Dash. */
(function (parts) {
  "use strict";

  /* Return {store, path, node} of the mounted component with an id (a string, or an object for pattern matching). */
  function find(id) {
    var stores = window.dash_stores || [];
    for (var i = 0; i < stores.length; i += 1) {
      var state = stores[i].getState();
      var path = state.paths && pathOf(state.paths, id);
      if (path) {
        return {store: stores[i], path: path, node: nodeAt(state.layout, path)};
      }
    }
    return null;
  }

  function pathOf(paths, id) {
    if (typeof id === "string") {
      return (paths.strs || {})[id] || null;
    }
    var keys = Object.keys(id).sort(), found = null;
    ((paths.objs || {})[keys.join(",")] || []).some(function (entry) {
      found = keys.every(function (key, index) { return entry.values[index] === id[key]; }) ? entry.path : null;
      return found !== null;
    });
    return found;
  }

  function nodeAt(layout, path) {
    for (var i = 0; i < path.length && layout; i += 1) {
      layout = layout[path[i]];
    }
    return layout || null;
  }

  /* An id as Dash writes it in the document. */
  function domId(id) {
    if (typeof id === "string") {
      return id;
    }
    return "{" + Object.keys(id).sort().map(function (key) {
      return JSON.stringify(key) + ":" + JSON.stringify(id[key]);
    }).join(",") + "}";
  }

  /* Tell whether an update of a property would be seen. Graph and AgGrid take increments, which are lost before they
     are drawn, and while the increment before is not yet taken. */
  function isReady(found, id, prop) {
    if (prop === "extendData" && found.node && found.node.type === "Graph") {
      var element = document.getElementById(domId(id));
      return !!(element && element.querySelector(".js-plotly-plot"));
    }
    if (prop === "rowTransaction") {
      return isGridReady(id) && !current(found, prop);
    }
    return true;
  }

  /* Milliseconds for a grid to begin: dash-ag-grid 35 applies a transaction twice that comes meanwhile. */
  var BEGINNING = 200;

  var grids = new WeakMap();

  function isGridReady(id) {
    var api = null;
    if (!window.dash_ag_grid || !window.dash_ag_grid.getApi) {
      return true;
    }
    try {
      api = window.dash_ag_grid.getApi(id);
    } catch (error) {
      return false;
    }
    if (!api) {
      return false;
    }
    if (!grids.has(api)) {
      grids.set(api, Date.now());
    }
    return Date.now() - grids.get(api) >= BEGINNING;
  }

  function current(found, prop) {
    return found.node && found.node.props ? found.node.props[prop] : undefined;
  }

  /* Tell whether a component has a property, as far as it says which ones it has: not all libraries do. */
  function takes(found, prop) {
    var library = found.node ? window[found.node.namespace] : null, component = library && library[found.node.type];
    var types = component && component.propTypes;
    return !types || !Object.keys(types).length || prop in types || /^(data|aria)-/.test(prop);
  }

  function set(id, prop, value) {
    var props = {};
    props[prop] = value;
    window.dash_clientside.set_props(id, props);
  }

  /* A note in a component's properties in Dash's store, under a key that nothing else looks at: an update of properties
     copies it (Object.assign), a component that is rendered anew does not have it, and React does not pass it on. So it
     tells instances apart, which ids and paths do not. */
  var NOTE = Symbol("dashHub");

  function instance(found) {
    var props = found !== null && found.node ? found.node.props : null;
    if (!props) {
      return null;
    }
    if (props[NOTE] === undefined) {
      props[NOTE] = {};
    }
    return props[NOTE];
  }

  var watches = [], stores = [], isScheduled = false;

  /* changed(isMounted) is called now, and soon after another instance of a component is mounted, or it is not any more.
     Returns {check(), end()}; check() looks at once. */
  function watch(id, changed) {
    var one = {id: id, instance: null, changed: changed};
    watches.push(one);
    follow();
    look(one);
    return {
      check: function () { look(one); },
      end: function () { watches = watches.filter(function (each) { return each !== one; }); }
    };
  }

  function follow() {
    (window.dash_stores || []).forEach(function (store) {
      if (stores.indexOf(store) < 0) {
        stores.push(store);
        store.subscribe(schedule);
      }
    });
  }

  /* Dash's stores change with each update of each component; once in a frame is enough. */
  function schedule() {
    if (!isScheduled && watches.length) {
      isScheduled = true;
      setTimeout(function () {
        isScheduled = false;
        watches.slice().forEach(look);
      }, 16);
    }
  }

  function look(one) {
    parts.guarded("a component", function () {
      var seen = instance(find(one.id));
      if (seen !== one.instance) {
        one.instance = seen;
        one.changed(seen !== null);
      }
    });
  }

  parts.target = {find: find, isReady: isReady, current: current, takes: takes, set: set, watch: watch, domId: domId};
})(window.ws_service = window.ws_service || {});
