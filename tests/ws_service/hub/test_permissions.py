"""Which clients may do what: by the options of a namespace, by user, and by token."""

from __future__ import annotations

import pytest

from ws_service.hub.access import Access, Grant, Identity
from ws_service.hub.codes import PERMISSION_DENIED, TOKEN_EXPIRED, UNAUTHORIZED
from ws_service.hub.keys import Keys
from ws_service.hub.permissions import Permissions
from ws_service.hub.tokens import Tokens
from ws_service.hub.topics import Allowed, Namespaces, TopicOptions

NOW = 1_000_000.0
TOKENS = Tokens(Keys("k" * 64))
OPTIONS = {allowed.value: TopicOptions(subscribe=allowed, publish=allowed) for allowed in Allowed}
RIGHTS: Access = Permissions(Namespaces(OPTIONS), TOKENS)


def _token(topic: str, user: str = "", ends: float | None = NOW + 60) -> str:
    return TOKENS.sign_subscription(topic, user=user, expires_at=ends)


def _reads(topic: str, user: str = "", token: str = "") -> bool:
    return isinstance(RIGHTS.may_subscribe(topic, user, token, NOW), Grant)


@pytest.mark.parametrize(
    ("allowed", "without", "named", "with_token"),
    [
        ("none", False, False, False),
        ("signed", False, False, True),
        ("users", False, True, True),
        ("anyone", True, True, True),
    ],
)
def test_the_options_say_which_clients_may_subscribe(
    allowed: str, without: bool, named: bool, with_token: bool
) -> None:
    topic = f"{allowed}:x"
    assert (_reads(topic), _reads(topic, "ada"), _reads(topic, "", _token(topic))) == (without, named, with_token)


def test_a_client_may_read_nothing_unless_it_is_said() -> None:
    assert RIGHTS.may_subscribe("prices", "ada", "", NOW) == PERMISSION_DENIED
    assert RIGHTS.may_publish("prices", "ada", is_subscribed=True) == PERMISSION_DENIED


def test_a_token_of_another_key_is_told_where_it_would_have_been_of_use() -> None:
    told: list[str] = []
    rights = Permissions(Namespaces(OPTIONS), TOKENS, told.append)
    foreign = Tokens(Keys("f" * 64))
    for topic in ("prices", "anyone:x"):
        rights.may_subscribe(topic, "", foreign.sign_subscription(topic, expires_at=None), NOW)
    rights.may_subscribe("prices", "", "nonsense", NOW)
    rights.may_subscribe("prices", "", _token("prices", ends=NOW - 60), NOW)
    rights.identify(foreign.sign_connection("ada", expires_at=None), NOW)
    assert told == ["the topic 'prices'", "a connection"]


def test_a_token_is_for_its_topic_alone() -> None:
    assert not _reads("prices", "", _token("prices:AAPL"))
    assert not _reads("prices ", "", _token("prices"))
    assert _reads("prices", "", _token("prices"))
    assert _reads("prices", "ada", _token("prices"))


def test_a_token_that_names_a_user_is_no_other_users() -> None:
    assert _reads("job:7", "ada", _token("job:7", "ada"))
    assert _reads("job:7", "", _token("job:7", "ada"))
    assert not _reads("job:7", "eve", _token("job:7", "ada"))


@pytest.mark.parametrize("topic", ["user:#ada", "x#ada", "anyone:#ada", "users:chat#bob,ada", "signed:#ada"])
def test_a_topic_of_some_users_is_read_by_them_alone(topic: str) -> None:
    assert _reads(topic, "ada")
    assert not _reads(topic) and not _reads(topic, "eve") and not _reads(topic, "ad")
    assert _reads(topic, "", _token(topic, "ada"))
    assert not _reads(topic, "", _token(topic)), "a token for the topic that names no user"
    assert not _reads(topic, "", _token(topic, "eve"))
    assert not _reads(topic, "eve", _token(topic, "ada")), "ada's token in eve's connection"


@pytest.mark.parametrize("topic", ["user:#", "anyone:#", "users:#,", "x#ada,"])
def test_the_empty_name_is_no_users(topic: str) -> None:
    assert not _reads(topic) and not _reads(topic, "", _token(topic))


def test_what_is_for_no_client_is_not_for_its_user_either() -> None:
    assert not _reads("none:#ada", "ada") and not _reads("none:#ada", "", _token("none:#ada", "ada"))


def test_a_token_that_is_no_good_is_told_from_one_that_was() -> None:
    assert RIGHTS.may_subscribe("x", "", _token("x", ends=NOW - 60), NOW) == TOKEN_EXPIRED
    assert RIGHTS.may_subscribe("x", "", "nonsense", NOW) == PERMISSION_DENIED
    foreign = Tokens(Keys("f" * 64)).sign_subscription("x", expires_at=None)
    assert RIGHTS.may_subscribe("x", "", foreign, NOW) == PERMISSION_DENIED
    assert RIGHTS.may_subscribe("x", "", TOKENS.sign_connection("ada", expires_at=None), NOW) == PERMISSION_DENIED


def test_a_token_that_was_good_takes_nothing_away() -> None:
    assert RIGHTS.may_subscribe("anyone:x", "", _token("anyone:x", ends=NOW - 60), NOW) == Grant()


def test_a_grant_has_what_the_token_says() -> None:
    token = TOKENS.sign_subscription("x", user="ada", expires_at=NOW + 60, info={"name": "Ada"})
    assert RIGHTS.may_subscribe("x", "", token, NOW) == Grant(b'{"name":"Ada"}', NOW + 60, "ada")


@pytest.mark.parametrize(
    ("allowed", "subscribed", "named", "unknown"),
    [
        ("none", False, False, False),
        ("signed", True, False, False),
        ("users", False, True, False),
        ("anyone", True, True, True),
    ],
)
def test_the_options_say_which_clients_may_publish(allowed: str, subscribed: bool, named: bool, unknown: bool) -> None:
    topic = f"{allowed}:x"
    assert (RIGHTS.may_publish(topic, "", is_subscribed=True) is None) == subscribed
    assert (RIGHTS.may_publish(topic, "ada", is_subscribed=False) is None) == named
    assert (RIGHTS.may_publish(topic, "", is_subscribed=False) is None) == unknown


def test_a_topic_of_one_user_takes_nothing_from_others() -> None:
    assert RIGHTS.may_publish("anyone:#ada", "eve", is_subscribed=False) == PERMISSION_DENIED
    assert RIGHTS.may_publish("users:#ada", "eve", is_subscribed=False) == PERMISSION_DENIED
    assert RIGHTS.may_publish("users:#ada", "ada", is_subscribed=False) is None


def test_a_connection_token_says_whose_it_is() -> None:
    token = TOKENS.sign_connection("ada", expires_at=NOW + 60, info=1, topics=("news",))
    assert RIGHTS.identify(token, NOW) == Identity("ada", b"1", NOW + 60, ("news",))
    assert RIGHTS.identify(token, NOW + 3600) == TOKEN_EXPIRED
    assert RIGHTS.identify("nonsense", NOW) == UNAUTHORIZED
    assert RIGHTS.identify(_token("x", "ada"), NOW) == UNAUTHORIZED, "a page's token for a topic names no connection"
