"""Which requests of a browser come from a page of another site."""

from __future__ import annotations

import pytest

from ws_service.net.other_site import is_of_another_site


@pytest.mark.parametrize(
    ("site", "mode", "destination", "is_so"),
    [
        (None, None, None, False),
        (b"none", b"navigate", b"document", False),
        (b"same-origin", b"cors", b"empty", False),
        (b"cross-site", b"navigate", b"document", False),
        (b"cross-site", b"navigate", b"iframe", True),
        (b"cross-site", b"no-cors", b"image", True),
        (b"same-site", b"cors", b"empty", True),
        (b"a new word", None, None, True),
    ],
)
def test_a_link_is_followed_and_nothing_else_of_another_site_is_answered(
    site: bytes | None, mode: bytes | None, destination: bytes | None, is_so: bool
) -> None:
    assert is_of_another_site(site, mode, destination) is is_so
