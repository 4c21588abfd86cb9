"""Annotations as large as InterHand2.6M's training split, of made-up hands: to measure how they are read.

Legend: F time steps, N records. The files have the real ones' keys, spelling and about their sizes; the
pictures are what is given, or empty files.
"""

import json
from collections.abc import Iterator, Sequence
from itertools import count, cycle
from pathlib import Path

import numpy as np
import torch

from common.hand.joints import HANDS, JOINTS_TO_INTERHAND
from common.hand.mano import ManoLayer

CAPTURES, CAMERAS, SEQUENCES = 27, 73, 25
RECORDS = 1_361_062
FRAME_STEP = 18
BATCH = 64  # time steps whose hands are posed at once
FLAGS = json.dumps([[1]] * 42)
FEWER_FLAGS = json.dumps([[1]] * 30 + [[0]] * 12)


def write_true_size(
    root: Path, mano: ManoLayer, records: int = RECORDS, pictures: Sequence[bytes] = (b"",)
) -> Path:
    """Write annotations/train and images/train under `root` -> the data file; the pictures take turns."""
    folder = root / "annotations" / "train"
    folder.mkdir(parents=True)
    steps = list(_steps(records))
    names = {"camera": _cameras, "joint_3d": _joints, "MANO_NeuralAnnot": _fits}
    hands = _posed(mano, len(steps))
    for kind, write in names.items():
        with open(folder / f"InterHand2.6M_train_{kind}.json", "w", encoding="utf-8") as file:
            json.dump(write(steps, hands), file)
    path = folder / "InterHand2.6M_train_data.json"
    with open(path, "w", encoding="utf-8") as file:
        file.write('{"images": [')
        file.writelines(_separated(_image(*entry) for entry in _entries(steps, records)))
        file.write('], "annotations": [')
        rng = np.random.default_rng(0)
        file.writelines(_separated(_annotation(rng, entry[0]) for entry in _entries(steps, records)))
        file.write("]}")
    human = (number for number, *_ in _entries(steps, records) if number > 909_068 or number % 12 == 0)
    ids = "".join(f"{number}\n" for number in human)
    (root / "annotations" / "aid_human_annot_train.txt").write_text(ids)
    _write_pictures(root / "images" / "train", steps, records, pictures)
    return path


def _steps(records: int) -> Iterator[tuple[int, str, int]]:
    """Capture, sequence and frame of each time step."""
    needed = -(-records // CAMERAS)
    for number in range(needed):
        capture = number * CAPTURES // needed
        sequence = number * CAPTURES * SEQUENCES // needed % SEQUENCES
        yield capture, f"{sequence:04d}_dh_touchROM", 4973 + FRAME_STEP * number


def _entries(steps: list, records: int) -> Iterator[tuple[int, int, str, str, int]]:
    """Id, capture, sequence, camera and frame of each record; ids have gaps."""
    numbers = count()
    for capture, sequence, frame in steps:
        for camera in range(CAMERAS):
            number = next(numbers)
            if number >= records:
                return
            yield number + number // 24_746, capture, sequence, f"{400_002 + 137 * camera}", frame


def _image(number: int, capture: int, sequence: str, camera: str, frame: int) -> str:
    name = f"Capture{capture}/{sequence}/cam{camera}/image{frame}.jpg"
    return (
        f'{{"id": {number}, "file_name": "{name}", "width": 334, "height": 512, "capture": {capture}, '
        f'"subject": {capture % 21}, "seq_name": "{sequence}", "camera": "{camera}", "frame_idx": {frame}}}'
    )


def _annotation(rng: np.random.Generator, number: int) -> str:
    x, y, w, h = (float(value) for value in rng.uniform(60, 200, 4).astype(np.float32))
    flags = FEWER_FLAGS if number % 5 == 0 else FLAGS
    kind = ("interacting", "right", "interacting", "left")[number % 4]
    return (
        f'{{"id": {number}, "image_id": {number}, "bbox": [{x}, {y}, {w}, {h}], "joint_valid": {flags}, '
        f'"hand_type": "{kind}", "hand_type_valid": {int(number % 9 > 0)}}}'
    )


def _separated(rows: Iterator[str]) -> Iterator[str]:
    for number, row in enumerate(rows):
        yield f", {row}" if number else row


def _posed(mano: ManoLayer, count: int) -> dict[str, np.ndarray]:
    """Fits of F time steps and their joints (F,2,21,3) in the world, metres."""
    generator = torch.Generator().manual_seed(0)
    pose = 0.2 * torch.randn(count, 2, 16, 3, generator=generator)
    shape = torch.randn(count, 2, 10, generator=generator)
    trans = 0.1 * torch.randn(count, 2, 3, generator=generator) + torch.tensor([0, 0, 1.0])
    joints = []
    with torch.no_grad():
        for start in range(0, count, BATCH):
            part = slice(start, start + BATCH)
            joints.append(mano(pose[part], shape[part])[1] + trans[part, :, None])
    arrays = {"pose": pose.flatten(2), "shape": shape, "trans": trans, "joints": torch.cat(joints)}
    return {name: values.numpy() for name, values in arrays.items()}


def _by_capture(steps: list, rows: Iterator[dict]) -> dict[str, dict]:
    table: dict[str, dict] = {}
    for (capture, _, frame), row in zip(steps, rows, strict=True):
        table.setdefault(str(capture), {})[str(frame)] = row
    return table


def _joints(steps: list, hands: dict[str, np.ndarray]) -> dict[str, dict]:
    order = list(JOINTS_TO_INTERHAND)
    flags = [[True]] * 42

    def rows() -> Iterator[dict]:
        for (_, sequence, _), joints in zip(steps, hands["joints"], strict=True):
            world = (1000 * joints[:, order]).reshape(42, 3).astype(float).tolist()
            yield {"world_coord": world, "joint_valid": flags, "hand_type": "interacting"} | {
                "hand_type_valid": True,
                "seq": sequence,
            }

    return _by_capture(steps, rows())


def _fits(steps: list, hands: dict[str, np.ndarray]) -> dict[str, dict]:
    return _by_capture(steps, (_fit(hands, number) for number in range(len(steps))))


def _fit(hands: dict[str, np.ndarray], step: int) -> dict[str, dict[str, list[float]]]:
    row = {}
    for side, hand in enumerate(HANDS):
        row[hand] = {key: hands[key][step, side].astype(float).tolist() for key in ("pose", "shape", "trans")}
    return row


def _cameras(steps: list, hands: dict[str, np.ndarray]) -> dict[str, dict]:
    """Cameras that look along z from places near the origin, the same in every capture."""
    rng = np.random.default_rng(1)
    names = [f"{400_002 + 137 * camera}" for camera in range(CAMERAS)]
    capture = {
        "campos": {name: rng.normal(0, 30, 3).tolist() for name in names},
        "camrot": {name: np.eye(3).tolist() for name in names},
        "focal": {name: rng.uniform(1200, 1300, 2).tolist() for name in names},
        "princpt": {name: [167.0, 256.0] for name in names},
    }
    return {str(number): capture for number in sorted({capture for capture, _, _ in steps})}


def _write_pictures(root: Path, steps: list, records: int, pictures: Sequence[bytes]) -> None:
    made = set()
    entries = zip(_entries(steps, records), cycle(pictures))  # noqa: B905 (one of them never ends)
    for (_, capture, sequence, camera, frame), content in entries:
        folder = root / f"Capture{capture}" / sequence / f"cam{camera}"
        if folder not in made:
            folder.mkdir(parents=True)
            made.add(folder)
        (folder / f"image{frame}.jpg").write_bytes(content)
