"""The verdicts."""

from collections.abc import Mapping

from benchmarks.results import Cell
from benchmarks.rounds import Summary
from benchmarks.targets import Judgement, judge
from tests.benchmarks.test_results import run


def judged(what: str, cells: Mapping[tuple[str, str], list[dict[str, float]]]) -> Judgement:
    rows = judge(run(*(Cell(workload, subject, rounds) for (workload, subject), rounds in cells.items())))
    return next(row for row in rows if what in row.what)


def cpu(*values: float) -> list[dict[str, float]]:
    return [{"cpu_us": value} for value in values]


def test_the_tunnel_is_compared_with_whichever_of_the_two_is_better() -> None:
    cells = {("echo-4k", "tunnel"): cpu(9, 9), ("echo-4k", "nginx"): cpu(12, 12), ("echo-4k", "haproxy"): cpu(10, 10)}
    row = judged("tunnel, 4 KiB", cells)
    assert "(haproxy)" in row.what
    assert row.measured == Summary(0.9, 0.9, 0.9)
    assert row.verdict == "met"


def test_a_miss_says_by_how_much() -> None:
    row = judged("÷ nginx", {("get", "tunnel"): cpu(50), ("get", "nginx"): cpu(10)})
    assert (row.target, row.verdict) == ("≤ 2", "missed by 150.0%")


def test_the_cost_of_metrics_is_the_gateway_beside_itself() -> None:
    cells = {("get", "tunnel"): cpu(52), ("get", "tunnel without metrics"): cpu(50)}
    row = judged("with metrics", cells)
    assert (row.target, row.verdict) == ("≤ 1.05", "met")


def test_a_minimum_is_missed_from_below() -> None:
    cells = {("callback", "tunnel"): [{"rate_per_s": 90.0}], ("callback", "direct"): [{"rate_per_s": 100.0}]}
    row = judged("Dash callback", cells)
    assert (row.target, row.verdict) == ("≥ 0.97", "missed by 7.2%")


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    rows = judge(run(Cell("get", "tunnel", [], "it ended")))
    assert {row.verdict for row in rows} == {"not measured"}
    assert len({row.what for row in rows}) == len(rows)


def test_the_worst_size_speaks_for_hand_off() -> None:
    cells = {
        (name, "hand-off"): cpu(value) for name, value in (("echo-100", 0.0), ("echo-4k", 0.2), ("echo-64k", 0.01))
    }
    assert judged("hand-off: gateway CPU", cells).verdict == "missed by 100.0%"
    del cells["echo-4k", "hand-off"]
    assert judged("hand-off: gateway CPU", cells).verdict == "not measured"
