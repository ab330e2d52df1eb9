"""What an exchange has taken is given back once, on every way out."""

from __future__ import annotations

import pytest

from proxy.exchange.leases import Leases


class Place:
    """Something that is given back."""

    def __init__(self) -> None:
        self.released = 0

    def release(self) -> None:
        self.released += 1


def test_a_block_gives_everything_back_at_its_end_and_nothing_before() -> None:
    one, another = Place(), Place()
    with Leases(one) as leases:
        leases.keep(another)
        assert (one.released, another.released) == (0, 0)
    assert (one.released, another.released) == (1, 1)


def test_a_block_that_fails_gives_everything_back() -> None:
    place = Place()
    with pytest.raises(ZeroDivisionError), Leases(place):
        raise ZeroDivisionError
    assert place.released == 1


def test_what_was_given_back_early_is_not_given_back_again() -> None:
    place = Place()
    with Leases(place) as leases:
        leases.release()
        leases.release()
    assert place.released == 1


def test_what_was_passed_on_is_the_new_owners_alone() -> None:
    place = Place()
    with Leases(place) as leases:
        passed = leases.pass_on()
    assert place.released == 0
    passed.release()
    passed.release()
    assert place.released == 1
