"""What the settings of different sections must agree on: the gateway connects to the address where a program listens,
and no two programs listen at one address.

The programs need not run by the same file, nor on one host. So only what is certain is a mistake: two addresses of this
host that differ, or do not, two socket files, TLS to a program that speaks none.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ws_service.config.addresses import split_port
from ws_service.config.file import ConfigFile
from ws_service.config.sections import DEFAULTS
from ws_service.config.yaml_text import KeyPath


@dataclass(frozen=True)
class Disagreement:
    """Two settings that do not fit.

    path: the one to change, its section first. other: the one that it must fit. message: a sentence for the operator.
    is_certain: False where it may be meant.
    """

    path: KeyPath
    other: KeyPath
    message: str
    is_certain: bool = True


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


def disagreements(sections: Mapping[str, Mapping[str, Any]], folder: Path) -> Iterator[Disagreement]:
    """Yield where the sections of a file do not fit.

    sections: those that are to be compared, unchecked: what is not of the right kind is passed over.
    folder: of the file, from which paths of unix sockets start.
    """
    values = {name: {**DEFAULTS[name], **sections[name]} for name in DEFAULTS if name in sections}
    for found in (*_collisions(values, folder), *_of_the_gateway(values, folder)):
        if _is_written(sections, found.path):
            yield found
        else:
            yield replace(found, message=found.message.replace(", and ", " by default, and ", 1))


def _is_written(sections: Mapping[str, Any], path: KeyPath) -> bool:
    values: Any = sections
    for step in path:
        if not isinstance(values, Mapping) or step not in values:
            return False
        values = values[step]
    return True


def _of_the_gateway(values: Mapping[str, Mapping[str, Any]], folder: Path) -> Iterator[Disagreement]:
    """Yield where the gateway's addresses of other programs are not those at which they listen."""
    if "gateway" not in values:
        return
    upstreams = values["gateway"]["upstreams"]
    upstreams = {**DEFAULTS["gateway"]["upstreams"], **(upstreams if isinstance(upstreams, Mapping) else {})}
    for key, section in (("ws", "ws_service"), ("dash", "dash_app")):
        for own in ("listen", "admin"):
            if _leads_to(upstreams[key], values["gateway"][own], folder):
                message = f"is {upstreams[key]}, and that is gateway.{own}: the gateway would ask itself"
                yield Disagreement(("gateway", "upstreams", key), ("gateway", own), message)
        if section in values:
            yield from _address(key, upstreams[key], section, values[section]["listen"], folder)
    if "ws_service" in values:
        yield from _handoff(values["gateway"]["handoff"], values["ws_service"]["handoff"], folder)


_LISTENERS = (("gateway", "listen"), ("gateway", "admin"), ("ws_service", "listen"), ("dash_app", "listen"))


def _collisions(values: Mapping[str, Mapping[str, Any]], folder: Path) -> Iterator[Disagreement]:
    """Yield two listeners of different sections at one address; the model of a section checks its own."""
    listeners = [(path, values[path[0]][path[1]]) for path in _LISTENERS if path[0] in values]
    for number, (path, address) in enumerate(listeners):
        for other, taken in listeners[:number]:
            if path[0] != other[0] and _is_same_listener(address, taken, folder):
                message = f"is {address}, and {'.'.join(other)} is {taken}: only one program can listen there"
                yield Disagreement(path, other, message)


def _is_same_listener(address: object, other: object, folder: Path) -> bool:
    """Tell whether two listeners are certain to want the same address."""
    if not isinstance(address, str) or not isinstance(other, str):
        return False
    if address.startswith("unix:") or other.startswith("unix:"):
        are_files = address.startswith("unix:") and other.startswith("unix:")
        return are_files and _file(address[5:], folder) == _file(other[5:], folder)
    host, port = _split(address)
    there, number = _split(other)
    return port == number is not None and _is_same_host(host, there)


def _is_same_host(host: str, there: str) -> bool:
    if "localhost" in (host, there) and _is_loopback(host) and _is_loopback(there):
        return True
    return host == there or _covers(host, there) or _covers(there, host)


def _covers(host: str, there: str) -> bool:
    """Tell whether a host is every address of a kind that another one is of."""
    try:
        version = 4 if there == "localhost" else ip_address(there).version
    except ValueError:
        return host == "*"
    return host in ("*", "0.0.0.0" if version == 4 else "::")


def _leads_to(url: object, listen: object, folder: Path) -> bool:
    """Tell whether an upstream's URL is certain to lead to a listener of this host."""
    if not isinstance(url, str) or not isinstance(listen, str):
        return False
    if url.startswith("unix:"):
        return _is_same_listener(url, listen, folder)
    scheme, separator, rest = url.partition("://")
    host, port = _split(rest.rstrip("/"))
    if not separator or scheme not in ("http", "https") or port is None:
        return False
    there, number = _split(listen)
    return port == number and (host == there or (_is_loopback(host) and _is_same_host(host, there)))


def _split(address: str) -> tuple[str, int | None]:
    """Return host and port of what may be an address; None for the port where it is none."""
    host, port = split_port(address)
    return host.strip("[]").lower(), int(port) if port and port.isascii() and port.isdigit() else None


def _handoff(gateway: object, service: object, folder: Path) -> Iterator[Disagreement]:
    path, other = ("gateway", "handoff"), ("ws_service", "handoff")
    if not isinstance(gateway, str) or not isinstance(service, str) or gateway == "off":
        return
    if service == "off":
        message = f"is {gateway}, and ws_service.handoff is off: each WebSocket is tunnelled; write off here too"
        yield Disagreement(path, other, message, is_certain=False)
    elif _file(gateway, folder) != _file(service, folder):
        message = f"is {gateway}, and ws_service.handoff is {service}: no program listens there; write the same path"
        yield Disagreement(path, other, message)


def _address(key: str, url: object, section: str, listen: object, folder: Path) -> Iterator[Disagreement]:
    path, other = ("gateway", "upstreams", key), (section, "listen")
    if not isinstance(url, str) or not isinstance(listen, str):
        return
    is_listed_as_file = listen.startswith("unix:")
    if url.startswith("unix:"):
        if is_listed_as_file and _file(url[5:], folder) == _file(listen[5:], folder):
            return
        right = listen if is_listed_as_file else f"http://{_reachable(listen)}"
        yield Disagreement(path, other, _unlike(url, section, listen, right))
        return
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return
    if is_listed_as_file:
        if _is_loopback(host):
            yield Disagreement(path, other, _unlike(url, section, listen, listen))
        return
    there, number = _split(listen)
    if number is None:
        return
    is_port = port == number
    is_this_host = _is_loopback(host) or host == there
    if parts.scheme == "https":
        if is_port and is_this_host:
            message = f"is {url}, and {section} speaks plain HTTP at {listen}; write http://"
            yield Disagreement(path, other, message)
        return
    if is_this_host and not is_port:
        yield Disagreement(path, other, _unlike(url, section, listen, f"http://{_reachable(listen)}"))
    elif not _may_be_same_host(host, there):
        is_certain = _is_loopback(host)  # an address of another host may lead here all the same
        yield Disagreement(path, other, _unlike(url, section, listen, f"http://{_reachable(listen)}"), is_certain)


def _unlike(url: str, section: str, listen: str, right: str) -> str:
    return f"is {url}, and {section}.listen is {listen}: no program listens there; write {right}"


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
