"""What the settings of different sections must agree on: the gateway connects to the address where a program listens,
and no two programs listen at one address.

The programs need not run by the same file, nor on one host. So only what is certain is a mistake: two addresses of this
host that differ, or do not, two socket files, TLS to a program that speaks none.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ws_service.config.addresses import passed_name, split_port
from ws_service.config.file import ConfigFile
from ws_service.config.sections import DEFAULTS
from ws_service.config.yaml_text import KeyPath


@dataclass(frozen=True)
class Disagreement:
    """Two settings that do not fit.

    path: the one to change, its section first. other: the one that it must fit. message: a sentence for the operator.
    is_certain: False where it may be meant. is_dangerous: whether the program of ``path`` must not run so, although it
    could.
    """

    path: KeyPath
    other: KeyPath
    message: str
    is_certain: bool = True
    is_dangerous: bool = False


def warnings(file: ConfigFile | None, own: str, env: Mapping[str, str] = os.environ) -> list[str]:
    """Return a sentence, with its place, for each setting of a program's section that does not fit another section.

    file: None is no file. own: the section of the program that starts; it counts also where the file does not have it.
    Other mistakes of the file are not reported here.
    """
    if file is None:
        return []
    sections = {name: file.values(name, env) for name in DEFAULTS if name == own or file.has(name)}
    found = [one for one in disagreements(sections, file.folder) if own in (one.path[0], one.other[0])]
    return [str(file.error([file.objection(one.path, one.message)])) for one in found]


def refuse_dangers(file: ConfigFile | None, own: str, env: Mapping[str, str] = os.environ) -> None:
    """Raise ConfigError with every setting of a program's section that would be dangerous beside another section.

    The arguments are those of ``warnings``.
    """
    if file is None:
        return
    sections = {name: file.values(name, env) for name in DEFAULTS if file.has(name)}
    found = [one for one in disagreements(sections, file.folder) if one.is_dangerous and one.path[0] == own]
    if found:
        raise file.error([file.objection(one.path, one.message) for one in found])


def disagreements(sections: Mapping[str, Mapping[str, Any]], folder: Path) -> Iterator[Disagreement]:
    """Yield where the sections of a file do not fit.

    sections: those that are to be compared, unchecked: what is not of the right kind is passed over.
    folder: of the file, from which paths of unix sockets start.
    """
    values = {name: {**DEFAULTS[name], **sections[name]} for name in DEFAULTS if name in sections}
    for found in (*_collisions(values, folder), *_of_the_gateway(values, folder), *_user_header(sections)):
        if _is_written(sections, found.path):
            yield found
        else:
            yield replace(found, message=found.message.replace(", and ", " by default, and ", 1))


def _is_written(sections: Mapping[str, Any], path: KeyPath) -> bool:
    values: Any = sections
    for step in path:
        is_there = step in values if isinstance(values, Mapping) else isinstance(values, list) and isinstance(step, int)
        if not is_there:
            return False
        values = values[step]
    return True


@dataclass(frozen=True)
class _Address:
    """Where a program listens, or where the gateway connects; a unix socket has a path alone."""

    host: str = ""
    port: int = 0
    path: str = ""
    scheme: str = "http"

    @property
    def is_loopback(self) -> bool:
        return _is_loopback(self.host)


def _listener(value: object, folder: Path) -> _Address | None:
    """Return the address to listen on that a setting names; None for what is none, and where only the start knows it:
    a socket of systemd, a port that is free."""
    if not isinstance(value, str) or passed_name(value) is not None:
        return None
    if value.startswith("unix:"):
        return _Address(path=_file(value[5:], folder))
    host, port = split_port(value)
    number = int(port) if port and port.isascii() and port.isdigit() else 0
    return _Address(host.strip("[]").lower(), number) if number else None


def _upstream(value: object, folder: Path) -> _Address | None:
    """Return the address of an upstream that a setting names; None for what is none."""
    if not isinstance(value, str) or value.startswith("unix:"):
        return _listener(value, folder)
    try:
        parts = urlsplit(value)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return None
    is_url = parts.scheme in ("http", "https") and parts.hostname
    return _Address(parts.hostname or "", port, scheme=parts.scheme) if is_url else None


_PORT_0 = re.compile(r":0+$")

_LISTENERS = (("gateway", "listen"), ("gateway", "admin"), ("ws_service", "listen"), ("dash_app", "listen"))


def _collisions(values: Mapping[str, Mapping[str, Any]], folder: Path) -> Iterator[Disagreement]:
    """Yield two listeners of different sections at one address; the model of a section checks its own."""
    listeners = [(path, values[path[0]][path[1]]) for path in _LISTENERS if path[0] in values]
    for number, (path, value) in enumerate(listeners):
        for other, taken in listeners[:number]:
            if path[0] != other[0] and _is_taken(_listener(value, folder), _listener(taken, folder)):
                message = f"is {value}, and {'.'.join(other)} is {taken}: only one program can listen there"
                yield Disagreement(path, other, message)


def _of_the_gateway(values: Mapping[str, Mapping[str, Any]], folder: Path) -> Iterator[Disagreement]:
    """Yield where the gateway's addresses of other programs are not those at which they listen."""
    if "gateway" not in values:
        return
    gateway = values["gateway"]
    written = gateway["upstreams"] if isinstance(gateway["upstreams"], Mapping) else {}
    upstreams = {**DEFAULTS["gateway"]["upstreams"], **written}
    for key, value in upstreams.items():
        for steps, url in _urls(value):
            for own in ("listen", "admin"):
                if _leads_to(_upstream(url, folder), _listener(gateway[own], folder)):
                    message = f"is {url}, and that is gateway.{own}: the gateway would ask itself"
                    yield Disagreement(("gateway", "upstreams", key, *steps), ("gateway", own), message)
    for key, section in (("ws", "ws_service"), ("dash", "dash_app")):
        if section in values:
            yield from _addresses(key, upstreams[key], section, values[section]["listen"], folder)
    if "ws_service" in values:
        yield from _handoff(gateway["handoff"], upstreams["ws"], values["ws_service"]["handoff"], folder)
        yield from _hubs(upstreams["ws"], values["ws_service"].get("hub"))


