"""`python -m benchmarks`: lanes, failures, the floor of a burst, and the page that is written from its JSON."""

import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import pytest

from benchmarks import command, day_simulation, fast_remote, page
from benchmarks.burst import floor_seconds
from benchmarks.figures import Figure, Floor, Series, Target
from benchmarks.registry import TINY, Bench, Benchmark, Result, Sizes
from hack.limits import HANG_SECONDS
from tests.support.waiting import eventually

MACHINE = {"processor": "a processor", "cores": "2"}


def figure(benchmark: str, name: str = "a figure", value: float = 1.0) -> Figure:
    floor = Floor(values=(0.5,), source="a plain loop")
    return Figure(benchmark=benchmark, name=name, unit="s", values=(value,), floor=floor, target=Target(at_most=2))


def run(benchmarks: Mapping[str, Benchmark], *phases: list[list[str]]) -> command.Report:
    return command.Runner(TINY, benchmarks).run(phases)


def test_lanes_of_a_phase_run_at_the_same_time() -> None:
    barrier = threading.Barrier(2)

    def meets(bench: Bench) -> Iterator[Result]:
        barrier.wait(HANG_SECONDS)
        yield figure("one")

    report = run({"one": meets, "two": meets}, [["one"], ["two"]])
    assert report.failures == []
    assert command.overlaps(report.times) == {"one": ["two"], "two": ["one"]}


def test_benchmarks_of_a_lane_run_one_after_the_other() -> None:
    report = run({name: lambda bench: iter([]) for name in ("one", "two")}, [["one", "two"]])
    assert report.times["one"][1] <= report.times["two"][0]


def test_work_that_uses_a_whole_core_takes_turns_and_urgent_work_comes_first() -> None:
    bench = Bench(TINY)
    order: list[str] = []
    threads: list[threading.Thread] = []

    def work(name: str, *, urgent: bool) -> None:
        with bench.cpu_bound(urgent=urgent):
            order.append(name)

    with bench.cpu_bound():
        for name in ("first", "second", "urgent"):
            threads.append(threading.Thread(target=work, args=(name,), kwargs={"urgent": name == "urgent"}))
            threads[-1].start()
            eventually(lambda: len(bench._waiting) == len(threads), f"{name} waits")
        assert order == []
    for thread in threads:
        thread.join(HANG_SECONDS)
    assert order == ["urgent", "first", "second"]


