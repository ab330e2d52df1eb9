"""Docstrings as Markdown."""

from __future__ import annotations

import re


def prose(text: str) -> str:
    """Return a docstring as Markdown. Its words stay; code has one backtick."""
    text = re.sub(r"``(.+?)``", r"`\1`", text, flags=re.DOTALL)
    text = re.sub(r"\bdocs/([\w/-]+\.md)((?:#[\w-]+)?)", r"[\1](../\1\2)", text)
    return re.sub(r"\b(Danger|Precedents?)(?=[: ])", r"**\1**", text)


def cell(text: str) -> str:
    """Return a docstring as one cell of a table."""
    return " ".join(prose(text).split()).replace("|", "\\|")
