"""Silhouettes on photographs, and the learning curve's file."""

import json

import cv2
import numpy as np
import pytest

from tests.scripts import run
from tool import learning_curve, photo_iou


def test_the_mask_s_box():
    mask = np.zeros((40, 60), bool)
    mask[10:20, 30:50] = True  # 20 wide, 10 high: a square of 24 about (40, 15)
    assert photo_iou.mask_box(mask) == [28.0, 3.0, 24.0, 24.0]


def test_overlap():
    first, second = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    first[:2], second[1:3] = True, True
    assert photo_iou.overlap(first, second) == pytest.approx(1 / 3)


def test_a_folder_is_measured(tmp_path, capsys):
    rng = np.random.default_rng(0)
    cv2.imwrite(str(tmp_path / "a_input.png"), rng.integers(0, 255, (90, 120, 3), np.uint8))
    mask = np.zeros((90, 120), np.uint8)
    mask[20:70, 30:90] = 255
    cv2.imwrite(str(tmp_path / "a_mask.png"), mask)
    assert run(photo_iou, tmp_path, "--sheet", tmp_path / "sheet.png") == 0
    assert "1 pictures, mean silhouette IoU: whole picture" in capsys.readouterr().out
    assert cv2.imread(str(tmp_path / "sheet.png")).shape[1] == 2 * photo_iou.TILE + 4
    (tmp_path / "a_mask.png").unlink()
    assert run(photo_iou, tmp_path) == 2
    assert "a_mask.png is missing" in capsys.readouterr().err
    assert run(photo_iou, tmp_path / "nowhere") == 2


def test_the_curve_is_drawn_and_a_bad_line_named(tmp_path, capsys):
    rows = tmp_path / "rows.jsonl"
    lines = [{"pictures": 2000, "MPVPE": 20.0, "IoU": 0.5}, {"pictures": 1000, "MPVPE": 30.0}]
    rows.write_text("\n".join(map(json.dumps, lines)))
    assert [row["pictures"] for row in learning_curve.read_rows(rows)] == [1000, 2000]
    error = learning_curve.draw(learning_curve.read_rows(rows)).axes[0].lines
    assert [line.get_label() for line in error] == ["MPVPE"]
    assert error[0].get_ydata().tolist() == [30.0, 20.0]
    assert run(learning_curve, rows, tmp_path / "curve.png") == 0
    assert (tmp_path / "curve.png").stat().st_size > 10_000
    rows.write_text('{"MPVPE": 3}')
    assert run(learning_curve, rows, tmp_path / "curve.png") == 2
    assert "line 1" in capsys.readouterr().err
