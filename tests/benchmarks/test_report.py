"""The tables; and that the page in the repository is what the results make of it."""

import re

import pytest

from benchmarks import report, results
from benchmarks.__main__ import PAGE, PLOTS, RESULTS
from benchmarks.results import Cell
from benchmarks.workloads import ALL
from tests.benchmarks.test_results import run


def test_the_page_is_what_the_results_make_of_it() -> None:
    found = results.load(RESULTS.read_text("utf-8"))
    assert PAGE.read_text("utf-8") == report.page(PAGE.read_text("utf-8"), found), "python -m benchmarks --report"
    drawn = {path.name: path.read_text("utf-8") for path in PLOTS.glob("*.svg")}
    assert drawn == report.drawings(found)


def test_the_page_shows_every_workload_and_every_plot() -> None:
    text = PAGE.read_text("utf-8")
    for workload in ALL:
        assert f"<!-- figures: {workload.name} -->" in text
    assert sorted(re.findall(r"\(performance/([\w.]+)\)", text)) == sorted(path.name for path in PLOTS.glob("*.svg"))


def test_every_workload_has_its_columns() -> None:
    assert set(report.COLUMNS) == {workload.name for workload in ALL}


def test_a_table_names_what_failed_and_leaves_out_what_was_not_measured() -> None:
    found = run(Cell("get", "tunnel", [{"cpu_us": 1.0, "p50_us": 9.0}]), Cell("get", "nginx", [], "it | ended"))
    assert report.table(found, "get").splitlines() == [
        "|        | CPU µs per request | p50 µs |",
        "|--------|--------------------|--------|",
        "| tunnel | 1.00               | 9.00   |",
        "| nginx  | failed: it / ended |        |",
    ]
    assert report.table(found, "up") == "Not measured."


def test_a_figure_of_several_rounds_has_its_spread() -> None:
    found = run(Cell("up", "tunnel", [{"cpu_s": 1.0}, {"cpu_s": 3.0}, {"cpu_s": 2.0}]))
    assert "| 2.00 (1.00-3.00) |" in report.table(found, "up")


def test_a_throughput_that_the_load_has_limited_is_a_lower_bound() -> None:
    rounds = [{"cpu_us": 9.0, "rate_per_s": 50000.0, "proxy_busy": 0.8, "load_busy": 1.0}]
    assert "≥ 50,000" in report.table(run(Cell("echo-100", "tunnel", rounds)), "echo-100")
    rounds[0].update(proxy_busy=1.0, load_busy=0.7)
    assert "≥" not in report.table(run(Cell("echo-100", "tunnel", rounds)), "echo-100")


def test_handshakes_are_counted_by_the_second_of_cpu() -> None:
    found = run(Cell("handshakes", "tunnel", [{"cpu_us": 250.0}]))
    assert "4,000" in report.table(found, "handshakes")


def test_a_part_of_a_run_is_judged_by_its_part() -> None:
    found = run(Cell("up", "tunnel", [{"growth_mib": 1.0}]))
    assert len(report.judged(found, is_part=True).splitlines()) == 3
    assert len(report.judged(found).splitlines()) > 10
    assert report.judged(run(), is_part=True) == ""


def test_missing_peers_are_named_with_the_reason() -> None:
    assert "**missing:** not installed" in report.subjects(run())


def test_an_unknown_block_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        report.page("<!-- figures: nonsense -->\n<!-- end -->", run())


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0.00"),
        (0.0004, "0.00"),
        (0.0042, "0.004"),
        (0.25, "0.25"),
        (12.34, "12.3"),
        (123.4, "123"),
        (54321, "54,321"),
    ],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert report.number(value) == text
