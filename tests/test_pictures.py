"""The pictures of the README: small, told in words too, and the drawing for light and dark pages."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from tests.processes import ROOT

PICTURES = dict(
    (path, " ".join(alternative.split()))
    for alternative, path in re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", (ROOT / "README.md").read_text("utf-8"))
)

SVG = "{http://www.w3.org/2000/svg}"


def test_each_picture_is_small_and_has_words_for_those_who_do_not_see_it() -> None:
    assert list(PICTURES) == ["docs/pictures/flow.svg", "docs/pictures/demo.png"]
    for path, alternative in PICTURES.items():
        assert (ROOT / path).stat().st_size < 150_000
        assert len(alternative) > 60, f"{path}: {alternative}"


def test_the_drawing_is_legible_on_a_light_and_on_a_dark_page() -> None:
    """By itself: it has a ground of its own, since a page may be dark where the system is light."""
    source = (ROOT / "docs" / "pictures" / "flow.svg").read_text("utf-8")
    drawing = ET.fromstring(source)
    assert {name.tag.removeprefix(SVG) for name in drawing} >= {"title", "desc"}
    style = drawing.findtext(f"{SVG}style") or ""
    light, dark = style.split("@media (prefers-color-scheme: dark)")
    for scheme in (light, dark):
        colors = dict(re.findall(r"(?:\.|^\s*)([\w-]+) \{[^}]*?fill: (#\w{6})", scheme, re.MULTILINE))
        for words in ("text", "small", "green"):
            for ground in ("ground", "box", "ours"):
                assert contrast(colors[words], colors[ground]) >= 4.5, (words, ground, colors)


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours, #rrggbb, by WCAG 2."""
    high, low = sorted(map(luminance, (one, other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def luminance(color: str) -> float:
    parts = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
