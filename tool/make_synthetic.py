"""Write a small synthetic set in exactly InterHand2.6M v1.0's files and folders, oddities included.

    python tool/make_synthetic.py OUT [--frames 10] [--seed 0] [--smplx_path FOLDER]

Then train or test with interhand_anno_dir=OUT/annotations, interhand_images_path=OUT/images and
root_net_output_path=OUT/rootnet_output. The time steps of a split show
the oddities listed in tool/synthetic_steps.py, in turn.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import cv2
import numpy as np
from numpy.typing import NDArray

from common.hand.joints import HANDS, INTERHAND_JOINT_NAMES, JOINTS_TO_INTERHAND, WRIST
from common.hand.mano import ManoLayer, load_mano
from common.utils.errors import UserError
from tool.synthetic_steps import (
    CAMERAS,
    ODDITIES,
    Step,
    draw_cameras,
    draw_picture,
    draw_step,
    to_camera,
    to_pixels,
)


def annotate(
    number: int, image_id: int, step: Step, capture: dict[str, dict[str, Any]], camera: str
) -> dict[str, Any]:
    """One entry of the annotations in the data file."""
    pixels = to_pixels(to_camera(step.joints, capture, camera), capture, camera)
    seen = step.annotated & ((pixels >= 0) & (pixels < np.array(CAMERAS[camera]))).all(-1)
    chosen = pixels[seen]
    size = np.ptp(chosen, axis=0)
    corner = chosen.min(0) - 0.1 * size
    interacting = step.hand_type == "interacting"
    return {
        "id": number,
        "image_id": image_id,
        "bbox": np.concatenate([corner, 1.2 * size]).astype(np.float32).astype(float).tolist(),
        "joint_valid": interhand_order(seen).astype(int)[:, None].tolist(),
        "hand_type": step.hand_type,
        "hand_type_valid": int(not interacting or seen.sum() > 30),
    }


def interhand_order(values: NDArray) -> NDArray:
    """(2,21,...) wrist first -> (42,...) as in the files."""
    return np.concatenate(list(values[:, list(JOINTS_TO_INTERHAND)]))


def joints_entry(step: Step, with_seq: bool) -> dict[str, Any]:
    """One time step of the joint_3d file."""
    entry = {
        "world_coord": interhand_order(1000 * step.joints).astype(np.float32).astype(float).tolist(),
        "joint_valid": interhand_order(step.annotated)[:, None].tolist(),
        "hand_type": step.hand_type,
        "hand_type_valid": True,
    }
    return entry | ({"seq": "0001_dh_synth"} if with_seq else {})


def fit_entry(step: Step) -> dict[str, Any]:
    """One time step of the MANO file; world frame, metres."""
    absent = {"right": ["left"], "left": ["right"], "no_left_fit": ["left"]}.get(step.oddity, [])
    return {
        hand: None
        if hand in absent
        else {
            "pose": step.pose[side].ravel().tolist(),
            "shape": step.shape[side].tolist(),
            "trans": step.trans[side].tolist(),
        }
        for side, hand in enumerate(HANDS)
    }


def rootnet_row(
    rng: np.random.Generator, row: dict[str, Any], step: Step, capture: dict[str, dict[str, Any]], camera: str
) -> dict[str, Any]:
    """One row of RootNet's output; its box is shifted into the picture as there, then squared."""
    (x, y, w, h), (width, height) = row["bbox"], CAMERAS[camera]
    x1, y1 = max(0, x), max(0, y)
    x2, y2 = min(width - 1, x1 + w - 1), min(height - 1, y1 + h - 1)
    side = 1.25 * max(x2 - x1, y2 - y1)
    depth = 1000 * to_camera(step.joints[:, WRIST], capture, camera)[:, 2] + rng.normal(0, 10, 2)
    return {
        "annot_id": row["id"],
        "bbox": [(x1 + x2 - side) / 2, (y1 + y2 - side) / 2, side, side],
        "abs_depth": depth.tolist(),
        "root_valid": step.annotated[:, WRIST].astype(float).tolist(),
    }


