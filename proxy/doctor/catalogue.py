"""Every finding that there is, by its id; docs/checks.md says the same at more length, and a test compares the two.

DW001 to DW019: the config file. DW020 to DW029: programs that run. DW030 to DW049: Dash, and the hub.
DW050 to DW079: what happens on the way.
"""

from __future__ import annotations

from collections.abc import Mapping

from proxy.doctor.finding import Kind, Severity

_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE

CATALOGUE: Mapping[str, Kind] = {
    "DW001": Kind("config", _E, "The file cannot be read", "No program starts by it."),
    "DW002": Kind(
        "config",
        _E,
        "A key that is no section, or is written twice",
        "It is not used, and the program that it is meant for does not start.",
    ),
    "DW003": Kind(
        "config",
        _E,
        "A setting that is not known, or a value that it cannot have",
        "The program of that section does not start.",
    ),
    "DW004": Kind(
        "config",
        _E,
        "An address that cannot be listened on",
        "The program of that section does not start, or no client can reach it.",
    ),
    "DW005": Kind("config", _E, "A certificate or key that cannot be used", "The gateway does not start."),
    "DW006": Kind(
        "config",
        _E,
        "The admin listener can be reached from other hosts",
        "All of them would see the state of the gateway; it does not start unless that is meant.",
    ),
    "DW007": Kind(
        "config", _E, "Two sections that do not fit", "The programs start, and do not find each other as they should."
    ),
    "DW008": Kind("config", _W, "Two sections that may not fit", "It may be meant: the programs may use other files."),
    "DW009": Kind(
        "config", _E, "A socket file that cannot be made", "Without it, sockets cannot be handed over to the service."
    ),
    "DW010": Kind("config", _E, "The hub's key cannot be had", "The service does not start."),
    "DW011": Kind("config", _E, "A package that is not installed", "The service does not start."),
    "DW012": Kind("config", _E, "The app that ws_service.app names cannot be served", "The service does not start."),
    "DW013": Kind(
        "config", _W, "A host name that cannot be looked up", "Until it can, requests for it wait, and then fail."
    ),
    "DW014": Kind(
        "config",
        _W,
        "Several workers without a broker",
        "Each would have a hub of its own, so there is none: publications reach no page.",
    ),
    "DW015": Kind("config", _W, "Nothing to serve", "Every WebSocket handshake is refused."),
    "DW016": Kind(
        "config",
        _W,
        "An address on this host without a hand-off",
        "Its WebSockets cost the gateway a copy of each byte, and end when the gateway is restarted.",
    ),
    "DW019": Kind("check", _W, "A probe that could not be finished", "What it asks about is not known."),
    "DW020": Kind("programs", _E, "The gateway takes no connection", "No browser reaches the app."),
    "DW021": Kind("programs", _E, "Dash takes no connection", "Pages wait, and then show that Dash is starting."),
    "DW022": Kind(
        "programs",
        _E,
        "The WebSocket service takes no connection",
        "Each WebSocket handshake waits, and is then answered with 503.",
    ),
    "DW023": Kind(
        "programs",
        _E,
        "The public address does not lead to the gateway",
        "No browser reaches the app, or its WebSockets.",
    ),
    "DW024": Kind(
        "programs", _E, "A certificate that is not trusted", "Browsers warn, and open no WebSocket to the address."
    ),
    "DW025": Kind(
        "gateway", _W, "The gateway does not reach an upstream that runs", "Its requests wait, and then fail."
    ),
    "DW026": Kind(
        "gateway",
        _W,
        "Sockets are not handed over",
        "The gateway carries each byte of them, and its restart closes them.",
    ),
    "DW027": Kind(
        "programs", _W, "One of several addresses takes no connection", "The others carry its share of the load."
    ),
    "DW028": Kind("programs", _E, "An upstream takes no connection", "What routes send to it waits, and then fails."),
    "DW029": Kind(
        "hubs",
        _E,
        "The service has another key than this config",
        "Nothing that is published arrives, and pages may not listen: their tokens are signed with the wrong key.",
    ),
    "DW030": Kind(
        "dash", _E, "No page of Dash", "Browsers see no app, and what Dash says about itself cannot be read."
    ),
    "DW031": Kind(
        "dash",
        _N,
        "Dash 4.1.0rc fails on every WebSocket (plotly/dash#3636)",
        "Endpoints in Dash's own process answer 500; those in ws_service are not concerned.",
    ),
    "DW032": Kind(
        "dash",
        _E,
        "Dash 4.2 has its WebSocket at a wrong path (plotly/dash#3813)",
        "Callbacks that use it hang, where a proxy in front removes a part of the path.",
    ),
    "DW033": Kind(
        "dash",
        _N,
        "Dash 4.2 to 4.4 opens a WebSocket on each page (plotly/dash#3939)",
        "Each open page holds a connection more, of Dash and of the gateway's limits.",
    ),
    "DW034": Kind(
        "dash",
        _W,
        "Debug mode on a public address",
        "Errors show source code to every visitor, and one process serves all of them.",
    ),
    "DW035": Kind(
        "prefix",
        _E,
        "Pages ask for paths that Dash does not answer",
        'A page stays at "Error loading layout".',
    ),
    "DW036": Kind(
        "prefix",
        _W,
        "Pages ask for paths that only a proxy in front could make right",
        'Without such a proxy, a page stays at "Error loading layout".',
    ),
    "DW037": Kind(
        "prefix",
        _W,
        "The prefix in the config is not Dash's",
        "The gateway checks the origin of Dash's own WebSocket too, and refuses sites that Dash allows.",
    ),
    "DW038": Kind(
        "callbacks", _E, "Dash refuses the WebSocket of its own pages", "Callbacks that use it hang, without an error."
    ),
    "DW039": Kind(
        "callbacks",
        _E,
        "Dash's WebSocket opens for pages of other sites",
        "A page of any site could run callbacks with the cookies of a user who visits it.",
    ),
    "DW040": Kind(
        "callbacks", _E, "Dash's WebSocket cannot be opened", "Callbacks that use it hang, without an error."
    ),
    "DW041": Kind(
        "sockets",
        _E,
        "A WebSocket path that is answered with a page",
        "The browser's console says: Unexpected response code: 200.",
    ),
    "DW042": Kind("sockets", _E, "The hub does not open for the app's pages", "No page gets what is published."),
    "DW043": Kind(
        "sockets",
        _W,
        "WebSockets open for pages of other sites",
        "A page of any site could open one with the cookies of a user who visits it.",
    ),
    "DW044": Kind(
        "sockets", _W, "A WebSocket path that goes to Dash, which does not serve it", "No client can open it."
    ),
    "DW045": Kind(
        "scripts",
        _E,
        "A WebSocket URL with the address of one machine",
        "It works for the author, and for no other browser.",
    ),
    "DW046": Kind(
        "scripts", _W, "A WebSocket URL that is ws:// on every page", "On a page of https:// the browser refuses it."
    ),
    "DW047": Kind("health", _E, "A health path that is not answered", "The upstream counts as degraded for ever."),
    "DW048": Kind(
        "health", _W, "A health path that proves nothing", "The upstream counts as up, whatever is wrong with it."
    ),
    "DW049": Kind(
        "hubs", _E, "The hub has no connection to its broker", "Nothing that is published arrives until it has one."
    ),
    "DW050": Kind(
        "links",
        _W,
        "Dash does not know that browsers use https",
        "Links and redirects that the app writes lead to http://, and cookies are not Secure.",
    ),
    "DW051": Kind(
        "links",
        _W,
        "X-Forwarded-Proto does not reach the gateway",
        "The app takes https for http, and writes URLs that lead there.",
    ),
    "DW052": Kind(
        "links",
        _E,
        "Another host reaches the app than browsers use",
        "Redirects leave the site, and pages of the app itself may not open WebSockets.",
    ),
    "DW053": Kind(
        "workers",
        _E,
        "Processes of Dash that are not the same app",
        "A callback fails at random: the process that gets it does not have it.",
    ),
    "DW054": Kind(
        "workers",
        _E,
        "Processes of Dash with hot reload of their own",
        "Each page reloads again and again: each answer to _reload-hash is another process's.",
    ),
    "DW055": Kind(
        "workers",
        _E,
        "Processes of Dash with different secret keys",
        "Users are logged out at random, and pages do not get the results of background callbacks.",
    ),
    "DW056": Kind(
        "hubs",
        _E,
        "Services that are hubs of their own",
        "A page gets what is published to its own service, and nothing else.",
    ),
    "DW057": Kind(
        "auth",
        _E,
        "A cookie that does not reach forward authentication",
        "Users who are logged in are sent to the login again.",
    ),
    "DW058": Kind(
        "auth", _E, "An auth path that Dash does not know", "Every request that needs it is answered with 502."
    ),
    "DW059": Kind(
        "auth", _W, "An auth path that lets every client pass", "What the rule is to protect is open to all."
    ),
    "DW060": Kind(
        "events",
        _E,
        "Server-sent events come late",
        "Pages that listen to a stream hear of a publication when much has been collected, or when the stream ends.",
    ),
    "DW061": Kind(
        "messages",
        _W,
        "Compression of WebSockets is lost on the way",
        "Messages take more of the network than they would.",
    ),
    "DW062": Kind(
        "messages",
        _E,
        "The subprotocol of a WebSocket is lost on the way",
        "A browser that asks for one and gets none closes the connection.",
    ),
    "DW063": Kind(
        "messages",
        _E,
        "A large message does not get through",
        "A page that sends or gets as much loses its connection, each time.",
    ),
    "DW064": Kind(
        "messages",
        _E,
        "A close code does not arrive",
        "A page cannot tell why its WebSocket was closed, and comes back where it must not.",
    ),
    "DW065": Kind(
        "idle",
        _E,
        "An idle WebSocket is cut",
        "Pages on which nothing happens lose their connection, and publications meanwhile.",
    ),
    "DW066": Kind(
        "sockets",
        _E,
        "The app's own pages may not open WebSockets",
        "Every WebSocket of a page is refused.",
    ),
    "DW067": Kind("dash", _E, "Dash takes connections and answers nothing", "Each page waits, and then gets 504."),
}
