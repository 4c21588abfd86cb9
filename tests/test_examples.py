"""The examples run as they are."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_predict_says_what_it_found():
    command = [sys.executable, ROOT / "examples" / "predict.py"]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "right hand" in said.stdout and "left hand" in said.stdout
    assert len((ROOT / "examples" / "predict.py").read_text(encoding="utf-8").splitlines()) < 20
