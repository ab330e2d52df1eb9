"""The page: one document that loads nothing, and runs only what is written in it."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

from proxy.status.page import page


class Elements(HTMLParser):
    """Gathers start tags with their attributes, and the text of scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] in ("script", "style") and data.strip():
            self.texts.append((self.tags[-1][0], data))


def elements() -> Elements:
    found = Elements()
    found.feed(page()[0].decode())
    return found


def hash_of(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def test_the_policy_allows_what_is_in_the_page_and_nothing_else() -> None:
    directives = dict(
        part.strip().split(" ", 1) for part in dict(page()[1])[b"Content-Security-Policy"].decode().split(";")
    )
    assert directives["default-src"] == "'none'"
    assert directives["frame-ancestors"] == "'none'"
    assert directives["connect-src"] == "'self'"
    for tag in ("script", "style"):
        hashes = [hash_of(text) for kind, text in elements().texts if kind == tag]
        assert hashes
        assert directives[f"{tag}-src"].split() == hashes
    assert "unsafe" not in " ".join(directives.values())


def test_the_page_names_no_other_file() -> None:
    for tag, attributes in elements().tags:
        assert not {"src", "style", "onclick", "onload"} & set(attributes), (tag, attributes)
        assert attributes.get("href", "data:,") == "data:,"
    text = page()[0].decode()
    assert set(re.findall(r"https?://[\w./]*", text)) <= {"http://…", "http://", "http://www.w3.org/2000/svg"}
    assert "@import" not in text
    assert "url(" not in text


def test_nothing_is_written_as_html() -> None:
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|Function\(", page()[0].decode()
    )


def test_it_says_its_language_and_each_part_has_a_name() -> None:
    tags = elements().tags
    assert ("html", {"lang": "en"}) in tags
    names = {attributes["id"] for _, attributes in tags if "id" in attributes}
    labels = [attributes["aria-labelledby"] for tag, attributes in tags if tag == "section"]
    assert labels
    assert set(labels) <= names
