"""Rights: whose a connection is, which topics it may read, and where it may publish.

``user:#ada`` (the user boundary, anywhere in a name) is for the connections of ``ada`` alone, and for those with a
token for exactly this topic whose ``sub`` is ``ada``, which the server has rendered into a page of hers.
"""

from __future__ import annotations

from collections.abc import Callable

from ws_service.hub.access import Grant, Identity
from ws_service.hub.codes import PERMISSION_DENIED, TOKEN_EXPIRED, UNAUTHORIZED, ErrorCode
from ws_service.hub.tokens import ForeignToken, SubscriptionToken, TokenError, TokenExpired, Tokens
from ws_service.hub.topics import Allowed, Namespaces, users_of
from ws_service.logs.formatter import shown


class Permissions:
    """Decides by the namespaces' options and by tokens; it implements ``Access``.

    on_foreign: is called for a token that is signed with another key, and of no use therefore; with what it is for.
    """

    def __init__(
        self, namespaces: Namespaces, tokens: Tokens, on_foreign: Callable[[str], None] = lambda purpose: None
    ) -> None:
        self._namespaces = namespaces
        self._tokens = tokens
        self._on_foreign = on_foreign

    def identify(self, token: str, now: float) -> Identity | ErrorCode:
        """Read a connection token: TOKEN_EXPIRED for one that was good, UNAUTHORIZED for any other that is not."""
        try:
            said = self._tokens.read_connection(token, now)
        except TokenExpired:
            return TOKEN_EXPIRED
        except TokenError as error:
            if isinstance(error, ForeignToken):
                self._on_foreign("a connection")
            return UNAUTHORIZED
        return Identity(said.user, said.info, said.expires_at, said.topics)

    def may_subscribe(self, topic: str, user: str, token: str, now: float) -> Grant | ErrorCode:
        """Decide whether a user may read a topic. token: of the subscription; empty for none.

        Where no token is needed, one that is not good does no harm: a page that has been open for days keeps what
        anyone may read.
        """
        if self._namespaces.of(topic).subscribe is Allowed.NONE:
            return PERMISSION_DENIED
        is_open = self._is_open(topic, user)
        refusal = PERMISSION_DENIED
        if token:
            try:
                said = self._tokens.read_subscription(token, now)
            except TokenExpired:
                refusal = TOKEN_EXPIRED
            except TokenError as error:
                if isinstance(error, ForeignToken) and not is_open:
                    self._on_foreign(f"the topic {shown(topic)}")
            else:
                if _is_for(said, topic, user):
                    return Grant(said.info, said.expires_at, said.user)
        return Grant() if is_open else refusal

    def may_publish(self, topic: str, user: str, *, is_subscribed: bool) -> ErrorCode | None:
        """Decide whether a client may publish; None: it may. A topic of some users takes no others' publications."""
        allowed = self._namespaces.of(topic).publish
        if is_subscribed:
            is_allowed = allowed in (Allowed.SIGNED, Allowed.ANYONE) or (allowed is Allowed.USERS and bool(user))
        else:
            is_allowed = is_within(topic, user) and (
                allowed is Allowed.ANYONE or (allowed is Allowed.USERS and bool(user))
            )
        return None if is_allowed else PERMISSION_DENIED

    def _is_open(self, topic: str, user: str) -> bool:
        """Tell whether a user may read a topic without a token."""
        allowed = self._namespaces.of(topic).subscribe
        if users_of(topic) is not None:
            return is_within(topic, user)
        return allowed is Allowed.ANYONE or (allowed is Allowed.USERS and bool(user))


def _is_for(said: SubscriptionToken, topic: str, user: str) -> bool:
    """Tell whether a token lets a user read a topic; one without a user may be used by any."""
    if said.topic != topic or (said.user and user and said.user != user):
        return False
    return is_within(topic, user or said.user)


def is_within(topic: str, user: str) -> bool:
    """Tell whether a topic is for all users, or for this one too. The empty name is no user's."""
    users = users_of(topic)
    return users is None or (bool(user) and user in users)
