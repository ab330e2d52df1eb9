"""Every finding that there is, by its id; docs/checks.md says the same at more length, and a test compares the two.

DW001 to DW019: the config file. DW020 to DW029: programs that run. DW030 to DW049: Dash. DW050 to DW079: what happens
on the way.
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
    "DW019": Kind("check", _W, "A probe that could not be finished", "What it asks about is not known."),
    "DW020": Kind("programs", _E, "The gateway takes no connection", "No browser reaches the app."),
    "DW021": Kind("programs", _E, "Dash takes no connection", "Pages wait, and then show that Dash is starting."),
    "DW022": Kind(
        "programs",
        _E,
        "The WebSocket service takes no connection",
        "Each WebSocket handshake waits, and is then answered with 503.",
    ),
}
