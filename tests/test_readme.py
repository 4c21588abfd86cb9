"""The README names files, lines and commands: they must exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BOXES = re.findall(r"\[`(\w+)`\]\(([\w/]+\.py)\)", TEXT)


@pytest.mark.parametrize(("name", "path"), BOXES)
def test_named_classes_stand_in_their_files(name, path):
    assert re.search(rf"^(class|def) {name}\b", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)


def test_boxes_are_named():
    assert len(BOXES) > 8


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
