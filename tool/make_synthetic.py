"""Write a small synthetic set in exactly InterHand2.6M v1.0's files and folders, oddities included.

    python tool/make_synthetic.py OUT [--frames 10] [--seed 0] [--smplx_path FOLDER]

Then train or test with interhand_anno_dir=OUT/annotations, interhand_images_path=OUT/images and
root_net_output_path=OUT/rootnet_output. Each time step of a split shows one of ODDITIES, in turn.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from common.hand.joints import HANDS, INTERHAND_JOINT_NAMES, JOINTS_TO_INTERHAND, LEFT, RIGHT, WRIST
from common.hand.mano import ManoLayer, load_hands
from common.utils.errors import UserError
from common.utils.render import interpolate, join_meshes, rasterize, shade, vertex_normals

ODDITIES = (
    "plain",
    "right",  # only one hand
    "left",
    "no_left_fit",  # null in the MANO file
    "no_fit_frame",  # no key for the frame in the MANO file
    "no_wrist",  # the left wrist is not annotated
    "outside",  # the left hand is outside the picture
    "bad_joints",  # some joints not annotated, as [1, 1, 1] or as plausible numbers
    "black",  # the picture is black
    "large_beta",  # a shape that cannot be trusted
)
CAMERAS = {"400002": (334, 512), "410012": (334, 512), "400026": (512, 334)}  # width, height; 41* grey
TARGET = np.array([0.0, 0.0, 1.1])  # metres, where the hands are
SKIN = ((0.85, 0.62, 0.5), (0.75, 0.55, 0.48))


@dataclass
class Step:
    """One time step; world frame, metres, hands (right, left)."""

    oddity: str
    pose: NDArray  # (2,16,3)
    shape: NDArray  # (2,10)
    trans: NDArray  # (2,3)
    verts: NDArray  # (2,778,3)
    joints: NDArray  # (2,21,3) annotated, a few mm off the mesh
    annotated: NDArray  # (2,21) bool

    @property
    def hand_type(self) -> str:
        return self.oddity if self.oddity in HANDS else "interacting"


def draw_step(rng: np.random.Generator, oddity: str, mano: ManoLayer) -> Step:
    """Two hands at random around TARGET, with the oddity."""
    pose = rng.normal(0, 0.2, (2, 16, 3))
    pose[:, WRIST] = rng.normal(0, 1, (2, 3))
    shape = rng.normal(0, 0.5, (2, 10)).clip(-2, 2)
    shape[RIGHT, 0] += 4.0 * (oddity == "large_beta")
    half = rng.uniform(0.03, 0.125)  # of the distance between the wrists
    wrists = TARGET + rng.normal(0, 0.02, (2, 3)) + np.array([[-half, 0, 0], [half, 0, 0]])
    wrists[LEFT, 0] += 0.6 * (oddity == "outside")
    verts, joints, rest = _posed(mano, pose, shape)
    trans = wrists - rest
    joints = joints + trans[:, None] + rng.normal(0, 0.001, (2, 21, 3))
    annotated = np.ones((2, 21), bool)
    if oddity in HANDS:
        annotated[1 - HANDS.index(oddity)] = False
    annotated[LEFT, WRIST] &= oddity != "no_wrist"
    if oddity == "bad_joints":
        annotated[:, [4, 8, 15]] = False
    joints[~annotated] = np.where(rng.random((2, 21, 1)) < 0.7, 0.001, joints)[~annotated]
    return Step(oddity, pose, shape, trans, verts + trans[:, None], joints, annotated)


def _posed(mano: ManoLayer, pose: NDArray, shape: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    pose_t, shape_t = (torch.from_numpy(v[None]).float() for v in (pose, shape))
    with torch.no_grad():
        verts, joints = mano(pose_t, shape_t)
        return verts[0].double().numpy(), joints[0].double().numpy(), mano.rest_wrist(shape_t)[0].double().numpy()


def draw_cameras(rng: np.random.Generator) -> dict[str, dict[str, Any]]:
    """One capture of the camera file: cameras about 1.1 m from TARGET that look at it; millimetres."""
    capture = {"campos": {}, "camrot": {}, "focal": {}, "princpt": {}}
    for name, size in CAMERAS.items():
        rotation = cv2.Rodrigues(rng.uniform(-0.5, 0.5, 3))[0]
        position = TARGET - rotation.T @ np.array([0, 0, rng.uniform(1.0, 1.2)])
        centre = np.array(size) * rng.uniform((0.45, 0.45), (0.57, 0.55))
        values = (1000 * position, rotation, rng.uniform(1258, 1278, 2), centre)
        for key, value in zip(capture, values, strict=True):
            capture[key][name] = value.astype(np.float32).astype(float).tolist()
    return capture


def to_camera(points: NDArray, capture: dict[str, dict[str, Any]], camera: str) -> NDArray:
    """World points (..., 3) in metres -> camera frame, as the data set's authors write it."""
    position = np.array(capture["campos"][camera]) / 1000
    return (points - position) @ np.array(capture["camrot"][camera]).T


