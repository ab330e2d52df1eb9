"""What is kept of a run can be read again."""

from benchmarks import results
from benchmarks.results import Cell, Results, Subject
from benchmarks.rounds import Summary


def run(*cells: Cell) -> Results:
    subjects = [Subject("tunnel", "1.0", "a line", None), Subject("nginx", "", "", "not installed")]
    return Results("2026-01-02", 61, True, 1.0, {"cpu": "2 x"}, subjects, list(cells))


def test_results_survive_the_file() -> None:
    found = run(Cell("get", "tunnel", [{"cpu_us": 1.5}]), Cell("get", "nginx", [], "it ended"))
    assert results.load(results.dump(found)) == found


def test_each_cell_is_a_line_so_that_two_runs_can_be_compared() -> None:
    text = results.dump(run(Cell("get", "tunnel", [{"cpu_us": 1.5}]), Cell("get", "nginx")))
    assert sum('"workload"' in line for line in text.splitlines()) == 2


def test_a_figure_is_kept_with_the_digits_that_it_has() -> None:
    cell = Cell("get", "tunnel")
    cell.add({"cpu_us": 12.3456789})
    assert cell.rounds == [{"cpu_us": 12.346}]


def test_a_cell_that_broke_off_counts_for_nothing() -> None:
    found = run(Cell("get", "tunnel", [{"cpu_us": 1.0}], "it ended"))
    assert found.values("get", "tunnel", "cpu_us") == []
    assert found.summary("get", "tunnel", "cpu_us") is None
    assert found.error("get", "tunnel") == "it ended"


def test_a_figure_that_only_some_rounds_have_is_summarised_from_those() -> None:
    found = run(Cell("get", "tunnel", [{"cpu_us": 1.0}, {}, {"cpu_us": 3.0}]))
    assert found.summary("get", "tunnel", "cpu_us") == Summary(2, 1, 3)
    assert found.summary("get", "nginx", "cpu_us") is None
    assert found.error("get", "nginx") is None
