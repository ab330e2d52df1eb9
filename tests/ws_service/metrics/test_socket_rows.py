"""The rows of sockets: their orders, and those of several processes. What a row has is tested with the reports."""

from __future__ import annotations

from typing import Any

import pytest

from ws_service.metrics.socket_rows import ORDERS, merged, rows


class Socket:
    client, path, kernel_socket = "10.0.0.1", "/echo", None

    def __init__(self, opened: float, written: int) -> None:
        self.opened, self.written = opened, written


SOCKETS: Any = dict.fromkeys([Socket(1, 50), Socket(2, 10), Socket(3, 99)])
AGES = {"oldest": [9, 8, 7], "newest": [7, 8, 9], "sent": [7, 9, 8]}


@pytest.mark.parametrize("order", ORDERS)
def test_the_first_of_an_order_are_listed(order: str) -> None:
    assert [row["age"] for row in rows(SOCKETS, order, 10, 10.0, 0)] == AGES[order]
    assert [row["age"] for row in rows(SOCKETS, order, 2, 10.0, 0)] == AGES[order][:2]


def test_what_the_kernel_does_not_tell_is_none_and_not_zero() -> None:
    (row,) = rows(SOCKETS, "oldest", 1, 10.0, 3)
    assert (row["received"], row["idle"], row["id"], row["topics"]) == (None, None, None, None)
    assert (row["worker"], row["endpoint"], row["way"]) == (3, "app", "listener")


@pytest.mark.parametrize("order", ORDERS)
def test_rows_of_several_processes_are_in_one_order(order: str) -> None:
    first, second = list(SOCKETS)[:2], list(SOCKETS)[2:]
    parts = [rows(dict.fromkeys(some), order, 10, 10.0, number) for number, some in enumerate((first, second))]
    assert [row["age"] for row in merged(parts, order, 10)] == AGES[order]
    assert len(merged(parts, order, 1)) == 1
