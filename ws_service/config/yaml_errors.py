"""What is wrong with a text that is not YAML, and what to write there.

YAML's own messages name tokens (``<block end>``, ``found character '\\t'``). Here each becomes a place and an advice.
The place is often the line before the one at which the parser gave up.
"""

from __future__ import annotations

import re

import yaml

from ws_service.config.sections import SECTIONS

Place = tuple[int, int]
"""Line and column, from 1."""

_MISSING_SPACE = re.compile(r"[ -]*(?P<key>[A-Za-z_][A-Za-z0-9_]*):(?P<value>[^\s/].*)")
_EQUALS = re.compile(r"[ -]*(?P<key>[A-Za-z_][A-Za-z0-9_]*)\s*=\s*(?P<value>.*)")

_KEY = re.compile(r"[ -]*[^\s:#][^:#]*:(?P<value>\s.*|)$")
_BRACKETED = re.compile(r"\[[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*\](?::[0-9]+)?")

_INDENTATION = re.compile(r"[^\S\n]*")


def rewritten(text: str) -> str | None:
    """Return ``key: value`` for a line that lacks the space after its colon or has ``=`` instead; None for others."""
    for pattern in (_MISSING_SPACE, _EQUALS):
        match = pattern.fullmatch(text.rstrip())
        if match is not None:
            return f"{match['key']}: {match['value']}".rstrip()
    return None


_ELSEWHERE = {
    "mapping values are not allowed here": "a colon stands where none may; put a value that holds one into quotes",
    "expected <block end>": "this belongs to nothing before it; indent it, or put the whole value into quotes",
    "expected the node content": "a value is missing before this; put it into quotes if it is part of one",
    "expected a comment or a line break": "a value that begins with | or > needs quotes",
    "expected alphabetic or numeric character": "a line that begins with % needs quotes",
    "expected '<document start>'": "this line belongs to nothing above it; a section is written gateway:",
}
"""What to do where only the parser's first words are known."""

_OUTSIDE = "look at the indentation, the quotes and the colons of this line and of the one before"


def describe(error: yaml.MarkedYAMLError, lines: list[str]) -> tuple[Place | tuple[None, None], str]:
    """Return where a text stops being YAML, and what to write there."""
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return (None, None), f"{error.problem}"
    at = (mark.line + 1, mark.column + 1)
    begin = (error.context_mark.line + 1, error.context_mark.column + 1) if error.context_mark else at
    problem = error.problem or ""
    found = (
        _white_space(problem, at, lines)
        or _quotes(problem, at, begin, lines)
        or _first_character(problem, at, begin, lines)
        or _brackets(problem, at, begin, lines)
        or _lines_without_key(problem, at, begin, lines)
        or _indentation(problem, at, lines)
    )
    if found is not None:
        return found
    what = " ".join(part for part in (error.context, problem) if part)
    return at, _ELSEWHERE.get(problem.partition(",")[0], f"{what}; {_OUTSIDE}")


_Found = tuple[Place, str] | None


def _white_space(problem: str, at: Place, lines: list[str]) -> _Found:
    """A tab, or a space of another kind, in the indentation or where YAML gave up."""
    if "'\\t'" in problem:
        is_indentation = not lines[at[0] - 1][: at[1] - 1].strip()
        return at, f"there is a tab here; {'indent with spaces' if is_indentation else 'write a space'}"
    for number in range(max(1, at[0] - 1), min(at[0], len(lines)) + 1):
        if (found := foreign_indentation(lines[number - 1])) is not None:
            return (number, found[0]), found[1]
    return None


def foreign_indentation(line: str) -> tuple[int, str] | None:
    """Return the column of what is no space in the indentation of a line, and what to do; None where there is none."""
    indentation = _INDENTATION.match(line)
    assert indentation is not None
    for column, character in enumerate(indentation[0], 1):
        if character == "\t" and line.strip():
            return column, "there is a tab here; indent with spaces"
        if character not in " \t\r":
            return column, f"there is a space of another kind here (U+{ord(character):04X}); indent with plain spaces"
    return None