def _urls(value: object) -> Iterator[tuple[KeyPath, object]]:
    """Yield each URL of an upstream, and the steps to it."""
    if isinstance(value, list | tuple):
        for number, entry in enumerate(value):
            yield (number,), entry.get("url") if isinstance(entry, Mapping) else entry
    else:
        yield (), value.get("url") if isinstance(value, Mapping) else value


def _addresses(key: str, value: object, section: str, listen: object, folder: Path) -> Iterator[Disagreement]:
    """Yield what is wrong with the addresses of an upstream; of several, one has to lead to the section's program."""
    urls = list(_urls(value))
    found = [list(_address(key, url, section, listen, folder)) for _, url in urls]
    if len(urls) == 1:
        yield from found[0]
    elif found and all(found):
        message = f"has no address that is {section}.listen, {listen}: the program of this file gets nothing"
        yield replace(found[0][0], message=message, is_certain=False)


def _handoff(gateway: object, upstream: object, service: object, folder: Path) -> Iterator[Disagreement]:
    path, other = ("gateway", "handoff"), ("ws_service", "handoff")
    if not isinstance(gateway, str) or not isinstance(service, str) or gateway == "off":
        return
    entries = upstream if isinstance(upstream, list | tuple) else [upstream]
    own = [entry.get("handoff") for entry in entries if isinstance(entry, Mapping)]
    if any(isinstance(file, str) and _file(file, folder) == _file(service, folder) for file in own):
        return
    if service == "off":
        message = f"is {gateway}, and ws_service.handoff is off: each WebSocket is tunnelled; write off here too"
        yield Disagreement(path, other, message, is_certain=False)
    elif _file(gateway, folder) != _file(service, folder):
        message = f"is {gateway}, and ws_service.handoff is {service}: no program listens there; write the same path"
        yield Disagreement(path, other, message)


def _hubs(upstream: object, hub: object) -> Iterator[Disagreement]:
    """Yield that services at several addresses would each have a hub of its own."""
    hub = hub if isinstance(hub, Mapping) else {}
    if len(list(_urls(upstream))) > 1 and hub.get("enabled", True) is True and hub.get("broker", "memory") == "memory":
        message = (
            "has several addresses, and ws_service.hub.broker is memory: each service is a hub of its own, and what is "
            "published reaches the clients of one; write hub: {broker: redis://host:6379/0}"
        )
        yield Disagreement(("gateway", "upstreams", "ws"), ("ws_service", "hub", "broker"), message, is_certain=False)


def _user_header(sections: Mapping[str, Mapping[str, Any]]) -> Iterator[Disagreement]:
    """Yield where the field that names the hub's users is not the gateway's: then a client can write any name."""
    hub = sections.get("ws_service", {}).get("hub")
    field = hub.get("user_header") if isinstance(hub, Mapping) else None
    if not isinstance(field, str):
        return
    path, other = ("ws_service", "hub", "user_header"), ("gateway", "auth")
    if "gateway" not in sections:
        message = f"is {field}, and this file has no gateway: whichever is used must set it, and remove a client's own"
        yield Disagreement(path, other, message, is_certain=False)
        return
    gateway = sections["gateway"]
    rules = [rule for rule in _list(gateway.get("auth")) if isinstance(rule, Mapping) and _copies(rule, field)]
    if not rules:
        message = (
            f"is {field}, and no rule of gateway.auth copies it, so each client could write the name of another user; "
            f"write gateway: {{auth: [{{path: /, ask: /auth, copy_headers: [{field}]}}]}}"
        )
        yield Disagreement(path, other, message, is_dangerous=True)
    elif not any(_covers_hub(rule, gateway.get("dash_prefix")) for rule in rules):
        message = (
            f"is {field}, and the rules of gateway.auth that copy it are for other paths than the hub's: its clients "
            "have no user; write path: / in one of them, or path: /connection"
        )
        yield Disagreement(path, other, message, is_certain=False)


