"""The entries of InterHand2.6M's JSON files and of RootNet's, for one time step of the synthetic set."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.hand.joints import HANDS, JOINTS_TO_INTERHAND, WRIST
from tool.synthetic.steps import CAMERAS, Step, joints_in_picture, to_camera, to_pixels

SEQUENCE = "0001_dh_synth"
NUMBERS = {"train": (909_000, 7), "val": (0, 3), "test": (727_633, 2)}  # first annotation id, gap
ABSENT_FITS = {"right": ("left",), "left": ("right",), "no_left_fit": ("left",)}  # null in the MANO file


def image_entry(split: str, count: int, camera: str, capture_name: str, frame: int) -> dict[str, Any]:
    """One image of the data file; in test its id differs from its annotation's."""
    width, height = CAMERAS[camera]
    number = annotation_id(split, count)
    return {
        "id": number ^ 2 if split == "test" else number,  # a neighbour's id
        "file_name": f"Capture{capture_name}/{SEQUENCE}/cam{camera}/image{frame}.jpg",
        "width": width,
        "height": height,
        "capture": int(capture_name),
        "subject": 0,
        "seq_name": SEQUENCE,
        "camera": camera,
        "frame_idx": frame,
    }


def annotation_id(split: str, count: int) -> int:
    """Id of a split's annotation number `count`; ids have gaps."""
    first, gap = NUMBERS[split]
    return first + gap * count


def annotation_entry(
    split: str, count: int, image_id: int, step: Step, capture: dict[str, dict[str, Any]], camera: str
) -> dict[str, Any]:
    """One annotation of the data file; its box is 1.2 times that of the joints in the picture."""
    pixels = to_pixels(to_camera(step.joints, capture, camera), capture, camera)
    visible = joints_in_picture(step, capture, camera)
    low = pixels[visible].min(0)
    size = pixels[visible].max(0) - low
    box = np.concatenate([low - 0.1 * size, 1.2 * size])
    reliable = step.hand_type != "interacting" or visible.sum() > 30
    return {
        "id": annotation_id(split, count),
        "image_id": image_id,
        "bbox": box.astype(np.float32).astype(float).tolist(),
        "joint_valid": interhand_order(visible).astype(int)[:, None].tolist(),
        "hand_type": step.hand_type,
        "hand_type_valid": int(reliable),
    }


def interhand_order(values: NDArray) -> NDArray:
    """(2,21,...) wrist first -> (42,...) as in the files."""
    return np.concatenate(list(values[:, list(JOINTS_TO_INTERHAND)]))


def joints_entry(step: Step, with_seq: bool) -> dict[str, Any]:
    """One time step of the joint_3d file; world frame, millimetres."""
    entry = {
        "world_coord": interhand_order(1000 * step.joints).astype(np.float32).astype(float).tolist(),
        "joint_valid": interhand_order(step.annotated)[:, None].tolist(),
        "hand_type": step.hand_type,
        "hand_type_valid": True,
    }
    if with_seq:
        entry["seq"] = SEQUENCE
    return entry


def fit_entry(step: Step) -> dict[str, Any]:
    """One time step of the MANO file; world frame, metres; a hand without a fit is null."""
    entry: dict[str, Any] = {}
    for side, hand in enumerate(HANDS):
        entry[hand] = {
            "pose": step.pose[side].ravel().tolist(),
            "shape": step.shape[side].tolist(),
            "trans": step.trans[side].tolist(),
        }
    for hand in ABSENT_FITS.get(step.oddity, ()):
        entry[hand] = None
    return entry


def rootnet_entry(
    rng: np.random.Generator,
    annotation: dict[str, Any],
    step: Step,
    capture: dict[str, dict[str, Any]],
    camera: str,
) -> dict[str, Any]:
    """One row of RootNet's output; its box is shifted into the picture as there, then squared."""
    x, y, w, h = annotation["bbox"]
    width, height = CAMERAS[camera]
    x1, y1 = max(0, x), max(0, y)
    x2, y2 = min(width - 1, x1 + w - 1), min(height - 1, y1 + h - 1)
    side = 1.25 * max(x2 - x1, y2 - y1)
    depth = 1000 * to_camera(step.joints[:, WRIST], capture, camera)[:, 2]  # mm
    return {
        "annot_id": annotation["id"],
        "bbox": [(x1 + x2 - side) / 2, (y1 + y2 - side) / 2, side, side],
        "abs_depth": (depth + rng.normal(0, 10, 2)).tolist(),
        "root_valid": step.annotated[:, WRIST].astype(float).tolist(),
    }
