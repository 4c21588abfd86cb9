"""How the tests read the synthetic InterHand2.6M set: by the loader, and from its files."""

import json
from pathlib import Path

import numpy as np
import torch

from common.targets import annotated, pictures
from data.augment import AugmentParams
from data.batch import Batch, stacked, to_batch
from data.InterHand26M import InterHand26M

VIEWS = 3  # pictures of each time step
ODDITIES = ("plain right left no_left_fit no_fit_frame no_wrist outside bad_joints black large_beta").split()
FRAMES = {name: 4973 + 18 * number for number, name in enumerate(ODDITIES)}


def quiet(line: str) -> None:
    pass


def load(root, mano, **settings) -> InterHand26M:
    settings = {"split": "train", "hand_type_valid_only": False, "log": quiet} | settings
    return InterHand26M(mano, root / "annotations", root / "images", **settings)


def read(root, split: str, kind: str):
    return json.loads((root / "annotations" / split / f"InterHand2.6M_{split}_{kind}.json").read_text())


def collate(samples: list[dict]) -> Batch:
    """Samples, as a data set gives them one by one, as a batch."""
    batch = {}
    for key in samples[0]:
        rows = [sample[key] for sample in samples]
        batch[key] = torch.stack(rows) if torch.is_tensor(rows[0]) else rows
    return batch


def cut_out(records: list[dict], params: AugmentParams) -> Batch:
    """Records with their pictures, all augmented alike, as a batch."""
    batch, rows, faults = to_batch(stacked(records), [params] * len(records))
    assert rows == list(range(len(records))) and not faults
    return batch


def derived(sample: dict) -> dict:
    """A sample with its picture in [0,1] and what follows from its annotation."""
    batch = collate([sample])
    batch = {**batch, "img": pictures(batch), **annotated(batch)}
    return {key: rows[0] for key, rows in batch.items()}


def samples(data: InterHand26M) -> dict[tuple[str, str], dict]:
    """(frame, camera) -> sample with what follows from its annotation."""
    paths = [Path(data.record(index)["image_path"]) for index in range(len(data))]
    return {(p.stem[5:], p.parent.name[3:]): derived(data[i]) for i, p in enumerate(paths)}


def views(table, oddity: str) -> list[dict]:
    found = [sample for (frame, _), sample in table.items() if int(frame) == FRAMES[oddity]]
    assert len(found) == VIEWS
    return found


def to_camera(hands, side, fit, cameras, camera) -> np.ndarray:
    pose, shape = torch.zeros(1, 2, 16, 3), torch.zeros(1, 2, 10)
    pose[0, side], shape[0, side] = (torch.tensor(fit["pose"]).view(16, 3), torch.tensor(fit["shape"]))
    world = hands(pose, shape)[0][0, side].double().numpy() + np.array(fit["trans"])  # metres
    rotation, position = (np.array(cameras[key][camera]) for key in ("camrot", "campos"))
    return (world - position / 1000) @ rotation.T
