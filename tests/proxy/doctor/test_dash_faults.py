"""Which versions of Dash have which fault."""

from __future__ import annotations

import pytest

from proxy.doctor.dash_faults import (
    has_socket_at_wrong_path,
    opens_socket_on_each_page,
    parse_version,
    swallows_websockets,
)


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("2.18.2", ""),
        ("4.1.0rc0", "3636"),
        ("4.1.0", ""),  # the final release has no FastAPI in it
        ("4.2.0rc1", "3813 3939"),
        ("4.2.0", "3813 3939"),
        ("4.3.0", "3939"),
        ("4.4.1", "3939"),
        ("4.5.0rc0", ""),
        ("4.5.0", ""),
        ("5.0.0", ""),
        (None, ""),
        ("next", ""),
    ],
)
def test_each_version_has_the_faults_that_were_found_with_it(text: str | None, faults: str) -> None:
    version = parse_version(text)
    found = {
        "3636": swallows_websockets(version),
        "3813": has_socket_at_wrong_path(version),
        "3939": opens_socket_on_each_page(version),
    }
    assert " ".join(number for number, has_it in found.items() if has_it) == faults


def test_a_candidate_is_before_its_release() -> None:
    versions = [parse_version(text) for text in ("4.1.0", "4.2.0b1", "4.2.0rc0", "4.2.0rc1", "4.2.0", "4.2.1")]
    assert versions == sorted(versions, key=lambda version: (version.release, version.candidate))  # type: ignore[union-attr]
