"""Write a small synthetic set in exactly InterHand2.6M v1.0's files and folders, oddities included.

    python tool/synthetic/make_synthetic.py OUT [--frames 10] [--seed 0] [--smplx_path FOLDER]

Then train or test with interhand_anno_dir=OUT/annotations, interhand_images_path=OUT/images and
root_net_output_path=OUT/rootnet_output. The time steps of a split show the oddities of steps.py in turn.
"""

import argparse
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import cv2
import numpy as np
from numpy.typing import NDArray

from common.hand.joints import INTERHAND_JOINT_NAMES
from common.hand.mano import ManoLayer, load_mano
from common.utils.errors import UserError, run_script
from common.utils.files import write_bytes
from tool.synthetic.entries import annotation_entry, fit_entry, image_entry, joints_entry, rootnet_entry
from tool.synthetic.steps import CAMERAS, ODDITIES, draw_cameras, draw_picture, draw_step

SPLITS = ("train", "val", "test")
FIRST_FRAME, FRAME_STEP = 4973, 18  # of the frame numbers
HUMAN_ONLY = 909_069  # from this id on, the real training set is annotated by people alone


@dataclass
class Contents:
    """What the JSON files of one split hold; keys of `joints` and `fits` are captures, then frames."""

    data: dict[str, list] = field(default_factory=lambda: {"images": [], "annotations": []})
    joints: dict[str, dict] = field(default_factory=dict)
    fits: dict[str, dict] = field(default_factory=lambda: {"0": {}})
    rootnet: list[dict] = field(default_factory=list)


def write_split(root: Path, split: str, frames: int, seed: int, mano: ManoLayer) -> None:
    """All files and pictures of one split."""
    rng = np.random.default_rng([seed, SPLITS.index(split)])
    capture = draw_cameras(rng)
    # The last time step of train is of capture 1, which the MANO file does not know.
    last_capture = "1" if split == "train" else "0"
    contents = Contents(joints={"0": {}, last_capture: {}})
    for number in range(frames):
        step = draw_step(rng, ODDITIES[number % len(ODDITIES)], mano, capture)
        capture_name = last_capture if number == frames - 1 else "0"
        frame = FIRST_FRAME + FRAME_STEP * number
        contents.joints[capture_name][str(frame)] = joints_entry(step, with_seq=split != "val")
        if capture_name in contents.fits and step.oddity != "no_fit_frame":
            contents.fits[capture_name][str(frame)] = fit_entry(step)
        for camera in CAMERAS:
            count = len(contents.data["images"])
            image = image_entry(split, count, camera, capture_name, frame)
            annotation = annotation_entry(split, count, image["id"], step, capture, camera)
            contents.data["images"].append(image)
            contents.data["annotations"].append(annotation)
            if (count + 1) % 7:  # RootNet does not know every seventh
                contents.rootnet.append(rootnet_entry(rng, annotation, step, capture, camera))
            picture = draw_picture(rng, step, capture, camera, mano)
            write_bytes(root / "images" / split / image["file_name"], jpeg(picture))
    if split == "test":
        order = rng.permutation(len(contents.data["annotations"]))
        contents.data["annotations"] = [contents.data["annotations"][index] for index in order]
    cameras = dict.fromkeys(contents.joints, capture)
    _write_annotations(root / "annotations" / split, split, contents, cameras)
    _write_human_ids(root / "annotations", split, contents)
    if split != "train":
        _write_json(root / "rootnet_output" / f"rootnet_interhand2.6m_output_{split}.json", contents.rootnet)


def jpeg(picture: NDArray[np.uint8]) -> bytes:
    """RGB (H,W,3) as the bytes of a JPEG file."""
    return cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()


def _write_json(path: Path, content: Any) -> None:
    write_bytes(path, json.dumps(content).encode())


def _write_annotations(folder: Path, split: str, contents: Contents, cameras: dict[str, dict]) -> None:
    kinds = {
        "data": contents.data,
        "camera": cameras,
        "joint_3d": contents.joints,
        "MANO_NeuralAnnot": contents.fits,
    }
    for kind, content in kinds.items():
        _write_json(folder / f"InterHand2.6M_{split}_{kind}.json", content)


def _write_human_ids(folder: Path, split: str, contents: Contents) -> None:
    """aid_human_annot_<split>.txt, the ids that people annotated; val has none."""
    ids = [row["id"] for row in contents.data["annotations"]]
    path = folder / f"aid_human_annot_{split}.txt"
    if split == "train":  # all ids of the human-only range and some below it, unsorted, oddly spaced
        human = [number for number in reversed(ids) if number >= HUMAN_ONLY or number % 2]
        write_bytes(path, ("\n ".join(map(str, human)) + "\n").encode())
    if split == "test":
        human = sorted(ids)[len(ids) // 2 :]
        write_bytes(path, "".join(f"{number}\n" for number in human).encode())


def write_skeleton(path: Path) -> None:
    """skeleton.txt: name, index and parent of the 42 joints."""
    lines = ["# keypoint name, keypoint index, parent index"]
    for side, letter in enumerate("rl"):
        first = 21 * side
        for index, name in enumerate(INTERHAND_JOINT_NAMES):
            if name == "wrist":
                parent = -1
            elif name.endswith("1"):  # the base of a finger hangs on the wrist
                parent = first + 20
            else:
                parent = first + index + 1
            lines.append(f"{letter}_{name} {first + index} {parent}")
    write_bytes(path, ("\n".join(lines) + "\n").encode())


def make_synthetic(out: str | Path, mano: ManoLayer, frames: int = len(ODDITIES), seed: int = 0) -> Path:
    """Write `frames` time steps x 3 cameras for each split under `out`; returns `out`.

    Raises UserError where `out` cannot be written or the disk is full.
    """
    root = Path(out)
    for split in SPLITS:
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
    if args.frames < 1:
        raise UserError("--frames is 1 or more")
    if args.seed < 0:
        raise UserError("--seed is 0 or more")
    mano = load_mano(args.smplx_path)
    root = make_synthetic(args.out, mano, args.frames, args.seed)
    print(f"{mano.name}: {len(CAMERAS) * args.frames} pictures per split in {root}")


if __name__ == "__main__":
    run_script(main)
