"""Which requests somebody must be asked about, however their path is written, and what no client may say of itself.

A guard that is decided on one reading of a path and an upstream that serves
another one is the classic way around it: ``//admin`` is ``/admin`` for
Werkzeug, ``/login/../admin`` for others. So a path that can be read in more
than one way lies under no rule that lets everybody pass, and under the one
that asks, wherever that one is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

from proxy.config import MANY_READINGS, Auth
from proxy.errors import ClientError
from proxy.http1.headers import Head, folded
from proxy.http1.target import decoded, host_name, is_under

_ENCODED_SLASH = re.compile(r"(?i)%2f|%5c")
"""Some servers split a path before they decode it."""

_REMEMBERED = 256
"""Blocks of fields, as many as ``plain`` remembers."""


@dataclass(frozen=True, slots=True)
class AuthRule:
    """Somebody to ask.

    name: of the rule in the configuration. ask: the path on Dash. copied: names of the answer's fields that go to
    the upstream, lower case. cache: seconds that a good answer holds.
    """

    name: str
    ask: str
    copied: frozenset[bytes] = frozenset()
    cache: float = 0.0


@dataclass(frozen=True, slots=True)
class _Rule:
    path: str
    host: str | None
    guard: AuthRule | None


class AuthRules:
    """The rules of ``gateway.auth``: longest path first, then the one with a host.

    ``claims`` are the fields that only an answer may say, all rules together, as ``folded`` writes them.
    """

    def __init__(self, rules: Iterable[Auth] = ()) -> None:
        made = [_made(f"auth[{index}]", rule) for index, rule in enumerate(rules)]
        self._rules = sorted(made, key=lambda rule: (-len(rule.path), rule.host is None))
        self.claims = frozenset(folded(name) for rule in made if rule.guard for name in rule.guard.copied)
        letters = b"|".join(re.escape(name).replace(rb"\-", b"[-_.]") for name in sorted(self.claims))
        # Remembered, because a browser sends the same fields again and again, and ``plain`` hands out the same bytes.
        self._claimed = lru_cache(_REMEMBERED)(re.compile(rb"(?im)^(?:%b):" % letters).search) if letters else None

    def guard(self, target: str, host: bytes) -> AuthRule | None:
        """Return who is asked before a request passes; None: nobody.

        target: in origin form. host: the Host field. Raises ClientError where the path can be read in more than one
        way, and there is more than one to ask.
        """
        if not self._rules:
            return None
        written = target.partition("?")[0]
        path = decoded(written) if "%" in written else written
        name = host_name(host.decode("latin-1"))
        rules = [rule for rule in self._rules if rule.host is None or rule.host == name]
        if path.startswith("/") and not MANY_READINGS.search(path) and not _ENCODED_SLASH.search(written):
            return next((rule.guard for rule in rules if is_under(path, rule.path)), None)
        guards = {rule.guard for rule in rules if rule.guard}
        if len(guards) > 1:
            raise ClientError(
                "The request's path can be read in more than one way, and different rules say who may pass.",
                advice="Write it without //, dot segments, ; and \\, and percent-encode once.",
            )
        return next(iter(guards), None)

    def concern(self, target: str, host: bytes, fields: bytes) -> bool:
        """Tell whether there is anything to do about a plain request. fields: its fields as bytes, in whole lines."""
        if not self._rules:
            return False
        try:
            guard = self.guard(target, host)
        except ClientError:
            return True
        return guard is not None or (self._claimed is not None and self._claimed(fields) is not None)

    def without_claims(self, head: Head) -> Head:
        """Return a head without what a client says of itself, in whatever spelling, under the names of ``claims``."""
        if not self.claims:
            return head
        return replace(head, headers=tuple(field for field in head.headers if folded(field[0]) not in self.claims))


def _made(name: str, rule: Auth) -> _Rule:
    guard = None
    if rule.ask is not None:
        copied = frozenset(field.lower().encode() for field in rule.copy_headers)
        guard = AuthRule(name, rule.ask, copied, rule.cache)
    return _Rule(rule.path, host_name(rule.host) if rule.host else None, guard)