def write_split(root: Path, split: str, frames: int, seed: int, mano: ManoLayer) -> None:
    """All files and pictures of one split."""
    rng = np.random.default_rng([seed, ("train", "val", "test").index(split)])
    capture = draw_cameras(rng)
    last = "1" if split == "train" else "0"  # train: the MANO file knows nothing of capture 1
    data, joints, fits, rootnet = ({"images": [], "annotations": []}, {"0": {}, last: {}}, {"0": {}}, [])
    for number in range(frames):
        step = draw_step(rng, ODDITIES[number % len(ODDITIES)], mano)
        c, frame = last if number == frames - 1 else "0", 4973 + 18 * number
        joints[c][str(frame)] = joints_entry(step, with_seq=split != "val")
        if c in fits and step.oddity != "no_fit_frame" and number < frames - (split == "train"):
            fits[c][str(frame)] = fit_entry(step)
        for camera in CAMERAS:
            image, row = _record(len(data["images"]), split, step, capture, camera, (int(c), frame))
            data["images"].append(image)
            data["annotations"].append(row)
            if len(data["images"]) % 7:  # RootNet does not know every seventh
                rootnet.append(rootnet_row(rng, row, step, capture, camera))
            path = root / "images" / split / image["file_name"]
            path.parent.mkdir(parents=True, exist_ok=True)
            picture = draw_picture(rng, step, capture, camera, mano)
            cv2.imwrite(str(path), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    if split == "test":
        data["annotations"] = [data["annotations"][i] for i in rng.permutation(len(data["annotations"]))]
    _write_files(root, split, data, {c: capture for c in joints}, joints, fits, rootnet)


def _record(
    count: int, split: str, step: Step, capture: dict[str, Any], camera: str, key: tuple[int, int]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """An image and its annotation; ids have gaps, and differ from each other in test."""
    number = {"train": 909_000 + 7 * count, "val": 3 * count, "test": 727_633 + 2 * count}[split]
    image_id = number ^ 2 if split == "test" else number  # a neighbour's id
    (c, frame), (width, height) = key, CAMERAS[camera]
    image = {
        "id": image_id,
        "file_name": f"Capture{c}/0001_dh_synth/cam{camera}/image{frame}.jpg",
        **{"width": width, "height": height, "capture": c, "subject": 0, "seq_name": "0001_dh_synth"},
        **{"camera": camera, "frame_idx": frame},
    }
    return image, annotate(number, image_id, step, capture, camera)


def _write_files(
    root: Path, split: str, data: dict, cameras: dict, joints: dict, fits: dict, rootnet: list
) -> None:
    folder = root / "annotations" / split
    folder.mkdir(parents=True, exist_ok=True)
    contents = {"data": data, "camera": cameras, "joint_3d": joints, "MANO_NeuralAnnot": fits}
    for kind, content in contents.items():
        (folder / f"InterHand2.6M_{split}_{kind}.json").write_text(json.dumps(content))
    ids = [row["id"] for row in data["annotations"]]
    aid = folder.parent / f"aid_human_annot_{split}.txt"
    if split == "train":  # all ids of the human-only range and some below it, unsorted
        human = [id for id in ids[::-1] if id >= 909_069 or id % 2]
        aid.write_text("\n ".join(map(str, human)) + "\n")
        return
    if split == "test":
        human = sorted(ids)[len(ids) // 2 :]
        aid.write_text("".join(f"{id}\n" for id in human))
    (root / "rootnet_output").mkdir(exist_ok=True)
    name = f"rootnet_interhand2.6m_output_{split}.json"
    (root / "rootnet_output" / name).write_text(json.dumps(rootnet))


def write_skeleton(path: Path) -> None:
    """skeleton.txt: name, index and parent of the 42 joints."""
    lines = ["# keypoint name, keypoint index, parent index"]
    for side, letter in enumerate("rl"):
        for index, name in enumerate(INTERHAND_JOINT_NAMES):
            above = 20 if name.endswith("1") else index + 1
            parent = -1 if name == "wrist" else 21 * side + above
            lines.append(f"{letter}_{name} {21 * side + index} {parent}")
    path.write_text("\n".join(lines) + "\n")


def make_synthetic(out: str | Path, mano: ManoLayer, frames: int = len(ODDITIES), seed: int = 0) -> Path:
    """Write `frames` time steps x 3 cameras for each split under `out`; returns `out`."""
    root = Path(out)
    for split in ("train", "val", "test"):
        write_split(root, split, frames, seed, mano)
    write_skeleton(root / "annotations" / "skeleton.txt")
    return root


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", help="folder to write")
    parser.add_argument(
        "--frames", type=int, default=len(ODDITIES), help="time steps per split, 3 views each"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--smplx_path", help="folder of the MANO files; unset: the stand-in hand")
    args = parser.parse_args()
    try:
        mano = load_mano(args.smplx_path)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    root = make_synthetic(args.out, mano, args.frames, args.seed)
    print(f"{mano.name}: {3 * args.frames} pictures per split in {root}")


if __name__ == "__main__":
    main()