def test_failed_benchmark_does_not_stop_the_others_and_keeps_what_it_measured(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fails(bench: Bench) -> Iterator[Result]:
        yield figure("one")
        raise RuntimeError("the API server ended")

    report = run({"one": fails, "two": lambda bench: iter([figure("two")])}, [["one", "two"]])
    assert [measured.benchmark for measured in report.figures] == ["one", "two"]
    assert [failure.reason for failure in report.failures] == ["RuntimeError: the API server ended"]
    assert "one failed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("measured", "code"), [([figure("small-run", value=9.0)], 0), ([figure("small-run")], 0), (None, 1)]
)
def test_only_a_failed_measurement_changes_the_exit_code(
    measured: list[Figure] | None, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def benchmark(bench: Bench) -> Iterator[Result]:
        if measured is None:
            raise RuntimeError("nothing was measured")
        yield from measured

    monkeypatch.setattr(command, "BENCHMARKS", {"small-run": benchmark})
    monkeypatch.setattr(command.Runner.__init__, "__defaults__", ({"small-run": benchmark},))
    file = tmp_path / "dist" / "bench.json"
    assert command.main(["--only", "small-run", "--json", str(file)]) == code
    document = json.loads(file.read_text())
    assert len(document["figures"]) == len(measured or [])
    assert len(document["failures"]) == code


def test_unknown_benchmark_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        command.main(["--only", "smal-run"])
    assert raised.value.code == 2
    assert "there is no benchmark smal-run" in capsys.readouterr().err


def test_every_benchmark_is_in_one_lane() -> None:
    planned = [name for lanes in command.PHASES for lane in lanes for name in lane]
    assert sorted(planned) == sorted(command.BENCHMARKS)
    assert command.phases_of([]) == [[list(lane) for lane in lanes] for lanes in command.PHASES]
    assert command.phases_of(["idle"]) == [[["idle"]]]


@pytest.mark.parametrize(
    ("runs_of_tenant", "runs_of_brand", "seconds"),
    [
        (1, 1, 1.15),
        (50, 50, 49 + 1.15),  # one query a second
        (50, 1000, 9 * 60 + 1.15),  # the tenth hundred imports
        (1, 100, 1.15),
        (1, 101, 60 + 1.15),
    ],
)
def test_floor_of_a_burst_follows_from_the_limits(runs_of_tenant: int, runs_of_brand: int, seconds: float) -> None:
    assert floor_seconds(runs_of_tenant, runs_of_brand, 1.15) == pytest.approx(seconds)


def test_result_of_the_large_run_has_30_percent_that_are_not_new_people() -> None:
    cells = list(fast_remote.cells(1000))
    addresses = {cell.lower() for cell in cells if "@" in cell}
    assert len(cells) == 1000
    assert len(addresses) == fast_remote.people(1000) == 700
    assert (cells.count(""), sum("@" in cell for cell in cells)) == (100, 800)


def test_schedules_of_a_simulated_day_have_weekly_daily_and_hourly_slots() -> None:
    slots = [day_simulation.slots_of(day_simulation.schedule_of(number)) for number in range(210)]
    assert {"Weekly": sum(slots[n] for n in range(210) if n % 10 < 6)} == {"Weekly": 18}
    assert {slots[n] for n in range(210) if 6 <= n % 10 < 9} == {1}
    assert {slots[n] for n in range(210) if n % 10 == 9} == {6}


def results(sizes: Sizes) -> dict[str, object]:
    report = command.Report(
        [figure("idle", "10,000 idle exporters: settled memory", 90.0)], [], [], {"idle": (0.0, 60.0)}
    )
    report.series.append(
        Series(benchmark="idle", name="memory", unit="MB", size="exporters", points=((10.0, 80.0), (110.0, 90.0)))
    )
    document: dict[str, object] = json.loads(json.dumps(command.as_json(report, MACHINE, sizes)))
    return document


def test_page_gets_the_figures_between_its_markers() -> None:
    text = "Before.\n\n<!-- bench: sizing -->\n\nOld.\n\n<!-- end of bench -->\n\nAfter.\n"
    written = page.filled(text, page.Results.read(results(Sizes())))
    assert written.startswith("Before.\n\n<!-- bench: sizing -->\n\n| What |")
    assert written.endswith("|\n\n<!-- end of bench -->\n\nAfter.\n")
    assert "| The process, with all its exporters at rest | 90 MB |" in written
    assert "| Memory for one more exporter at rest | 100 kB |" in written
    assert "| CPU time of a run in the burst that takes the most | not measured |" in written
    assert "Old." not in written
    assert page.filled(written, page.Results.read(results(Sizes()))) == written


def test_every_marker_of_the_page_has_a_text() -> None:
    markers = [found[2] for found in page.MARKED.finditer(page.PAGE.read_text())]
    assert sorted(markers) == sorted(page.BLOCKS)
    for block in page.BLOCKS.values():
        assert block(page.Results.read(results(Sizes())))


def test_page_describes_every_benchmark() -> None:
    measured = page.PAGE.read_text().partition("## What is measured")[2].partition("\n## ")[0]
    rows = "".join(line.split("|")[1] for line in measured.splitlines() if line.startswith("| `"))
    assert [name for name in command.BENCHMARKS if f"`{name}`" not in rows] == []


def test_page_rejects_figures_of_other_sizes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = page.PAGE.read_text()
    file = tmp_path / "bench.json"
    file.write_text(json.dumps(results(TINY)))
    assert page.main([str(file)]) == 1
    assert "other sizes" in capsys.readouterr().err
    assert page.PAGE.read_text() == before


def test_tiny_sizes_are_smaller_than_those_of_make_bench() -> None:
    tiny, real = asdict(TINY), asdict(Sizes())
    assert [name for name in tiny if tiny[name] >= real[name]] == []


def test_committed_page_says_why_each_figure_misses_its_target() -> None:
    text = page.PAGE.read_text()
    missed = {line.split("|")[1].strip() for line in text.splitlines() if "| off target |" in line}
    reasons = text.partition(page.OFF_TARGET_HEADING)[2].partition("\n## ")[0]
    assert missed
    assert {name for name in missed if f"- `{name}`" not in reasons} == set()


def test_page_reports_a_figure_off_target_without_a_reason() -> None:
    missed = Figure(benchmark="slow", name="run", unit="s", values=(9.0,), target=Target(at_most=1))
    results = page.Results({}, [missed], [])
    heading = page.OFF_TARGET_HEADING
    assert page.unexplained(f"{heading}\n\n- `other`: a reason.\n\n## Next\n\n`slow`\n", results) == ["slow"]
    assert page.unexplained(f"{heading}\n\n- `slow`: a reason.\n", results) == []


def test_sizing_takes_the_burst_that_costs_the_most() -> None:
    costs = dict(zip(page.BURSTS, (0.05, 0.07, 0.06), strict=True))
    measured = [
        Figure(benchmark=name, name="CPU per run", unit="s", values=(cost,), floor=None, target=None)
        for name, cost in costs.items()
    ]
    assert "| CPU time of a run in the burst that takes the most | 70 ms |" in page.sizing(
        page.Results({}, measured, [])
    )
    assert "takes the most | not measured |" in page.sizing(page.Results({}, measured[1:], []))
