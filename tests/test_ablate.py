"""Ablations: what a command line means, the table's arithmetic, and tiny runs from end to end."""

import json
from pathlib import Path

import pytest

from common.eval.catalogue import Key, Score
from common.eval.results import Results
from common.utils.errors import UserError
from common.utils.files import write_json
from tests.made_results import make_results
from tests.scripts import output_in, run, settings
from tool.ablation import ablate, runs, table
from tool.ablation.runs import Run

TINY = [*settings(backbone="resnet18", channels=16, synthetic_test=2), "--gpu", "cpu", "--budget", 4]
TINY += settings(train__batch_size=2, test__batch_size=2)
BROKEN = "broken=lgnet+backbone_weights=nowhere.pth"


def test_budgets():
    assert runs.parse_budget("4096") == 4096
    for text in (None, "", "0", "20m", "-4", "4096.5", "m"):
        with pytest.raises(UserError, match="--budget"):
            runs.parse_budget(text)


@pytest.mark.parametrize("pictures, batch", [(1, 8), (4, 2), (100, 16), (4096, 16), (4097, 3), (65536, 32)])
def test_a_schedule_spends_the_budget_in_whole_batches(pictures, batch):
    epochs, samples = runs.schedule(pictures, batch)
    assert samples % batch == 0 and 1 <= epochs <= 7
    assert abs(epochs * samples - pictures) <= max(batch, 2 * batch * (pictures // batch > 7))
    if pictures % (4 * batch) == 0:
        assert (epochs, samples) == (4, pictures // 4)


def test_a_run_has_its_own_settings_after_the_common_ones():
    one = runs.parse_run("b=lgnet_small+channels=64+detach_joints=true", ["channels=32", "sjt_blocks=3"])
    assert (one.label, one.preset) == ("b", "lgnet_small")
    model = one.config.model
    assert (model.channels, model.sjt_blocks, model.detach_joints) == (64, 3, True)
    assert runs.parse_run("eanet", []) == Run("eanet", "eanet", ())


def test_a_complete_run_is_the_command_it_names(tmp_path):
    done = runs.complete(Run("a", "quick", ()), 96, 2, "3e-4", "7", tmp_path)
    train = done.config.train
    assert (train.lr, train.seed, train.epochs) == (3e-4, 7, 3)
    assert done.config.data.synthetic_train == 32  # 16 for each of two processes, a batch each
    assert done.folder == tmp_path / "a_lr0.0003_seed7"


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["lgnet"], "--budget is missing"),
        (["lgnet", "--budget", "x"], "--budget x"),
        (["lgnett", "--budget", 4], "unknown preset 'lgnett'"),
        (["lgnet+channels=8", "--budget", 4], "label=preset"),
        (["a/b=lgnet", "--budget", 4], "label=preset"),
        (["lgnet", "lgnet=eanet", "--budget", 4], "two runs are called 'lgnet'"),
        (["lgnet", "a=lgnet+attention=paper", "--budget", 4], "the same settings"),
        (["lgnet", "quick", "--budget", 4], "same pictures"),
        (["lgnet", "--budget", 4, "--set", "train.epochs=3"], "--budget decides it"),
        (["lgnet", "--budget", 4, "--lr", "1e-3", "--set", "lr=1"], "--lr decides it"),
        (["lgnet", "--budget", 4, "--jobs", 0], "--jobs"),
        ([*TINY, "lgnet", "--seeds", "0,0"], "given twice"),
        ([*TINY, "lgnet", "--lr", "fast"], "train.lr takes float"),
        ([*TINY, "eanet", "--set", "attention=prenorm"], "eanet has no setting model.attention"),
    ],
)
def test_a_mistake_costs_one_sentence(words, sentence, tmp_path, capsys):
    assert run(ablate, *words, *output_in(tmp_path)) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and sentence in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def result_of(error: float | None) -> Results:
    results = make_results()
    results.protocols["lgnet"][Key("MPVPE")] = Score(error, 1)
    return results


def test_the_learning_rate_with_the_lowest_mean_counts():
    runs = {
        (lr, seed): Run("a", "lgnet", (f"train.lr={lr}", f"train.seed={seed}"))
        for lr in ("1e-3", "1e-4")
        for seed in (0, 1)
    }
    errors = {("1e-3", 0): 10.0, ("1e-3", 1): 16.0, ("1e-4", 0): 12.0, ("1e-4", 1): 12.5}
    results = {runs[key]: result_of(error) for key, error in errors.items()}
    assert table.best_rate(list(results), results) == [runs["1e-4", 0], runs["1e-4", 1]]
    results[runs["1e-4", 0]] = results[runs["1e-4", 1]] = result_of(None)  # nothing measured is never best
    assert table.best_rate(list(results), results) == [runs["1e-3", 0], runs["1e-3", 1]]
    assert table.best_rate([], {}) == []


def test_cells_are_means_with_spread():
    assert table.cell([result_of(10.0), result_of(16.0), result_of(None)], "MPVPE") == "13.00 (6.00)"
    assert table.cell([result_of(10.0)], "MPVPE") == "10.00"
    assert table.cell([result_of(None)], "MPVPE") == table.cell([], "MPVPE") == "-"