def _quotes(problem: str, at: Place, begin: Place, lines: list[str]) -> _Found:
    if problem in ("found unexpected end of stream", "found unexpected document separator"):
        return begin, f"the quote {_character(begin, lines)} that opens here is not closed"
    if problem.startswith("found unknown escape character"):
        return at, f"\\{_character(at, lines)} is no escape in double quotes; write the text in single quotes"
    if problem == "expected <block end>, but found '<scalar>'":
        before = lines[at[0] - 1][: at[1] - 1]
        quote = max("'\"", key=before.rfind)
        if before.count(quote) % 2:  # it closes what a line above has opened
            for number in range(at[0] - 1, 0, -1):
                if lines[number - 1].count(quote) % 2:
                    column = lines[number - 1].rindex(quote) + 1
                    return (number, column), f"the quote {quote} that opens here is not closed on this line"
        return at, "there is text after the closing quote; put the whole value into one pair of quotes"
    return None


def _first_character(problem: str, at: Place, begin: Place, lines: list[str]) -> _Found:
    if problem.startswith("expected alphabetic or numeric character") and _character(begin, lines) in "*&":
        sign = _character(begin, lines)
        return begin, f"a value that begins with {sign} needs quotes: '{_rest(begin, lines)}'"
    if problem.startswith("found undefined alias"):
        return at, f"a value that begins with * needs quotes: '{_rest(at, lines)}' (there is no such anchor)"
    if problem.startswith("could not determine a constructor for the tag"):
        if _character(at, lines) == "!":
            return at, f"a value that begins with ! needs quotes: '{_rest(at, lines)}' (tags mean nothing here)"
        return at, "tags (!...) mean nothing here; remove it"
    if "cannot start any token" in problem:
        return at, f"a value that begins with {_character(at, lines)} needs quotes: '{_rest(at, lines)}'"
    if problem.startswith("expected chomping or indentation indicators"):
        return begin, f"a value that begins with {_character(begin, lines)} needs quotes: '{_rest(begin, lines)}'"
    if problem == "found unhashable key":
        return begin, "{{ }} is no value; is this a template that is not filled in? Variables are written ${NAME}"
    return None


def _brackets(problem: str, at: Place, begin: Place, lines: list[str]) -> _Found:
    line = lines[at[0] - 1] if at[0] <= len(lines) else ""
    address = _BRACKETED.search(line)
    if address is not None and address.start() < at[1] <= address.end() + 1 and "flow" not in problem:
        return (at[0], address.start() + 1), f"a value that begins with [ needs quotes: '{address[0]}'"
    if problem.startswith("expected ',' or "):
        opened, closing = _character(begin, lines), problem[len("expected ',' or '")]
        if begin[0] != at[0] or problem.endswith("'<stream end>'"):
            return begin, f"the {opened} that opens here is not closed; a {closing} is missing"
        return at, f"a comma is missing before this, or a {closing} for the {opened} of column {begin[1]}"
    match = re.search(r"but found '([\]}])'", problem)
    if match is not None:
        return at, f"there is a {match[1]} that nothing has opened; remove it, or put the value into quotes"
    return None


def _lines_without_key(problem: str, at: Place, begin: Place, lines: list[str]) -> _Found:
    """A line without its colon, or without the space after it: YAML takes it and the next ones for one text."""
    if problem == "but found another document":
        return at, "a second document begins here (---); a config file is one document, so remove this line"
    if problem == "could not find expected ':'":
        return _no_key(begin[0], lines)
    if problem in ("sequence entries are not allowed here", "block sequence entries are not allowed here"):
        return at, "a list begins on a line of its own: put the - below its key, indented"
    if "document start" in problem:
        first = _first_content(lines)
        if lines[first - 1].startswith("["):
            return (first, 1), "this is no INI or TOML file; a section is written gateway: with its settings below it"
    if problem == "mapping values are not allowed here":
        before = _content_before(at[0], lines)
        here = lines[at[0] - 1][: at[1] - 1]
        if (value := re.match(r"[ -]*[^\s:#]+:\s+(.*\S)", here)) is not None:
            own_line = f"{value[1]}: on a line of its own"
            return at, f"there is a second colon on this line; put the value into quotes, or {own_line}"
        if before is not None and not _KEY.match(lines[before - 1]):
            return _no_key(before, lines)
        if rewritten(lines[at[0] - 1]) is not None:
            return _no_key(at[0], lines)
    return None