def _list(value: object) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def _copies(rule: Mapping[str, Any], field: str) -> bool:
    """Tell whether a rule asks, and copies a field: then the gateway removes a client's own from every request."""
    names = [_folded(name) for name in _list(rule.get("copy_headers")) if isinstance(name, str)]
    return isinstance(rule.get("ask"), str) and _folded(field) in names


def _folded(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def _covers_hub(rule: Mapping[str, Any], prefix: object) -> bool:
    under = f"{prefix if isinstance(prefix, str) and prefix != 'auto' else '/'}connection/"
    path = rule.get("path")
    return isinstance(path, str) and rule.get("host") is None and under.startswith(path.rstrip("/") + "/")


def _address(key: str, url: object, section: str, listen: object, folder: Path) -> Iterator[Disagreement]:
    """Yield what is wrong with the address of an upstream whose program listens where another section says."""
    path, other = ("gateway", "upstreams", key), (section, "listen")
    address, listener = _upstream(url, folder), _listener(listen, folder)
    if isinstance(listen, str) and _PORT_0.search(listen):
        message = f"is {url}, and {section}.listen is {listen}, which is another port after each start; write a port"
        yield Disagreement(path, other, message, is_certain=False)
    if address is None or listener is None:
        return
    if address.scheme == "https" and not listener.path:
        if address.port == listener.port and (address.is_loopback or address.host == listener.host):
            message = f"is {url}, and {section} speaks plain HTTP at {listen}; write http://"
            yield Disagreement(path, other, message)
        return
    is_wrong, is_certain = _misses(address, listener)
    if is_wrong:
        right = listen if listener.path else f"http://{_reachable(str(listen))}"
        message = f"is {url}, and {section}.listen is {listen}: no program listens there; write {right}"
        yield Disagreement(path, other, message, is_certain)


def _misses(address: _Address, listener: _Address) -> tuple[bool, bool]:
    """Return whether the address of an upstream does not lead to a listener, and whether that is certain."""
    if address.path:
        return address.path != listener.path, True
    if listener.path:  # another host may forward to it
        return address.is_loopback, True
    if address.port != listener.port and (address.is_loopback or address.host == listener.host):
        return True, True
    # The address of another host may lead here all the same.
    return not _may_be_same_host(address.host, listener.host), address.is_loopback


def _is_taken(listener: _Address | None, other: _Address | None) -> bool:
    """Tell whether two listeners are certain to want the same address."""
    if listener is None or other is None:
        return False
    if listener.path or other.path:
        return listener.path == other.path
    return listener.port == other.port and _is_same_host(listener.host, other.host)


def _leads_to(address: _Address | None, listener: _Address | None) -> bool:
    """Tell whether the address of an upstream is certain to lead to a listener of this host."""
    if address is None or listener is None or not _is_taken(address, listener):
        return False
    return bool(address.path) or address.is_loopback or address.host == listener.host


def _is_same_host(host: str, there: str) -> bool:
    if "localhost" in (host, there) and _is_loopback(host) and _is_loopback(there):
        return True
    return host == there or _covers(host, there) or _covers(there, host)


def _covers(host: str, there: str) -> bool:
    """Tell whether a host stands for all addresses of a family that another host belongs to."""
    try:
        version = 4 if there == "localhost" else ip_address(there).version
    except ValueError:
        return host == "*"
    return host in ("*", "0.0.0.0" if version == 4 else "::")


def _may_be_same_host(host: str, there: str) -> bool:
    """Tell whether a program that listens at one host may be reached at another. A name other than localhost may be."""
    if host == there or there in ("0.0.0.0", "::", "*"):
        return True
    if "localhost" in (host, there):
        return _is_loopback(host) and _is_loopback(there)
    try:
        return ip_address(host) == ip_address(there)
    except ValueError:
        return True


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _reachable(listen: str) -> str:
    """Return the address at which a program of this host finds another one."""
    host, port = split_port(listen)
    return f"{'127.0.0.1' if host in ('0.0.0.0', '[::]', '*') else host}:{port}"


def _file(path: str, folder: Path) -> str:
    return os.path.normpath(folder.absolute() / path)
