"""The values of a file, as far as it is YAML."""

from __future__ import annotations

from pathlib import Path

import pytest

from ws_service.config.yaml_text import parse, read_document
from ws_service.errors import ConfigError


def mistakes(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, "c")
    return str(caught.value).splitlines()


@pytest.mark.parametrize("text", ["gateway: &g\n  rules: *g\n", "gateway: &g\n  - *g\n"])
def test_an_alias_inside_of_what_it_stands_for_is_said(text: str) -> None:
    (line,) = mistakes(text)
    assert line.endswith("an alias (*...) is inside of what it stands for; write the values out")


def test_an_alias_that_stands_beside_what_it_repeats_is_no_mistake() -> None:
    document = parse("gateway: &g {a: 1}\nws_service: *g\n", "c")
    assert document.value == {"gateway": {"a": 1}, "ws_service": {"a": 1}}


def test_aliases_that_multiply_end_in_a_sentence() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert mistakes("\n".join(lines)) == ["c: is nested too deeply"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_what_powershell_writes_is_told_by_its_name(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes("gateway:\r\n  listen: 127.0.0.1:1\r\n".encode(encoding))
    with pytest.raises(ConfigError) as caught:
        read_document(path)
    name = "UTF-32" if encoding == "utf-32" else "UTF-16"
    assert str(caught.value) == (
        f"{path}: is {name}; save it as UTF-8 (PowerShell: Out-File -Encoding utf8, instead of >)"
    )