def to_pixels(points: NDArray, capture: dict[str, dict[str, Any]], camera: str) -> NDArray:
    """Camera-frame points (..., 3) -> pixels (..., 2)."""
    return points[..., :2] / points[..., 2:] * capture["focal"][camera] + capture["princpt"][camera]


def draw_picture(
    rng: np.random.Generator, step: Step, capture: dict[str, dict[str, Any]], camera: str, mano: ManoLayer
) -> NDArray[np.uint8]:
    """The hands of a step as a camera sees them: RGB (H,W,3)."""
    width, height = CAMERAS[camera]
    if step.oddity == "black":
        return np.zeros((height, width, 3), np.uint8)
    sides = [HANDS.index(step.hand_type)] if step.hand_type in HANDS else [RIGHT, LEFT]
    verts = to_camera(step.verts[sides], capture, camera)
    points = np.concatenate([to_pixels(verts, capture, camera), verts[..., 2:]], -1)
    joined, faces = join_meshes(torch.from_numpy(points).float()[None], mano.faces[sides])
    fragments = rasterize(joined, faces, (height, width))
    normals = vertex_normals(torch.from_numpy(verts.reshape(1, -1, 3)).float(), faces)
    skin = torch.tensor([SKIN[side] for side in sides]).repeat_interleave(778, 0)[None]
    light = torch.nn.functional.normalize(torch.tensor([-0.3, -0.5, -0.8]), dim=0)
    color = shade(interpolate(fragments, faces, normals), interpolate(fragments, faces, skin), light)
    background = cv2.resize(rng.uniform(0.05, 0.4, (5, 4, 3)), (width, height), interpolation=cv2.INTER_CUBIC)
    image = np.where(fragments.mask[0, ..., None].numpy(), color[0].numpy(), background)
    image = np.clip(255 * image + rng.normal(0, 2, image.shape), 0, 255).astype(np.uint8)
    return np.repeat(image[..., 1:2], 3, -1) if camera.startswith("41") else image


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
        hand: None if hand in absent else {
            "pose": step.pose[side].ravel().tolist(),
            "shape": step.shape[side].tolist(),
            "trans": step.trans[side].tolist(),
        }
        for side, hand in enumerate(HANDS)
    }


def rootnet_row(
    rng: np.random.Generator, row: dict[str, Any], step: Step, capture: dict[str, dict[str, Any]], camera: str
) -> dict[str, Any]:
    """One row of RootNet's output; its box is shifted into the picture as its authors do, then squared."""
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
    data, joints, fits, rootnet = {"images": [], "annotations": []}, {"0": {}, last: {}}, {"0": {}}, []
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
    image_id = 5_000 - 3 * count if split == "test" else number
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
    if split == "train":  # all ids of the human-only range and some below it, unsorted
        human = [id for id in ids[::-1] if id >= 909_069 or id % 2]
        (folder.parent / f"aid_human_annot_{split}.txt").write_text("\n ".join(map(str, human)) + "\n")
        return
    if split == "test":
        human = sorted(ids)[len(ids) // 2 :]
        (folder.parent / f"aid_human_annot_{split}.txt").write_text("".join(f"{id}\n" for id in human))
    (root / "rootnet_output").mkdir(exist_ok=True)
    name = f"rootnet_interhand2.6m_output_{split}.json"
    (root / "rootnet_output" / name).write_text(json.dumps(rootnet))


def write_skeleton(path: Path) -> None:
    """skeleton.txt: name, index and parent of the 42 joints."""
    lines = ["# keypoint name, keypoint index, parent index"]
    for side, letter in enumerate("rl"):
        for index, name in enumerate(INTERHAND_JOINT_NAMES):
            parent = -1 if name == "wrist" else 21 * side + (20 if name.endswith("1") else index + 1)
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", help="folder to write")
    parser.add_argument("--frames", type=int, default=len(ODDITIES), help="time steps per split, 3 pictures each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--smplx_path", help="folder of the MANO files; unset: the stand-in hand")
    args = parser.parse_args()
    try:
        mano = load_hands(args.smplx_path)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    root = make_synthetic(args.out, mano, args.frames, args.seed)
    print(f"{mano.name}: {3 * args.frames} pictures per split in {root}")


if __name__ == "__main__":
    main()
