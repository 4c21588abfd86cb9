"""What surrounds a run: its log and last words, the lock, paths of a machine, the time that is left."""

import json
import os
import subprocess
import sys
import tempfile
from datetime import datetime

import pytest

from common.base import Trainer
from common.utils import lock
from common.utils.errors import UserError, explained, run_script
from common.utils.lock import only_writer
from common.utils.logger import RunLog
from common.utils.progress import FORECAST, WARM_UP, Progress, Waiting, duration
from main import cli, demo, train
from main.config import Config, override
from tests.scripts import TINY, run, settings

# ---- errors and the log ----


def lose_a_file():
    raise FileNotFoundError(2, "No such file", "/gone")


def test_the_screen_gets_a_sentence_and_a_file_the_rest(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(SystemExit, match="2"):
        run_script(lose_a_file)
    sentence = capsys.readouterr().err
    assert sentence.startswith("error: /gone: No such file (details: ") and sentence.count("\n") == 1
    (file,) = tmp_path.iterdir()
    assert sentence.endswith(f"(details: {file})\n") and "in lose_a_file" in file.read_text()


def test_an_error_that_a_loader_process_sends_is_one_line(tmp_path):
    error = OSError("Caught OSError in DataLoader worker.\nTraceback (most recent call last):\nOSError: gone")
    assert str(explained(error, tmp_path / "log.txt")).startswith("OSError: gone (details: ")


def test_a_log_keeps_how_a_run_died(tmp_path):
    with pytest.raises(UserError, match=r"^/gone: No such file \(details: .*log.txt\)$"):
        with RunLog(tmp_path):
            lose_a_file()
    text = (tmp_path / "log.txt").read_text()
    assert "in lose_a_file" in text and text.splitlines()[-1].endswith("log.txt)")


@pytest.mark.parametrize(
    ("error", "last", "traceback"),
    [
        (UserError("a smaller rate"), "error: a smaller rate", False),
        (KeyboardInterrupt(), "stopped", False),
        (ValueError("a fault of ours"), "ValueError: a fault of ours", True),
    ],
)
@pytest.mark.parametrize("quiet", [False, True])
def test_last_words(tmp_path, error, last, traceback, quiet):
    with pytest.raises(type(error)) as raised:
        with RunLog(tmp_path, quiet):
            raise error
    assert str(raised.value) == str(error)
    text = (tmp_path / "log.txt").read_text()
    assert text.splitlines()[-1].endswith(last) and ("Traceback" in text) == traceback


def test_a_line_of_the_log_has_the_time(tmp_path):
    with RunLog(tmp_path) as log:
        log.say("data: none")
    day, clock, words = (tmp_path / "log.txt").read_text().split(maxsplit=2)
    assert abs(datetime.now() - datetime.fromisoformat(f"{day} {clock}")).total_seconds() < 60
    assert words == "data: none\n"


def test_a_fault_in_the_middle_of_a_run_is_in_its_log(tmp_path, monkeypatch, capsys):
    def unplugged(self, batch):
        raise OSError(5, "Input/output error")

    (tmp_path / "paths").write_text(f"output_dir = {tmp_path}\n")
    monkeypatch.setenv(cli.LOCAL_PATHS_VARIABLE, str(tmp_path / "paths"))
    monkeypatch.setattr(Trainer, "train_step", unplugged)
    assert run(train, *TINY, "--exp", "dead") == 2
    file = tmp_path / "dead" / "log.txt"
    assert capsys.readouterr().err.splitlines()[-1] == f"error: Input/output error (details: {file})"
    text = file.read_text()
    assert "in unplugged" in text
    assert text.splitlines()[0].endswith(f"stand-in hand; output_dir from {tmp_path / 'paths'}")
    assert not (tmp_path / "dead" / "holder.json").exists()


# ---- one writer ----

HOLD = """
import sys
from pathlib import Path
from common.utils.lock import only_writer
with only_writer(Path(sys.argv[1]), print):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds tmp_path / "busy"."""
    command = [sys.executable, "-c", HOLD, tmp_path / "busy"]
    with subprocess.Popen(command, cwd=cli.ROOT, stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_run_is_refused_and_told_whose_folder_it_is(holder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(lock, "PATIENCE", 0.1)
    assert run(train, *TINY, *settings(output_dir=tmp_path), "--exp", "busy") == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: another run writes to {tmp_path / 'busy'}: process {holder.pid} on ")
    assert "started 20" in error and error.count("\n") == 1
    assert not (tmp_path / "busy" / "log.txt").exists()


def test_a_killed_run_is_no_obstacle(holder, tmp_path):
    folder = tmp_path / "busy"
    holder.kill()
    holder.wait()
    assert json.loads((folder / "holder.json").read_text())["pid"] == holder.pid
    with only_writer(folder, print):
        assert json.loads((folder / "holder.json").read_text())["pid"] == os.getpid()
    assert not (folder / "holder.json").exists()
    with only_writer(folder, print):  # nor is a finished one
        pass


# ---- paths of this machine ----


@pytest.fixture
def local(tmp_path, monkeypatch):
    """local(text): makes this text the machine's file -> its path."""

    def write(text):
        (tmp_path / "local.txt").write_text(text)
        monkeypatch.setenv(cli.LOCAL_PATHS_VARIABLE, str(tmp_path / "local.txt"))
        return tmp_path / "local.txt"

    return write


def test_paths_once(local, tmp_path):
    root = tmp_path.anchor
    file = local(
        f"# mine\n\nsmplx_path = {root}d/mano\n  interhand_anno_dir={root}d/a = b\nhic_path = sets/HIC\n"
    )
    typed = cli.parser("").parse_args(["--set", "smplx_path=/other"]).settings
    config = override(Config(), typed)
    assert config.paths.smplx_path == "/other"  # what is typed wins
    assert config.paths.interhand_anno_dir == f"{root}d/a = b"
    assert config.paths.hic_path == str(cli.ROOT / "sets" / "HIC")
    assert cli.describe_local_paths(config) == f"; interhand_anno_dir, hic_path from {file}"
    assert cli.describe_local_paths(Config()) == ""


def test_tests_do_not_read_the_developers_file():
    assert cli.local_settings() == [] and os.environ[cli.LOCAL_PATHS_VARIABLE] == os.devnull


def test_the_file_is_optional_and_not_in_git(tmp_path, monkeypatch):
    assert f"/{cli.LOCAL_PATHS}" in (cli.ROOT / ".gitignore").read_text().splitlines()
    monkeypatch.delenv(cli.LOCAL_PATHS_VARIABLE)
    monkeypatch.setattr(cli, "ROOT", tmp_path)
    assert cli.local_settings() == []
    (tmp_path / cli.LOCAL_PATHS).write_text("output_dir = elsewhere")
    assert cli.local_settings() == [f"paths.output_dir={tmp_path / 'elsewhere'}"]


@pytest.mark.parametrize("script", [train, demo])
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("smplx = /d", "line 1: unknown path 'smplx'; there are smplx_path, "),
        ("\nsmplx_path", "line 2: write it as key = value"),
        ("smplx_path =", "line 1: write it as key = value"),
        ("smplx_path = /none", "no MANO_RIGHT.pkl and MANO_LEFT.pkl in "),
    ],
)
def test_a_mistake_in_the_file_costs_a_sentence(local, tmp_path, script, text, words, capsys):
    local(text)
    assert run(script, "--gpu", "cpu", *settings(output_dir=tmp_path)) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and words in error and error.count("\n") == 1


def test_a_file_that_is_named_must_exist(monkeypatch, capsys):
    monkeypatch.setenv(cli.LOCAL_PATHS_VARIABLE, "/none.txt")
    assert run(demo) == 2
    assert "cannot read the paths in /none.txt" in capsys.readouterr().err


# ---- time left ----


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def progress_after(steps: int, of: int, seconds: float, done: int = 0) -> Progress:
    """Each step takes so many seconds, the first a hundred times as long."""
    clock = Clock()
    progress = Progress(of, done, clock)
    for number in range(steps):
        clock.now += seconds * (100 if number == 0 else 1)
        progress.step()
    return progress


def test_time_left_is_of_the_whole_run_without_the_warm_up():
    assert progress_after(WARM_UP, 1000, 2.0).seconds_left() is None
    assert progress_after(100, 1000, 2.0).seconds_left() == pytest.approx(2.0 * 900)
    assert progress_after(100, 1000, 2.0, done=500).seconds_left() == pytest.approx(2.0 * 400)
    assert progress_after(1000, 1000, 2.0).seconds_left() == 0


def test_the_share_of_waiting():
    """Three batches that take 3 s each to come and 1 s to learn from, then as many that are there at once."""
    clock = Clock()

    def slow(seconds):
        for batch in range(3):
            clock.now += seconds
            yield batch

    waiting = Waiting(clock)
    for seconds, share in ((3.0, 0.75), (0.0, 0.0)):
        for _ in waiting.each(slow(seconds)):
            clock.now += 1.0
        assert waiting.share() == pytest.approx(share)


def test_the_line_of_an_epoch():
    line = progress_after(100, 1000, 10.0).line(lr=3.14e-4)
    assert line.startswith("2 h 30 min left, lr 3.1e-04, ")
    assert abs((datetime.now() - datetime.strptime(line[-5:], "%H:%M")).seconds) < 120
    assert progress_after(1, 9, 1.0).line(1.0).startswith("time left unknown, lr 1.0e+00, ")


def test_a_long_run_on_a_cpu_is_foretold_once_with_the_way_out():
    slow, quick = 7.2, 0.01
    first = WARM_UP + FORECAST
    told = [progress_after(steps, 10_000 + first, slow).forecast("cpu") for steps in range(1, 20)]
    assert [bool(text) for text in told] == [steps == first for steps in range(1, 20)]
    assert told[first - 1].startswith("about 20 h 0 min for the 10,000 steps left on this cpu; ")
    assert told[first - 1].endswith("--preset quick")
    assert "--preset" not in progress_after(first, 10_000, quick).forecast("cpu")
    assert "--preset" not in progress_after(first, 10_000, slow).forecast("cuda")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (89, "89 s"),
        (91, "2 min"),
        (3569, "59 min"),
        (3599, "1 h 0 min"),
        (7980, "2 h 13 min"),
        (47 * 3600 + 3599, "2 d 0 h"),
        (76 * 3600, "3 d 4 h"),
    ],
)
def test_durations_in_words(seconds, text):
    assert duration(seconds) == text
