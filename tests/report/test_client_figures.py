from collections.abc import Callable
from pathlib import Path

from fedsonar.report.client_figures import kept_plots, landed_plots, poison_plot
from fedsonar.report.reading import read_run, read_runs

MakeRun = Callable[..., Path]


def test_the_heat_map_shows_shares_and_marks_affected_clients(make_run: MakeRun) -> None:
    kept = lambda round_, client: None if client == 3 else float(client == round_ % 2)  # noqa: E731
    run = read_run(make_run(clients=4, affected=2, rounds=2, shares=kept))
    (plot,) = kept_plots([run])
    heat, marks = plot.figure.data
    assert list(heat.x) == [1, 2]
    assert list(heat.y) == ["0", "1", "2", "3"]
    assert [list(row) for row in heat.z] == [[0, 1], [1, 0], [0, 0], [None, None]]
    assert list(marks.y) == ["0", "1"]
    assert marks.text[0] == "16 of 100"
    assert "Dropped in rounds: client 0 in 1, client 1 in 1, client 2 in 2." in plot.alt
    assert plot.alt.endswith("Affected clients: 0, 1.")


def test_without_recorded_shares_there_is_no_heat_map(make_run: MakeRun) -> None:
    paths = [make_run("a", shares=lambda round_, client: None), make_run("b", name="kept")]
    (plot,) = kept_plots(read_runs(paths))
    assert (plot.key, plot.title) == ("kept-2", "What the rule kept: 2 · kept")


def test_bars_count_the_poisoned_rows(make_run: MakeRun) -> None:
    runs = read_runs([make_run("a"), make_run("b", affected=1, poisoned_rows=7, clients=3)])
    plot = poison_plot(runs)
    (bar,) = plot.figure.data
    assert list(bar.y) == [7, 0, 0]
    assert bar.text[0] == "7 of 100 rows"
    assert plot.alt == "Poisoned rows per client. 2 · b: client 0 7."
    assert poison_plot(runs[:1]).figure is None


def test_the_map_of_poison_counts_rows_by_client_and_source(make_run: MakeRun) -> None:
    run = read_run(make_run(clients=2, affected=1, poisoned_rows=5, sources=("north", "south")))
    (plot,) = landed_plots([run])
    (heat,) = plot.figure.data
    assert list(heat.x) == ["north", "south"]
    assert [list(row) for row in heat.z] == [[3, 2], [0, 0]]
    assert heat.text[0][0] == "3 of 50 rows"
    assert plot.alt == "Poisoned rows by source: north 3, south 2."


def test_there_is_no_map_without_sources_or_poison(make_run: MakeRun) -> None:
    many = tuple(str(i) for i in range(50))
    paths = [make_run("a"), make_run("b", affected=1), make_run("c", affected=1, sources=many)]
    assert landed_plots(read_runs(paths)) == ()