def _no_key(number: int, lines: list[str]) -> _Found:
    line = lines[number - 1]
    place = (number, len(line) - len(line.lstrip()) + 1)
    text = line.partition(" #")[0].strip()
    better = rewritten(text)
    if better is None:
        return place, f"{text[:40]!r} has no colon; write {text.partition(' ')[0][:40]}: and its value"
    if _MISSING_SPACE.fullmatch(text):
        return place, f"a space is missing after the colon; write {better}"
    return place, f"a value follows a colon, and no =; write {better}"


def _indentation(problem: str, at: Place, lines: list[str]) -> _Found:
    """A line that stands at no level that is open: which one is nearest, and which line shows it."""
    line = lines[at[0] - 1] if at[0] <= len(lines) else ""
    own = len(line) - len(line.lstrip())
    first = _first_content(lines)
    if "document start" in problem and lines[first - 1].startswith(" "):
        column = len(lines[first - 1]) - len(lines[first - 1].lstrip())
        return (first, column + 1), f"a section begins at the left margin; remove the {_spaces(column)} before it"
    if problem.endswith("but found '?'"):
        return at, "this line stands where only a list item may; indent it like the text after the - above"
    if problem.endswith("but found '-'"):
        return at, "a list item stands among settings; indent it below the key that it belongs to"
    if problem.endswith("but found '<block sequence start>'"):
        return at, "a list item is not indented like those before it, or its key is not on the line above"
    if not problem.endswith("'<block mapping start>'") and problem != "mapping values are not allowed here":
        return None
    if line.strip().partition(":")[0] in SECTIONS:
        return (at[0], own + 1), f"a section begins at the left margin; remove the {_spaces(own)} before it"
    levels = _open_levels(at[0], lines)
    if not levels:
        return None
    number, level = min(levels, key=lambda found: (abs(found[1] - own), -found[0]))
    if level == own:
        return None
    before = _content_before(at[0], lines)
    has_value = before == number and level < own and not lines[number - 1].rstrip().endswith(":")
    where = f"by {_spaces(level)}" if level else "at the left margin"
    reason = f", because line {number} has a value already" if has_value else ""
    return (at[0], own + 1), f"is indented by {_spaces(own)}; write it like line {number}, {where}{reason}"


def _first_content(lines: list[str]) -> int:
    return next((n for n, text in enumerate(lines, 1) if _is_content(text)), 1)


def _open_levels(number: int, lines: list[str]) -> list[tuple[int, int]]:
    """Return the lines above that show an indentation which is still open, and it; the nearest first."""
    levels: list[tuple[int, int]] = []
    for before in range(number - 1, 0, -1):
        text = lines[before - 1]
        if _is_content(text) and (not levels or _indent(text) < levels[-1][1]):
            levels.append((before, _indent(text)))
    return levels


def _content_before(number: int, lines: list[str]) -> int | None:
    return next((n for n in range(number - 1, 0, -1) if _is_content(lines[n - 1])), None)


def _is_content(line: str) -> bool:
    text = line.strip()
    return bool(text) and not text.startswith(("#", "---"))


def _indent(line: str) -> int:
    """Return the column of a line's key, from 0; the - of a list item stands before it."""
    return len(line) - len(re.sub(r"^ *(?:- +)*", "", line))


def _spaces(count: int) -> str:
    return "1 space" if count == 1 else f"{count} spaces"


def _character(place: Place, lines: list[str]) -> str:
    return lines[place[0] - 1][place[1] - 1 : place[1]]


def _rest(place: Place, lines: list[str]) -> str:
    """Return the value that begins somewhere, as far as it can be told."""
    text = lines[place[0] - 1][place[1] - 1 :].partition(" #")[0]
    return re.split(r"[,\]}]", text)[0].strip()[:60] or _character(place, lines)
