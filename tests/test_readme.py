"""The README names files, lines and commands: they must exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
ANCHORS = re.findall(r"\[`([^`]+)`\]\(([\w/.]+)#L(\d+)\)", TEXT)


@pytest.mark.parametrize(("name", "path", "line"), ANCHORS)
def test_anchors_point_at_their_classes(name, path, line):
    shown = (ROOT / path).read_text(encoding="utf-8").splitlines()[int(line) - 1]
    assert re.match(rf"(class|def) {'Loss' if '/' in name else name}\b", shown), f"{path}:{line} is {shown!r}"


def test_there_are_anchors():
    assert len(ANCHORS) > 8


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\(([\w/.]+)\)", TEXT))))
def test_linked_files_exist(path):
    assert (ROOT / path).is_file()


def test_commands_and_presets_exist():
    from main.config import PRESETS

    for script in re.findall(r"python ((?:main|tool)/\w+\.py)", TEXT):
        assert (ROOT / script).is_file(), script
    for name in re.findall(r"--preset (\w+)", TEXT):
        assert name in PRESETS or name == "NAME", name
    assert "@@" not in TEXT
