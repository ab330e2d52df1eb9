"""From results to the tables of ``docs/performance.md``, and to the same tables in a terminal. Pure.

The page's text is written by hand; what stands between ``<!-- figures: NAME -->`` and ``<!-- end -->`` is made here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from benchmarks import plots
from benchmarks.results import Results
from benchmarks.rounds import Summary
from benchmarks.targets import ORDINARY, SIZES, judge

ECHO = {
    "cpu_us": "CPU µs per message",
    "rate_per_s": "messages/s",
    "p50_us": "p50 µs",
    "p99_us": "p99 µs",
}

REQUESTS = {"cpu_us": "CPU µs per request", "rate_per_s": "requests/s", "p50_us": "p50 µs", "p99_us": "p99 µs"}

COLUMNS: dict[str, dict[str, str]] = {
    **{name: ECHO for name, _ in SIZES},
    "scale": {
        "idle_kib": "KiB per idle connection",
        "further_kib": "of the last 4,000",
        "cpu_10_us": "CPU µs per message with 10",
        "cpu_100_us": "100",
        "cpu_1000_us": "1,000",
        "cpu_5000_us": "5,000 connections",
        "growth": "5,000 ÷ 10",
    },
    "handshakes": {"cpu_us": "CPU µs per handshake", "per_cpu_s": "handshakes per CPU second", "p50_us": "p50 µs"},
    "push": {"cpu_us": "CPU µs per delivery", "p50_us": "p50 µs", "p99_us": "p99 µs"},
    "get": {
        "cpu_us": "CPU µs per request",
        "rate_per_s": "requests/s",
        "p50_us": "p50 µs",
        "p99_us": "p99 µs",
        "dials_per_request": "dials per request",
    },
    **dict.fromkeys((name for name, _ in ORDINARY), REQUESTS),
    "callback": {"cpu_us": "CPU µs per callback", "rate_per_s": "callbacks/s", "p50_us": "p50 µs", "p99_us": "p99 µs"},
    "down": {"cpu_s": "CPU s", "growth_mib": "MiB of growth", "rate_mib_per_s": "MiB/s"},
    "up": {"cpu_s": "CPU s", "growth_mib": "MiB of growth", "rate_mib_per_s": "MiB/s"},
    "fan-out": {
        "cpu_us": "CPU µs per delivery",
        "rate_per_s": "deliveries/s",
        "p50_us": "p50 µs",
        "p99_us": "p99 µs",
        "idle_kib": "KiB per idle subscriber",
    },
    "cuts": {"delivered_percent": "% delivered", "doubles": "delivered twice", "published": "publications"},
}
"""Which figures of a workload are shown, and under which heading."""

BUSY = 0.9
"""Share of a core from which on its users count as the limit of a throughput."""

NO_PROXY = ("direct", "service", "hand-off", "hand-off before")
"""Where no proxy is in the path of what is counted."""

_BLOCK = re.compile(r"(<!-- figures: ([a-z0-9-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def page(text: str, results: Results) -> str:
    """Return the page with every block of figures made anew. KeyError for a block that nobody knows."""
    blocks = {
        "judged": judged(results),
        "machine": machine(results),
        "subjects": subjects(results),
        **{name: table(results, name) for name in COLUMNS},
    }
    return _BLOCK.sub(lambda match: f"{match[1]}{blocks[match[2]]}\n{match[3]}", text)


def drawings(results: Results) -> dict[str, str]:
    """Return the page's plots by file name."""
    return {
        "echo.svg": plots.bars(
            "Proxy CPU per echoed message, µs",
            {size: _bars(results, workload, "cpu_us") for workload, size in SIZES},
        ),
        "idle.svg": plots.bars(
            "Proxy memory per idle WebSocket at 5,000, KiB", {"": _bars(results, "scale", "idle_kib")}
        ),
        "get.svg": plots.bars("Proxy CPU per small GET, µs", {"": _bars(results, "get", "cpu_us")}),
        "scale.svg": plots.lines(
            "Proxy CPU per echoed message by open WebSockets, µs",
            {
                subject.name: [
                    (count, summary.median)
                    for count in (10, 100, 1000, 5000)
                    if (summary := results.summary("scale", subject.name, f"cpu_{count}_us"))
                ]
                for subject in results.subjects
            },
        ),
    }


