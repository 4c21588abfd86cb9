"""The benchmark's arithmetic, and one run of it."""

import json

import pytest
import torch

from common.utils.timing import Spread, seconds_each, spread
from tests.scripts import NET, run
from tool import benchmark
from tool.speed.tables import cell


def test_spread_is_the_median_between_the_quartiles():
    assert spread([4.0, 1.0, 3.0, 2.0, 5.0]) == Spread(3.0, 2.0, 4.0)
    assert spread([7.0]) == Spread(7.0, 7.0, 7.0)
    assert Spread(0.5, 0.25, 1.0).inverse(of=2) == Spread(4.0, 2.0, 8.0)


def test_what_is_timed_is_run_in_turn_after_a_warm_up():
    order = []
    calls = {name: lambda name=name: order.append(name) for name in "ab"}
    times = seconds_each(calls, torch.device("cpu"), rounds=2, repeats=3)
    assert order == list("aaabbb") * 5
    assert all(0 <= value.low <= value.median <= value.high < 0.1 for value in times.values())


def test_seconds_are_of_one_call(monkeypatch):
    clock = iter(range(0, 1000, 6))
    monkeypatch.setattr("common.utils.timing.time.perf_counter", lambda: next(clock))
    times = seconds_each({"": lambda: None}, torch.device("cpu"), rounds=4, repeats=3)
    assert times[""] == Spread(2.0, 2.0, 2.0)


def test_numbers_in_a_cell():
    assert cell(Spread(1.924, 1.9, 1.951)) == "1.92 [1.90, 1.95]"
    assert cell(Spread(12345.6, 999.2, 2e4)) == "12,346 [999, 20,000]"


def test_one_command_makes_the_table(tmp_path, capsys):
    sizes = ("--batch", 2, "--train_batch", 2, "--rounds", 1, "--pictures", 2)
    options = ("--preset", "lgnet", "--steps", "--stream", "--gpu", "cpu", "--output", tmp_path)
    assert run(benchmark, *sizes, *options, *NET) == 0
    said = capsys.readouterr().out
    tables = [table.splitlines() for table in said.split("\n\n") if table.startswith("| ")]
    assert [table[0].split("|")[1].strip() for table in tables] == [
        "",
        "lgnet, inference",
        "end to end, pictures/s",
        "float16",
    ]
    assert all(len({len(line) for line in table}) == 1 for table in tables)
    found = json.loads((tmp_path / "benchmark_cpu.json").read_text())
    assert (tmp_path / "benchmark_cpu.md").read_text() in said
    median, low, high = found["inference"]["lgnet"]["2"]
    assert 0 < low <= median <= high
    assert len(found["inference"]) == 3 and found["training"]["lgnet"]["pictures"] == 2
    half = found["float16"]
    assert half["difference, mm"] == pytest.approx(half["MPVPE float16, mm"] - half["MPVPE float32, mm"])
    assert half["hands"] >= 2 and half["vertices apart, mm"] > abs(half["difference, mm"])


@pytest.mark.parametrize("wrong", [("--rounds", 0), ("--batch", "1,x"), ("--preset", "nothing")])
def test_a_benchmark_of_nothing(wrong, capsys):
    assert run(benchmark, *wrong, "--gpu", "cpu") == 2
    assert wrong[0] in capsys.readouterr().err or wrong[0] == "--preset"
