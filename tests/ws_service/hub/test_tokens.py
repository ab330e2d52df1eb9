"""Tokens: what is accepted, and everything else."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import jwt
import pytest

from ws_service.hub.keys import Keys
from ws_service.hub.tokens import LEEWAY, ConnectionToken, SubscriptionToken, TokenError, TokenExpired, Tokens

KEY = "k" * 64
OLD = "o" * 64
NOW = 1_000_000.0
TOKENS = Tokens(Keys(KEY))


def _part(value: Any) -> str:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def _signed(header: Any, claims: Any, key: str = KEY, name: str = "sha256") -> str:
    text = f"{_part(header)}.{_part(claims)}"
    return f"{text}.{_part(hmac.new(key.encode(), text.encode(), name).digest())}"


def test_a_token_for_a_topic_says_what_was_signed() -> None:
    token = TOKENS.sign_subscription("prices", expires_at=NOW + 60, user="ada", info={"b": [1]})
    assert TOKENS.read_subscription(token, NOW) == SubscriptionToken("prices", "ada", b'{"b":[1]}', NOW + 60)
    token = TOKENS.sign_subscription("Größe: alle", expires_at=None)
    assert TOKENS.read_subscription(token, NOW) == SubscriptionToken("Größe: alle")


def test_a_token_for_a_connection_says_what_was_signed() -> None:
    token = TOKENS.sign_connection("ada", expires_at=NOW + 60, topics=("a", "b"))
    assert TOKENS.read_connection(token, NOW) == ConnectionToken("ada", None, NOW + 60, ("a", "b"))
    assert TOKENS.read_connection(TOKENS.sign_connection("", expires_at=None), NOW) == ConnectionToken()


def test_the_claims_are_centrifugos() -> None:
    token = TOKENS.sign_subscription("a", expires_at=NOW + 0.5, user="ada", info=1, is_lasting=True)
    claims = {"channel": "a", "sub": "ada", "exp": 1_000_001, "info": 1, "expire_at": 0}
    assert jwt.decode(token, KEY, algorithms=["HS256"], options={"verify_exp": False}) == claims
    token = TOKENS.sign_connection("ada", expires_at=NOW, topics=("a",))
    claims = {"sub": "ada", "exp": 1_000_000, "channels": ["a"]}
    assert jwt.decode(token, KEY, algorithms=["HS256"], options={"verify_exp": False}) == claims


def test_clocks_may_differ_by_a_little() -> None:
    token = TOKENS.sign_subscription("a", expires_at=NOW)
    TOKENS.read_subscription(token, NOW + LEEWAY - 1)
    with pytest.raises(TokenExpired):
        TOKENS.read_subscription(token, NOW + LEEWAY)
    for name in ("iat", "nbf"):
        TOKENS.read_subscription(_signed({"alg": "HS256"}, {"channel": "a", name: NOW + LEEWAY}), NOW)
        with pytest.raises(TokenError, match="not valid yet"):
            TOKENS.read_subscription(_signed({"alg": "HS256"}, {"channel": "a", name: NOW + LEEWAY + 1}), NOW)


def test_what_lasts_is_asked_for_only_until_its_expiry() -> None:
    token = TOKENS.sign_subscription("a", expires_at=NOW + 60, is_lasting=True)
    assert TOKENS.read_subscription(token, NOW).expires_at is None
    with pytest.raises(TokenExpired):
        TOKENS.read_subscription(token, NOW + 600)


def test_expire_at_takes_precedence_over_the_expiry_of_the_token() -> None:
    token = _signed({"alg": "HS256"}, {"channel": "a", "exp": NOW + 5, "expire_at": NOW + 500})
    assert TOKENS.read_subscription(token, NOW).expires_at == NOW + 500


def test_a_token_of_what_has_ended_has_expired_although_it_is_good_itself() -> None:
    for claims in ({"exp": NOW + 600, "expire_at": NOW}, {"expire_at": NOW}, {"expire_at": 1}):
        token = _signed({"alg": "HS256"}, {"channel": "a", **claims})
        with pytest.raises(TokenExpired):
            TOKENS.read_subscription(token, NOW + LEEWAY)
        with pytest.raises(TokenExpired):
            TOKENS.read_connection(_signed({"alg": "HS256"}, {"sub": "ada", **claims}), NOW + LEEWAY)


def test_what_the_previous_key_has_signed_is_good_and_nothing_new_is_signed_with_it() -> None:
    both = Tokens(Keys(KEY, OLD))
    assert both.read_subscription(Tokens(Keys(OLD)).sign_subscription("a", expires_at=None), NOW).topic == "a"
    assert TOKENS.read_subscription(both.sign_subscription("a", expires_at=None), NOW).topic == "a"


GOOD = TOKENS.sign_subscription("a", expires_at=None)
HEAD, BODY, SIGNATURE = GOOD.split(".")
CLAIMS = {"channel": "a"}

FORGED = {
    "another key": Tokens(Keys("f" * 64)).sign_subscription("a", expires_at=None),
    "alg none": f"{_part({'alg': 'none', 'typ': 'JWT'})}.{BODY}.",
    "alg none with the signature": f"{_part({'alg': 'none'})}.{BODY}.{SIGNATURE}",
    "alg None": f"{_part({'alg': 'None'})}.{BODY}.",
    "no alg": _signed({"typ": "JWT"}, CLAIMS),
    "alg null": _signed({"alg": None}, CLAIMS),
    "alg a list": _signed({"alg": ["HS256"]}, CLAIMS),
    "alg hs256": _signed({"alg": "hs256"}, CLAIMS),
    "HS384 with the right key": _signed({"alg": "HS384"}, CLAIMS, name="sha384"),
    "HS512 with the right key": jwt.encode(CLAIMS, KEY, algorithm="HS512"),
    "RS256": _signed({"alg": "RS256"}, CLAIMS),
    "a key in the header": _signed({"alg": "HS256", "jwk": {"kty": "oct", "k": _part(b"f" * 64)}}, CLAIMS, "f" * 64),
    "a file as key": _signed({"alg": "HS256", "kid": "/dev/null"}, CLAIMS, ""),
    "an extension that must be understood": _signed({"alg": "HS256", "crit": ["x"], "x": 1}, CLAIMS),
    "a detached payload": _signed({"alg": "HS256", "b64": False, "crit": ["b64"]}, CLAIMS),
    "the empty key": _signed({"alg": "HS256"}, CLAIMS, ""),
    "another body": f"{HEAD}.{_part({'channel': 'b'})}.{SIGNATURE}",
    "a signature cut short": GOOD[:-2],
    "no signature": f"{HEAD}.{BODY}.",
    "two parts": f"{HEAD}.{BODY}",
    "four parts": f"{GOOD}.x",
    "empty": "",
    "text": "nonsense",
    "not ASCII": "größe.größe.größe",
    "a lone surrogate": "\ud800.a.b",
    "a NUL": f"\0{GOOD}",
    "no JSON in the header": f"{_part(b'{')}.{BODY}.{SIGNATURE}",
    "no UTF-8 in the header": f"{_part(bytes([255, 254]))}.{BODY}.{SIGNATURE}",
    "a number as the header": f"{_part(7)}.{BODY}.{SIGNATURE}",
    "a header without end": f"{_part(b'[' * 40_000)}.{BODY}.{SIGNATURE}",
    "claims without end": _signed({"alg": "HS256"}, b"[" * 40_000),
    "claims that are a list": _signed({"alg": "HS256"}, [1]),
    "claims that are no JSON": _signed({"alg": "HS256"}, b"{"),
    "for another audience": _signed({"alg": "HS256"}, {**CLAIMS, "aud": "other"}),
}


@pytest.mark.parametrize("token", FORGED.values(), ids=FORGED)
def test_no_other_token_is_accepted_and_no_other_error_is_raised(token: str) -> None:
    with pytest.raises(TokenError) as caught:
        TOKENS.read_subscription(token, NOW)
    assert not isinstance(caught.value, TokenExpired)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    with pytest.raises(TokenError):
        TOKENS.read_connection(token, NOW)


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"channel": ""},
        {"channel": 7},
        {"channel": None},
        {"channel": "a\nb"},
        {"channel": "a" * 10_240},
        {"channel": "a", "sub": 7},
        {"channel": "a", "sub": "a\nb"},
        {"channel": "a", "sub": "a" * 256},
        {"channel": "a", "exp": "tomorrow"},
        {"channel": "a", "exp": True},
        {"channel": "a", "exp": 10**400},
        {"channel": "a", "exp": float("inf")},
        {"channel": "a", "exp": float("nan")},
        {"channel": "a", "expire_at": []},
        {"channel": "a", "iat": "now"},
        {"channel": "a", "info": float("nan")},
    ],
)
def test_claims_that_make_no_sense_are_refused_although_they_are_signed(claims: dict[str, Any]) -> None:
    with pytest.raises(TokenError):
        TOKENS.read_subscription(_signed({"alg": "HS256"}, claims), NOW)


@pytest.mark.parametrize("topics", ["a", [7], [""], {"a": 1}, ["a\nb"]])
def test_a_connection_is_subscribed_to_topics_alone(topics: Any) -> None:
    with pytest.raises(TokenError):
        TOKENS.read_connection(_signed({"alg": "HS256"}, {"sub": "ada", "channels": topics}), NOW)


def test_neither_kind_of_token_is_the_other() -> None:
    with pytest.raises(TokenError):
        TOKENS.read_connection(TOKENS.sign_subscription("user:#ada", expires_at=None, user="ada"), NOW)
    with pytest.raises(TokenError):
        TOKENS.read_subscription(TOKENS.sign_connection("ada", expires_at=None), NOW)


@pytest.mark.parametrize("topic", ["", "a\nb", "a" * 256, 7])
def test_what_is_no_topic_is_not_signed(topic: Any) -> None:
    with pytest.raises(ValueError, match="not the name of a topic"):
        TOKENS.sign_subscription(topic, expires_at=None)


@pytest.mark.parametrize("user", ["a\nb", "a" * 256, 7])
def test_what_is_no_user_is_not_signed(user: Any) -> None:
    with pytest.raises(ValueError, match="not the name of a user"):
        TOKENS.sign_connection(user, expires_at=None)


def test_info_that_is_no_json_is_not_signed() -> None:
    for info in (object(), float("nan"), {1, 2}):
        with pytest.raises(ValueError, match="no JSON"):
            TOKENS.sign_subscription("a", expires_at=None, info=info)


def test_a_signature_is_made_of_the_text_of_the_key() -> None:
    """So the same text in another hub's configuration checks the same tokens."""
    text, _, signature = GOOD.rpartition(".")
    assert signature == _part(hmac.new(KEY.encode(), text.encode(), hashlib.sha256).digest())
