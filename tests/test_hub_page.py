"""``docs/reference/hub-protocol.md`` says what the hub speaks: its tables are those of the code."""

from __future__ import annotations

import json
import re

import pytest

from tests.processes import ROOT
from ws_service.hub import api, codes, messages, protocol
from ws_service.hub.codes import EndCode, ErrorCode

PAGE = (ROOT / "docs" / "reference" / "hub-protocol.md").read_text("utf-8")

ERRORS = {each.code: each for each in vars(codes).values() if isinstance(each, ErrorCode)}
ENDS = {each.code: each for each in vars(codes).values() if isinstance(each, EndCode)}


def rows(name: str) -> list[list[str]]:
    """Return the cells of a table, without its head."""
    found = re.search(rf"<!-- {name} -->\n(.*?)\n<!-- end -->", PAGE, re.DOTALL)
    assert found, f"no table {name}"
    lines = found[1].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def names(cell: str) -> list[str]:
    """Return what is in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def test_the_commands_are_those_that_are_read() -> None:
    assert [name for row in rows("commands") for name in names(row[0])] == list(protocol._READERS)


NESTED = {"connect": ("recover", "epoch", "offset"), "history": ("epoch", "offset")}
"""Fields of a field, which are in parentheses in the table."""


@pytest.mark.parametrize("row", rows("commands"), ids=lambda row: row[0])
def test_the_fields_of_a_command_are_read(row: list[str]) -> None:
    """A value of the wrong kind is refused; one that is not read would not be."""
    (command,) = names(row[0])
    for field in set(names(row[1])) - {"data", "recovered: false", *NESTED.get(command, ())}:
        good = {"channel": "a", "data": 1, "recover": True}
        (read,) = protocol.read_message(json.dumps({"id": 1, command: {**good, field: [[]]}}).encode())
        assert isinstance(read, protocol.Refused), field


def test_the_pushes_are_those_that_are_written() -> None:
    functions = {name.removesuffix("_push") for name in vars(messages) if re.fullmatch(r"(?!is_)[a-z]+_push", name)}
    named = {name for row in rows("pushes") for name in names(row[0])}
    on_streams = {"disconnect"}  # written by StreamEvents; a WebSocket has its close code
    assert {"pub" if name == "publication" else name for name in functions} | on_streams == named


def test_the_errors_are_those_of_the_code() -> None:
    table = {int(code): (message, temporary) for code, message, temporary, _ in rows("errors")}
    assert table == {code: (each.message, "yes" if each.is_temporary else "no") for code, each in ERRORS.items()}


def test_the_ends_are_those_of_the_code_and_say_whether_clients_come_back() -> None:
    subscriptions = {int(row[0]): (row[1], row[2]) for row in rows("unsubscribes")}
    connections = {int(row[0]): (row[1], row[2]) for row in rows("disconnects")}
    said = {True: "yes", False: "no"}
    assert subscriptions == {code: (each.reason, said[code >= 2500]) for code, each in ENDS.items() if code < 3000}
    assert connections == {
        code: (each.reason, said[codes.comes_back(code)]) for code, each in ENDS.items() if code >= 3000
    }


def test_every_code_is_used() -> None:
    sources = "".join(
        path.read_text("utf-8") for path in (ROOT / "ws_service").rglob("*.py") if path.name != "codes.py"
    )
    unused = [
        name
        for name, each in vars(codes).items()
        if isinstance(each, ErrorCode | EndCode) and not re.search(rf"\b{name}\b", sources)
    ]
    assert not unused


def test_the_methods_are_those_of_the_api() -> None:
    assert [name for row in rows("methods") for name in names(row[0])] == list(api.METHODS)
