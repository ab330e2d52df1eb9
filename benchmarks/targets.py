"""What is expected of the gateway, and whether a run has shown it. Pure.

Ratios are taken round by round (both of a round have met the same machine); the median of them is judged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.results import Results
from benchmarks.rounds import Summary, ratio, summarise

ORDINARY = (("chunked", "chunked POST"), ("expect", "POST that expects 100"), ("events", "event stream"))
"""What needs more than the fast path."""

SIZES = (("echo-100", "100 B"), ("echo-4k", "4 KiB"), ("echo-64k", "64 KiB"))


@dataclass(frozen=True)
class Judgement:
    """One row of the table. measured: None where the run has no figure for it."""

    what: str
    bound: float
    is_floor: bool
    measured: Summary | None

    @property
    def target(self) -> str:
        """The bound, in words."""
        return f"{'≥' if self.is_floor else '≤'} {self.bound:g}"

    @property
    def verdict(self) -> str:
        """``met``, or by how much it was missed."""
        if self.measured is None:
            return "not measured"
        value = self.measured.median
        if value >= self.bound if self.is_floor else value <= self.bound:
            return "met"
        return f"missed by {abs(value / self.bound - 1):.1%}"


def judge(results: Results) -> list[Judgement]:
    """Return every expectation with what the run says about it."""
    return list(_judgements(results))


def _judgements(results: Results) -> Iterator[Judgement]:
    def values(workload: str, subject: str, figure: str) -> list[float]:
        return results.values(workload, subject, figure)

    def row(what: str, bound: float, measure: Callable[[], Summary], *, is_floor: bool = False) -> Judgement:
        try:
            return Judgement(what, bound, is_floor, measure())
        except ValueError:  # one of the two was not measured
            return Judgement(what, bound, is_floor, None)

    def against(workload: str, figure: str, other: str, *, ours: str = "tunnel") -> Callable[[], Summary]:
        return lambda: ratio(values(workload, ours, figure), values(workload, other, figure))

    for workload, size in SIZES:
        medians = {name: results.summary(workload, name, "cpu_us") for name in ("nginx", "haproxy")}
        known = {name: summary.median for name, summary in medians.items() if summary}
        best = min(known, key=known.__getitem__, default="nginx")
        what = f"tunnel, {size}: CPU per echoed message ÷ the better of nginx and HAProxy ({best})"
        yield row(what, 1.0, against(workload, "cpu_us", best))
    yield row(
        "tunnel: KiB of memory per idle connection at 5,000",
        4.4,
        lambda: summarise(values("scale", "tunnel", "idle_kib")),
    )
    yield row(
        # Of an idle gateway, 0.3 ms a second, each of 5,000 to 20,000 messages would seem to take its share.
        "hand-off: gateway CPU per echoed message, µs, the worst size (an idle gateway's own is up to 0.1)",
        0.1,
        lambda: max(
            (summarise(values(workload, "hand-off", "cpu_us")) for workload, _ in SIZES), key=lambda s: s.median
        ),
    )
    yield row(
        "hand-off: KiB of gateway memory per socket, from 1,000 to 5,000",
        0.2,
        lambda: summarise(values("scale", "hand-off", "further_kib")),
    )
    for workload, size in SIZES:
        yield row(
            f"hand-off, {size}: messages/s ÷ a direct connection to the service",
            0.97,
            against(workload, "rate_per_s", "service", ours="hand-off"),
            is_floor=True,
        )
        yield row(
            f"hand-off, {size}: p50 ÷ a direct connection to the service",
            1.05,
            against(workload, "p50_us", "service", ours="hand-off"),
        )
    yield row("small GET: CPU ÷ nginx", 2.0, against("get", "cpu_us", "nginx"))
    yield row("small GET: CPU ÷ nginx, the goal", 1.5, against("get", "cpu_us", "nginx"))
    for other in ("traefik", "caddy", "chp"):
        yield row(f"small GET: CPU ÷ {other}", 1.0, against("get", "cpu_us", other))
    yield row(
        "small GET: CPU with metrics, asked for every second ÷ without them",
        1.05,
        against("get", "cpu_us", "tunnel without metrics"),
    )
    for workload, what in ORDINARY:
        yield row(
            f"{what}, ordinary way: CPU µs",
            110,
            lambda name=workload: summarise(values(name, "tunnel", "cpu_us")),  # type: ignore[misc]
        )
    for subject, bound in (("tunnel", 300), ("hand-off", 220)):
        yield row(
            f"WebSocket handshake, {subject}: CPU µs",
            bound,
            lambda name=subject: summarise(values("handshakes", name, "cpu_us")),  # type: ignore[misc]
        )
    yield row(
        "Dash callback: requests/s ÷ without a proxy", 0.97, against("callback", "rate_per_s", "direct"), is_floor=True
    )
    for workload in ("down", "up"):
        yield row(
            f"1 GiB {workload}: MiB that the gateway grows by",
            16.0,
            lambda name=workload: summarise(values(name, "tunnel", "growth_mib")),  # type: ignore[misc]
        )
        yield row(f"1 GiB {workload}: CPU ÷ nginx unbuffered", 1.5, against(workload, "cpu_s", "nginx unbuffered"))
    yield row(
        "tunnel: cost of a message with 5,000 connections ÷ with 10",
        1.3,
        lambda: summarise(values("scale", "tunnel", "growth")),
    )
    yield row("hub: CPU per delivery ÷ ws on Node", 1.0, against("fan-out", "cpu_us", "ws on Node", ours="hub"))
    loop = against("fan-out", "cpu_us", "FastAPI loop", ours="hub")
    yield row("hub: CPU per delivery ÷ a send_text loop in FastAPI", 0.5, loop)
    yield row("hub: KiB of memory per idle subscriber", 12, lambda: summarise(values("fan-out", "hub", "idle_kib")))
    yield row(
        "hub: p99 of a delivery at 20,000 deliveries/s, ms",
        50,
        lambda: summarise([value / 1000 for value in values("fan-out", "hub", "p99_us")]),
    )
    yield row(
        "hub: % delivered where connections break for 2 s, again and again",
        100,
        lambda: summarise(values("cuts", "hub", "delivered_percent")),
        is_floor=True,
    )
