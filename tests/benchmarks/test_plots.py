"""The drawings are well-formed, whatever there is to draw."""

import xml.etree.ElementTree as ET

import pytest

from benchmarks import plots
from benchmarks.rounds import Summary

SVG = "{http://www.w3.org/2000/svg}"


def test_ours_is_drawn_to_be_seen_and_each_bar_has_its_name_and_figure() -> None:
    drawn = ET.fromstring(plots.bars("A < B", {"100 B": {"tunnel": Summary(10, 9, 12), "a & b": Summary(20, 20, 20)}}))
    assert [text.text for text in drawn.iter(f"{SVG}text")] == ["A < B", "100 B", "tunnel", "10", "a & b", "20"]
    widths = [float(rect.get("width", "0")) for rect in drawn.iter(f"{SVG}rect")]
    assert widths[1] == pytest.approx(2 * widths[0], rel=0.01)
    assert [rect.get("class") for rect in drawn.iter(f"{SVG}rect")] == ["ours", ""]


def test_lines_are_drawn_over_decades() -> None:
    drawn = ET.fromstring(plots.lines("L", {"tunnel": [(10, 5.0), (100, 5.0), (1000, 5.0)], "nobody": []}))
    (line,) = drawn.iter(f"{SVG}polyline")
    xs = [float(point.split(",")[0]) for point in (line.get("points") or "").split()]
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1], abs=0.2)
    assert "\n.ours" not in plots.lines("", {}), "a line that is filled is an area"
    assert "nobody" not in ET.tostring(drawn, "unicode")


@pytest.mark.parametrize(
    "text",
    [
        plots.bars("", {}),
        plots.bars("", {"": {}}),
        plots.bars("", {"": {"x": Summary(0, 0, 0)}}),
        plots.lines("", {}),
        plots.lines("", {"x": [(10, 0.0)]}),
    ],
)
def test_nothing_is_drawn_too(text: str) -> None:
    ET.fromstring(text)
