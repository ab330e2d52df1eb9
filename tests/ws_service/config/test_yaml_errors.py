"""What is not YAML is said in words: where it is, and what to write there."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ws_service.config.yaml_errors import rewritten
from ws_service.config.yaml_text import parse
from ws_service.errors import ConfigError

AT = "is not valid YAML: "


def mistakes(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, "c")
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("text", "place", "sentence"),
    [
        # white space
        ("gateway:\n\tlisten: a\n", "2:1", "there is a tab here; indent with spaces"),
        ("gateway:\n  listen: a\n\tadmin: b\n", "3:1", "there is a tab here; indent with spaces"),
        ("gateway:\n  listen: a\n  \tadmin: b\n", "3:3", "there is a tab here; indent with spaces"),
        ("gateway:\n  listen:\ta\n", "2:10", "there is a tab here; write a space"),
        # indentation
        (
            "gateway:\n  listen: a\n    admin: b\n",
            "3:5",
            "is indented by 4 spaces; write it like line 2, by 2 spaces, because line 2 has a value already",
        ),
        (
            "gateway:\n  listen: 'a'\n    admin: b\n",
            "3:5",
            "is indented by 4 spaces; write it like line 2, by 2 spaces, because line 2 has a value already",
        ),
        (
            "gateway:\n    listen: a\n  # a word\n\n  admin: b\n",
            "5:3",
            "is indented by 2 spaces; write it like line 2, by 4 spaces",
        ),
        (
            "gateway:\n  upstreams:\n    dash: a\n   ws: b\n",
            "4:4",
            "is indented by 3 spaces; write it like line 3, by 4 spaces",
        ),
        (
            "gateway: {}\n  workers: 1\n",
            "2:3",
            "is indented by 2 spaces; write it like line 1, at the left margin, because line 1 has a value already",
        ),
        (
            "gateway:\n  routes:\n  - path: /a\n   to: ws\n",
            "4:4",
            "is indented by 3 spaces; write it like line 3, by 4 spaces",
        ),
        (
            "gateway:\n  routes:\n    - path: /a\n    to: ws\n",
            "4:5",
            "this line stands where only a list item may; indent it like the text after the - above",
        ),
        (
            "gateway:\n  x: a\n  - b\n",
            "3:3",
            "a list item stands among settings; indent it below the key that it belongs to",
        ),
        (
            "gateway:\n  routes: - path: /a\n",
            "2:11",
            "a list begins on a line of its own: put the - below its key, indented",
        ),
        (
            " gateway:\n   listen: x\nws_service:\n   a: b\n",
            "1:2",
            "a section begins at the left margin; remove the 1 space before it",
        ),
        (
            "gateway:\n  listen: a\n ws_service:\n  app: b\n",
            "3:2",
            "a section begins at the left margin; remove the 1 space before it",
        ),
        (
            "gateway:\n  routes:\n  - path: /a\n    to: ws\n   - path: /b\n",
            "5:4",
            "a list item is not indented like those before it, or its key is not on the line above",
        ),
        # colons
        (
            "gateway:\n  listen:127.0.0.1:80\n  admin: x\n",
            "2:3",
            "a space is missing after the colon; write listen: 127.0.0.1:80",
        ),
        (
            "gateway:\n  admin: x\n  listen:127.0.0.1:80 # here\n  buffer: 1\n",
            "3:3",
            "a space is missing after the colon; write listen: 127.0.0.1:80",
        ),
        (
            "gateway:\n  listen = 1:2\n  admin: x\n",
            "2:3",
            "a value follows a colon, and no =; write listen: 1:2",
        ),
        ("gateway = 3\nws_service: 4\n", "1:1", "a value follows a colon, and no =; write gateway: 3"),
        ("gateway\n  listen: b\n", "1:1", "'gateway' has no colon; write gateway: and its value"),
        ("gateway:\n  a: b\n  admin\n  c: d\n", "3:3", "'admin' has no colon; write admin: and its value"),
        (
            "gateway: listen: a\n",
            "1:16",
            "there is a second colon on this line; put the value into quotes, or listen: on a line of its own",
        ),
        # quotes and brackets
        ("gateway:\n  name: 'a\n  b: c\n", "2:9", "the quote ' that opens here is not closed"),
        ('gateway:\n  name: "a\n  b: c\n', "2:9", 'the quote " that opens here is not closed'),
        ("gateway:\n  name: 'a\n  b: 'c'\n", "2:9", "the quote ' that opens here is not closed on this line"),
        (
            "gateway:\n  name: 'it's'\n",
            "2:13",
            "there is text after the closing quote; put the whole value into one pair of quotes",
        ),
        (
            'gateway:\n  origins: ["regex:\\d"]\n',
            "2:21",
            "\\d is no escape in double quotes; write the text in single quotes",
        ),
        ("gateway:\n  routes: [a\n  b: c\n", "2:11", "the [ that opens here is not closed; a ] is missing"),
        ("gateway:\n  routes: [a, b", "2:11", "the [ that opens here is not closed; a ] is missing"),
        (
            "gateway:\n  routes: [{path: /a to: ws}]\n",
            "2:24",
            "a comma is missing before this, or a } for the { of column 12",
        ),
        (
            "gateway:\n  routes: [a]]\n",
            "2:14",
            "there is a ] that nothing has opened; remove it, or put the value into quotes",
        ),
        ("gateway:\n  listen: [::1]:8000\n", "2:11", "a value that begins with [ needs quotes: '[::1]:8000'"),
        ("gateway:\n  origins: [*]\n", "2:13", "a value that begins with * needs quotes: '*'"),
        (
            "gateway:\n  name: *nobody\n",
            "2:9",
            "a value that begins with * needs quotes: '*nobody' (there is no such anchor)",
        ),
        ("gateway:\n  name: @x # y\n", "2:9", "a value that begins with @ needs quotes: '@x'"),
        ("gateway:\n  name: !x y\n", "2:9", "a value that begins with ! needs quotes: '!x y' (tags mean nothing here)"),
        (
            "gateway:\n  listen: {{ HOST }}\n",
            "2:11",
            "{{ }} is no value; is this a template that is not filled in? Variables are written ${NAME}",
        ),
        ("gateway: {a: , b: ::}\n", "1:19", "a value is missing before this; put it into quotes if it is part of one"),
        ("gateway:\n  name: >a b\n", "2:9", "a value that begins with > needs quotes: '>a b'"),
        ("% a\ngateway: {}\n", "1:2", "a line that begins with % needs quotes"),
        ("%a\ngateway: {}\n", "2:1", "this line belongs to nothing above it; a section is written gateway:"),
        # the file as a whole
        (
            "gateway: 1\n---\nws_service: 1\n",
            "2:1",
            "a second document begins here (---); a config file is one document, so remove this line",
        ),
        (
            "[gateway]\nlisten = 'a'\n",
            "1:1",
            "this is no INI or TOML file; a section is written gateway: with its settings below it",
        ),
        ("gateway:\x85  n: \x00\n", "2", "the control character U+0000 is in here; remove it"),
        ("gateway:\n  n: \x00\n", "2", "the control character U+0000 is in here; remove it"),
    ],
)
def test_what_is_no_yaml_is_said_with_what_to_write(text: str, place: str, sentence: str) -> None:
    assert mistakes(text) == [f"c:{place}: {AT}{sentence}"]


def test_an_unknown_error_keeps_the_parsers_words_and_a_hint() -> None:
    (line,) = mistakes("gateway: |9x\n  a\n- b\n")
    assert line.startswith(f"c:1:10: {AT}")


@pytest.mark.parametrize(
    ("text", "better"),
    [
        ("listen:127.0.0.1:80", "listen: 127.0.0.1:80"),
        ("listen = 127.0.0.1:80", "listen: 127.0.0.1:80"),
        ("- path=/live", "path: /live"),
        ("http://a:80", None),
        ("a text", None),
    ],
)
def test_a_line_without_its_colon_is_written_as_it_was_meant(text: str, better: str | None) -> None:
    assert rewritten(text) == better


PIECES = ["\t", " ", "  ", "\n", ":", ": ", "- ", "'", '"', "[", "]", "{", "}", ",", "#", "&a ", "*a", "!x ", "|", ">"]
PIECES += [
    "---",
    "@",
    "%",
    "=",
    "? ",
    "<<: ",
    "${",
    "\xa0",
    "\x00",
    "\u2028",
    "\u2029",
    "\x85",
    "\r",
    "name",
    "gateway",
    "\n  listen: a",
]


@example("", ["\u2028", "\u2028", "\t"])  # more lines than line feeds
@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join), st.lists(st.sampled_from(PIECES), max_size=4))
def test_whatever_is_written_is_values_or_a_sentence(middle: str, end: list[str]) -> None:
    try:
        parse(f"gateway:\n  listen: a{middle}\n  admin: b{''.join(end)}\n", "c")
    except ConfigError as error:
        assert error.mistakes
        assert all("\n" not in mistake.message for mistake in error.mistakes)
