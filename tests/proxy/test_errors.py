"""Each mishap has one answer, one word for the log and one culprit, and the tree in the docstring is the real one."""

from __future__ import annotations

import inspect
import re
from http import HTTPStatus

import pytest

from proxy import errors
from proxy.errors import (
    BodyStalled,
    ClientError,
    ConnectTimeout,
    Exhausted,
    ListenError,
    Outcome,
    ProxyError,
    Stopping,
    TlsError,
    TooMany,
    UpstreamCut,
    UpstreamError,
    UpstreamFull,
    UpstreamLost,
    UpstreamTimeout,
    UpstreamUnreachable,
)

KINDS = [
    kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, ProxyError) and kind.__doc__
]


@pytest.mark.parametrize(
    ("kind", "status", "outcome"),
    [
        (ProxyError, 500, Outcome.BUG),
        (ClientError, 400, Outcome.REFUSED),
        (BodyStalled, 408, Outcome.CLIENT_STALLED),
        (TooMany, 429, Outcome.REFUSED),
        (UpstreamError, 502, Outcome.UPSTREAM_FAILED),
        (UpstreamUnreachable, 503, Outcome.UPSTREAM_UNREACHABLE),
        (UpstreamFull, 503, Outcome.UPSTREAM_FULL),
        (UpstreamLost, 502, Outcome.UPSTREAM_FAILED),
        (ConnectTimeout, 504, Outcome.UPSTREAM_TIMEOUT),
        (UpstreamTimeout, 504, Outcome.UPSTREAM_TIMEOUT),
        (UpstreamCut, 502, Outcome.UPSTREAM_CUT),
        (Stopping, 503, Outcome.STOPPING),
        (Exhausted, 503, Outcome.EXHAUSTED),
    ],
)
def test_an_error_knows_its_answer_and_its_word_for_the_log(
    kind: type[ProxyError], status: int, outcome: Outcome
) -> None:
    error = TooMany("It went wrong.", "connections") if kind is TooMany else kind("It went wrong.")
    assert (error.status, error.outcome) == (status, outcome)
    assert HTTPStatus(error.status).phrase  # an answer can be written for it


def test_the_tree_in_the_docstring_is_the_tree_in_the_code() -> None:
    drawn: dict[str, tuple[str, int | None, str | None]] = {}
    branch: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"( *)- (\w+)(?: +([0-9]{3}))?(?: +([A-Z_]{4,}))?", line)
        if match is None:
            continue
        depth, name = len(match[1]), match[2]
        branch = [step for step in branch if step[0] < depth]
        parent = branch[-1][1] if branch else "Exception"
        branch.append((depth, name))
        drawn[name] = (parent, int(match[3]) if match[3] else None, match[4])
    assert set(drawn) == {kind.__name__ for kind in KINDS} | {ListenError.__name__, TlsError.__name__}
    for name, (parent, status, outcome) in drawn.items():
        kind = getattr(errors, name)
        assert kind.__base__.__name__ == parent, name
        assert status is None or kind.status == status, name
        assert outcome is None or kind.outcome.name == outcome, name


@pytest.mark.parametrize("kind", KINDS)
def test_a_culprit_is_the_client_or_the_upstream_and_never_both(kind: type[ProxyError]) -> None:
    assert not (issubclass(kind, ClientError) and issubclass(kind, UpstreamError))


def test_an_error_keeps_what_the_client_may_read_apart_from_what_the_operator_may() -> None:
    error = UpstreamUnreachable("It is away.", advice="Is it running?", detail="10.0.0.7:8050 is away")
    assert str(error) == error.message == "It is away."
    assert error.advice == "Is it running?"
    assert error.detail == "10.0.0.7:8050 is away"


def test_an_error_says_nothing_more_than_it_was_told() -> None:
    error = ProxyError("It went wrong.")
    assert (error.advice, error.detail, error.headers) == ("", "", ())


def test_one_error_can_have_another_status_and_the_next_one_has_the_usual_again() -> None:
    assert ClientError("Version 13, please.", status=426).status == 426
    assert ClientError("What was that?").status == 400


def test_the_fields_that_an_answer_must_carry_are_taken_once_from_any_iterable() -> None:
    error = ClientError("Version 13, please.", headers=iter([(b"Sec-WebSocket-Version", b"13")]))
    assert error.headers == ((b"Sec-WebSocket-Version", b"13"),)
    assert error.headers == ((b"Sec-WebSocket-Version", b"13"),)  # still there for a second reader


def test_words_for_the_log_are_all_different() -> None:
    assert len({outcome.value for outcome in Outcome}) == len(Outcome)


def test_a_gateway_that_cannot_listen_is_no_exchange_that_went_wrong() -> None:
    assert not issubclass(ListenError, ProxyError)


def test_a_file_that_tls_cannot_use_is_named_with_its_setting() -> None:
    error = TlsError("gateway.tls.key", "key.pem cannot be read")
    assert str(error) == "key.pem cannot be read (gateway.tls.key in the configuration)"
    assert not issubclass(TlsError, ProxyError)
