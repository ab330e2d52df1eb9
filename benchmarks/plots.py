"""Plots as SVG text: bars with their spread, and lines. Pure.

No background, and greys that are legible on white and on black, since a page may be either.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from benchmarks.rounds import Summary

OURS = ("hand-off", "tunnel")

_WIDTH = 720
_STYLE = """<style>
text { font: 13px system-ui, sans-serif; fill: #7d8590; }
.title { font-size: 15px; font-weight: 600; }
text.ours { font-weight: 600; fill: #e8590c; }
.value { font-variant-numeric: tabular-nums; }
rect { fill: #868e96; opacity: .75; }
rect.ours { fill: #e8590c; opacity: 1; }
.spread { stroke: #7d8590; stroke-width: 1.5; }
.axis { stroke: #7d8590; stroke-width: 1; opacity: .4; }
polyline { fill: none; stroke: #868e96; stroke-width: 1.5; opacity: .8; }
polyline.ours { stroke: #e8590c; stroke-width: 3; opacity: 1; }
</style>"""


def bars(title: str, groups: Mapping[str, Mapping[str, Summary]]) -> str:
    """Return horizontal bars; each group has a scale of its own.

    groups: by heading, then by name; the order is kept. The thin line is the range from lowest to highest.
    """
    parts, y = [_text(0, 18, title, "title")], 30
    left, right = 130, _WIDTH - 90
    for heading, rows in groups.items():
        if heading:
            y += 26
            parts.append(_text(0, y - 6, heading, "title"))
        top = max((summary.high for summary in rows.values()), default=1) or 1
        for name, summary in rows.items():
            ours = "ours" if name in OURS else ""
            width, low, high = ((right - left) * value / top for value in (summary.median, summary.low, summary.high))
            parts += [
                _text(left - 8, y + 14, name, ours, anchor="end"),
                f'<rect x="{left}" y="{y + 3}" width="{max(width, 1):.1f}" height="14" rx="2" class="{ours}"/>',
                f'<line x1="{left + low:.1f}" x2="{left + high:.1f}" y1="{y + 10}" y2="{y + 10}" class="spread"/>',
                _text(left + max(width, high) + 8, y + 14, _short(summary.median), f"{ours} value".strip()),
            ]
            y += 22
    return _svg(y + 8, title, parts)


def lines(title: str, series: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Return lines over a logarithmic x axis. series: points (x, y) by name; those without points are left out."""
    shown = {name: points for name, points in series.items() if points}
    xs = sorted({x for points in shown.values() for x, _ in points}) or [1.0, 10.0]
    top = max((y for points in shown.values() for _, y in points), default=1) * 1.05 or 1
    left, right, upper, lower = 50, _WIDTH - 130, 40, 340

    def across(x: float) -> float:
        span = math.log(xs[-1] / xs[0]) or 1
        return left + (right - left) * math.log(x / xs[0]) / span

    def up(y: float) -> float:
        return lower - (lower - upper) * y / top

    parts = [_text(0, 18, title, "title")]
    step = _step(top)
    for tick in range(int(top / step) + 1):
        y = up(tick * step)
        parts.append(f'<line x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" class="axis"/>')
        parts.append(_text(left - 8, y + 4, _short(tick * step), "value", anchor="end"))
    parts += [_text(across(x), lower + 20, f"{x:,.0f}", "value", anchor="middle") for x in xs]
    beside = float(lower) + 15
    for name, points in sorted(shown.items(), key=lambda item: item[1][-1][1]):
        ours = "ours" if name in OURS else ""
        drawn = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in points)
        beside = min(up(points[-1][1]) + 4, beside - 15)  # names do not cover each other
        parts.append(f'<polyline points="{drawn}" class="{ours}"/>')
        parts.append(_text(across(points[-1][0]) + 8, beside, name, ours))
    parts.sort(key=lambda part: 'class="ours"' in part)  # what is drawn last is on top
    return _svg(lower + 30, title, parts)


def _svg(height: int, title: str, parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">'
    return "\n".join([head, f"<title>{escape(title)}</title>", _STYLE, *parts, "</svg>", ""])


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" class="{kind}" text-anchor="{anchor}">{escape(text)}</text>'


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _step(top: float) -> float:
    """Return a round distance of grid lines: four to nine of them."""
    power: float = 10 ** math.floor(math.log10(top / 4))
    return next(power * factor for factor in (1, 2, 5, 10) if top / (power * factor) <= 9)