def judged(results: Results, *, is_part: bool = False) -> str:
    """Return the table of expectations. is_part: a run of a few workloads; leave out what they do not measure."""
    rows = [
        [row.what, row.target, _spread(row.measured), row.verdict]
        for row in judge(results)
        if row.measured or not is_part
    ]
    return _grid(["", "target", "measured", "verdict"], rows) if rows else ""


def table(results: Results, workload: str) -> str:
    """Return the figures of one workload, in the order of the subjects."""
    columns = {
        figure: title
        for figure, title in COLUMNS[workload].items()
        if any(_figure(results, workload, subject.name, figure) for subject in results.subjects)
    }
    rows = []
    for subject in results.subjects:
        error = results.error(workload, subject.name)
        cells = [_figure(results, workload, subject.name, figure) for figure in columns]
        if error is not None:
            rows.append([subject.name, f"failed: {_plain(error)}", *[""] * (len(columns) - 1)])
        elif any(cells):
            marks = [_bound(results, workload, subject.name, figure) for figure in columns]
            rows.append([subject.name, *(mark + _spread(cell) for mark, cell in zip(marks, cells, strict=True))])
    return _grid(["", *columns.values()], rows) if rows else "Not measured."


def machine(results: Results) -> str:
    """Return where and when the figures were taken."""
    about = results.machine
    core = "the proxy on a core of its own, load and origin on another" if results.is_pinned else "one core for all"
    return (
        f"{results.date}, {results.seconds / 60:.0f} minutes; {about['cpu']}, {about['memory']}; {about['system']}; "
        f"{about['python']}; {core}; windows of {results.window:g} s."
    )


def subjects(results: Results) -> str:
    """Return who was measured, in which version, with which access log; and who was not, and why."""
    rows = [
        [subject.name, subject.version, f"**missing:** {_plain(subject.missing)}" if subject.missing else subject.log]
        for subject in results.subjects
    ]
    return _grid(["", "version", "access log"], rows)


def _figure(results: Results, workload: str, subject: str, figure: str) -> Summary | None:
    if figure == "per_cpu_s":
        cost = results.summary(workload, subject, "cpu_us")
        return Summary(1e6 / cost.median, 1e6 / cost.high, 1e6 / cost.low) if cost and cost.low > 0 else None
    return results.summary(workload, subject, figure)


def _bound(results: Results, workload: str, subject: str, figure: str) -> str:
    """Return the mark of a throughput that the load has limited: its core was busy, the proxy's was not."""
    proxy, load = (results.summary(workload, subject, busy) for busy in ("proxy_busy", "load_busy"))
    if figure != "rate_per_s" or workload == "callback" or subject in NO_PROXY or proxy is None or load is None:
        return ""
    return "≥ " if proxy.median < BUSY < load.median else ""


def _bars(results: Results, workload: str, figure: str) -> dict[str, Summary]:
    found = {subject.name: results.summary(workload, subject.name, figure) for subject in results.subjects}
    shown = {name: summary for name, summary in found.items() if summary and name not in ("direct", "service")}
    return dict(sorted(shown.items(), key=lambda item: item[1].median))


def _spread(summary: Summary | None) -> str:
    if summary is None:
        return ""
    if summary.low == summary.high:
        return number(summary.median)
    return f"{number(summary.median)} ({number(summary.low)}-{number(summary.high)})"


def number(value: float) -> str:
    """Return three significant digits, with commas in large ones."""
    if value and abs(value) < 0.01:
        return f"{value:.1g}" if abs(value) >= 0.001 else "0.00"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _plain(text: str) -> str:
    """Return text that fits into a cell."""
    return " ".join(text.replace("|", "/").split())[:160]


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table with aligned columns, so that it can be read as it is."""
    lines = [head, *rows]
    widths = [max(3, *(len(line[column]) for line in lines)) for column in range(len(head))]

    def written(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

    return "\n".join([written(head), "|" + "|".join("-" * (width + 2) for width in widths) + "|", *map(written, rows)])
