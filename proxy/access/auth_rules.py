"""Which requests need authentication, however their path is written, and which fields are identity headers.

A rule that is chosen by one reading of a path, while the upstream serves
another one, is the classic bypass: ``//admin`` is ``/admin`` for Werkzeug,
``/login/../admin`` for others. So a path that can be read in more than one way
matches no rule that allows every request, and it matches the rule that needs
an auth request, whatever the path of that rule.

The hub answers at each path that ends as its own: ``/login/connection/websocket`` is no part of a login page. So a rule
that allows every request allows the hub's only where its own path names them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from proxy.config import MANY_READINGS, Auth
from proxy.errors import ClientError
from proxy.http1.headers import Head, folded
from proxy.http1.target import decoded, host_name, is_under
from ws_service.hub.paths import EVENT_STREAM, WEBSOCKET

_ENCODED_SLASH = re.compile(r"(?i)%2f|%5c")
"""Some servers split a path before they decode it."""

HUB = (WEBSOCKET, EVENT_STREAM)
"""How the hub's paths end."""

_NAMES_THE_HUB = ("/connection", *HUB)
"""How the path of a rule ends that may open the hub to every client."""

_REMEMBERED = 256
"""Blocks of fields, as many as ``request_reader`` remembers."""


@dataclass(frozen=True, slots=True)
class AuthRule:
    """A rule by which Dash is asked.

    name: of the rule in the configuration. ask: the path on Dash. copied: names of the response's fields that go to
    the upstream, lower case. cache: seconds that a 2xx holds.
    """

    name: str
    ask: str
    copied: frozenset[bytes] = frozenset()
    cache: float = 0.0


@dataclass(frozen=True, slots=True)
class _Match:
    path: str
    host: str | None
    rule: AuthRule | None  # None: every request passes


class AuthRules:
    """The rules of ``gateway.auth``: longest path first, then the one with a host.

    ``identity_headers`` are the fields that only a response of Dash may set, all rules together, as ``folded`` writes
    them.
    """

    def __init__(self, rules: Iterable[Auth] = ()) -> None:
        made = [_made(f"auth[{index}]", rule) for index, rule in enumerate(rules)]
        self._matches = sorted(made, key=lambda match: (-len(match.path), match.host is None))
        self.identity_headers = frozenset(folded(name) for match in made if match.rule for name in match.rule.copied)
        letters = b"|".join(re.escape(name).replace(rb"\-", b"[-_.]") for name in sorted(self.identity_headers))
        # Remembered, because a browser sends the same fields again and again, and ``request_reader`` returns the same
        # bytes for them.
        self._identity = lru_cache(_REMEMBERED)(re.compile(rb"(?im)^(?:%b):" % letters).search) if letters else None

    def rule_for(self, target: str, host: bytes) -> AuthRule | None:
        """Return the rule by which Dash is asked before a request passes; None: it passes without.

        target: in origin form. host: the Host field. Raises ClientError where the path can be read in more than one
        way, and more than one rule asks.
        """
        if not self._matches:
            return None
        written = target.partition("?")[0]
        path = decoded(written) if "%" in written else written
        name = host_name(host.decode("latin-1"))
        matches = [match for match in self._matches if match.host is None or match.host == name]
        if path.startswith("/") and not MANY_READINGS.search(path) and not _ENCODED_SLASH.search(written):
            return next((match.rule for match in matches if _applies(match, path)), None)
        rules = {match.rule for match in matches if match.rule}
        if len(rules) > 1:
            raise ClientError(
                "The request's path can be read in more than one way, and different auth rules could apply.",
                advice="Write it without //, dot segments, ; and \\, and percent-encode once.",
            )
        return next(iter(rules), None)

    def apply_to(self, target: str, host: bytes, fields: bytes) -> bool:
        """Tell whether there is anything to do about a simple request. fields: its fields as bytes, in whole lines."""
        if not self._matches:
            return False
        try:
            rule = self.rule_for(target, host)
        except ClientError:
            return True
        return rule is not None or (self._identity is not None and self._identity(fields) is not None)

    def without_identity(self, head: Head) -> Head:
        """Return a head without ``identity_headers``, in whatever spelling: what a client says of itself."""
        if not self.identity_headers:
            return head
        kept = tuple(field for field in head.headers if folded(field[0]) not in self.identity_headers)
        return head.with_fields(kept)


def _applies(match: _Match, path: str) -> bool:
    """Tell whether a rule is one for a path that can be read in one way only. path: decoded."""
    if not is_under(path, match.path):
        return False
    return match.rule is not None or not path.endswith(HUB) or match.path.endswith(_NAMES_THE_HUB)


def _made(name: str, auth: Auth) -> _Match:
    rule = None
    if auth.ask is not None:
        copied = frozenset(field.lower().encode() for field in auth.copy_headers)
        rule = AuthRule(name, auth.ask, copied, auth.cache)
    return _Match(auth.path, host_name(auth.host) if auth.host else None, rule)