def test_an_epoch_trained_again_counts_once(tmp_path):
    one = runs.complete(Run("a", "lgnet", ()), 64, 1, "1e-4", "0", tmp_path)
    one.folder.mkdir()
    lines = [{"epoch": 0, "seconds": 99}, {"epoch": 0, "seconds": 60}, {"epoch": 1, "seconds": 30}]
    (one.folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert table.trained_minutes(one) == 1.5


def test_what_is_missing_is_said():
    seeds = [Run("a", "lgnet", (f"train.seed={seed}",)) for seed in range(3)]
    words = table.state(seeds, {seeds[0]: {}}, {seeds[1]: "error: too hot"})
    assert words == "lr0.0001_seed1 failed: error: too hot; lr0.0001_seed2 running"
    assert table.state(seeds[:1], {seeds[0]: {}}, {}) == "finished"


def test_a_changed_setting_is_refused_and_a_harmless_one_is_not(tmp_path):
    one = runs.complete(Run("a", "lgnet", ()), 64, 1, "1e-4", "0", tmp_path)
    write_json(one.folder / "config.json", {"config": one.config.to_dict()})
    runs.require_new_or_same([one])
    runs.require_new_or_same([Run("a", "lgnet", (*one.settings, "log_every=7"))])
    with pytest.raises(UserError, match="channels=512, now it is 64"):
        runs.require_new_or_same([Run("a", "lgnet", (*one.settings, "channels=64"))])


def test_a_dying_script_tells_how(tmp_path, monkeypatch):
    one = runs.complete(Run("a", "lgnet", ()), 64, 1, "1e-4", "0", tmp_path)
    monkeypatch.setattr(ablate.sys, "executable", "/bin/sh")
    monkeypatch.setattr(ablate.cli, "ROOT", tmp_path)
    (tmp_path / "main").mkdir()
    endings = {"exit 0": "", "echo why; exit 3": "why", "exit 1": "it printed nothing"}
    for body, words in (endings | {"kill -9 $$": "killed by signal 9"}).items():
        (tmp_path / "main" / "train.py").write_text(f"{body}\n")
        assert ablate.call(one, "train.py") == words


@pytest.fixture(scope="module")
def ablated(tmp_path_factory) -> tuple[Path, list]:
    """A tiny network and one that cannot start, side by side: the folder and the first one's command."""
    output = tmp_path_factory.mktemp("ablated")
    command = [*TINY, *output_in(output), "--exp", "tiny", "lgnet"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        assert run(ablate, "--jobs", 2, "--keep", *command, BROKEN) == 1
    return output / "tiny", command


def cells(folder: Path) -> dict[str, list[str]]:
    rows = [line for line in (folder / "table.md").read_text().splitlines() if line.startswith("| ")]
    split = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    return {row[0]: row[1:] for row in split}


def measured(folder: Path) -> dict[str, str]:
    """The cells of the tiny network that do not depend on the machine's mood."""
    rows = cells(folder)
    row = dict(zip(rows["run"], rows["lgnet"], strict=True))
    del row["forward, ms"]  # timed anew whenever the command starts
    return row


def test_a_run_goes_on_where_another_fails(ablated):
    folder, _ = ablated
    rows = cells(folder)
    assert rows["broken"][-1].startswith("failed: error: ") and "nowhere.pth" in rows["broken"][-1]
    metrics = json.loads((folder / "lgnet_lr0.0001_seed0/result/epoch_1_synthetic/metrics.json").read_text())
    row = dict(zip(rows["run"], rows["lgnet"], strict=True))
    error = metrics["protocols"]["lgnet"]["MPJPE"]["final"]["overall"]["value"]
    assert row["MPJPE, mm"] == f"{error:.2f}"
    overlap = metrics["shared"]["IoU_both"]["final"]["overall"]["value"]
    assert row["IoU_both, share"] == f"{overlap:.4f}"
    assert (row["samples"], row["state"]) == ("4", "finished")
    assert 0 < float(row["parameters, M"]) < 100 and float(row["forward, ms"]) > 0
    dump = folder / "lgnet_lr0.0001_seed0/model_dump"
    assert [path.name for path in dump.iterdir()] == ["snapshot_1.pth"]  # of two epochs


def test_the_same_command_does_only_what_is_missing(ablated, capsys):
    (folder, command), name = ablated, "lgnet_lr0.0001_seed0"
    before = measured(folder)
    (folder / name / "result/epoch_1_synthetic/metrics.json").unlink()
    assert run(ablate, *command) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"results: {folder / 'table.md'}"
    assert measured(folder) == before
    assert len((folder / name / "metrics.jsonl").read_text().splitlines()) == 2  # not trained again
    assert not (folder / name / "model_dump").exists()
    assert run(ablate, *command) == 0
    assert name not in capsys.readouterr().out  # nothing was left to do
    assert run(ablate, *settings(synthetic_view="own"), *command) == 2
    assert "data.synthetic_view=any, now it is own" in capsys.readouterr().err
