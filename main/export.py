"""From a TwoHands result to what people open: an overlay, meshes and a JSON."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.hand.joints import HANDS, JOINT_NAMES, LEFT, MANO_JOINT_NAMES, RIGHT
from common.show.figures import attention_panels, prediction_overlay
from common.show.vis import Picture, caption
from common.utils.files import write_json, write_obj, write_picture
from common.utils.geometry import IMAGE_SIZE
from common.utils.image import warp
from main.predictor import TwoHands

UNITS = {
    "length": "metre",
    "angle": "radian",
    "pixel": "pixel of the original picture; centres are integers, (0, 0) is the upper left one",
    "cam": "pixel per metre, pixel, pixel",
}
FRAMES = {
    "axes": "camera: x right, y down, z forward (OpenCV)",
    "origin": "wrist of the right hand; a hand found alone has its own wrist at the origin",
    "left": "placed by rel_trans, the left wrist minus the right wrist; null unless both are found",
    "meshes": "the OBJ files share this frame",
    "metric": False,
    "depth": "sizes and depths are a guess, not metric: one picture does not tell the scale",
}
CAMERA = {
    "model": "weak perspective, one per hand: u = s x + tx, v = s y + ty",
    "of": "points of a hand minus that hand's wrist",
    "cam": "s, tx, ty for pixels of the original picture",
    "cam_crop": "the same for pixels of the 256x256 crop; crop.affine maps original to crop pixels",
}


def to_dict(hands: TwoHands) -> dict[str, Any]:
    """Everything but the vertices as plain data, with units and frames in words."""
    return {
        "format": "two-hands/1",
        "hands_found": [name for name, seen in zip(HANDS, hands.found, strict=True) if seen],
        "hands": {name: _hand(hands, i) for i, name in enumerate(HANDS)},
        "rel_trans": _plain(hands.rel_trans),
        "crop": {"box_xywh": _plain(hands.box), "affine": _plain(hands.affine)},
        "image_size": list(hands.image_size),
        "camera": CAMERA,
        "units": UNITS,
        "frames": FRAMES,
        "joint_names": list(JOINT_NAMES),
        "mano_joint_names": list(MANO_JOINT_NAMES),
        "mano_pose": "axis-angle per MANO joint, parent-relative, without the mean pose; "
        "the wrist's is global in the camera axes",
        "hand_model": hands.hand_model,
        "weights": hands.weights,
    }


def _hand(hands: TwoHands, index: int) -> dict[str, Any]:
    seen = bool(hands.found[index])
    values = {
        "mano_pose": hands.pose,
        "mano_shape": hands.shape,
        "wrist": hands.wrists,
        "joints_3d": hands.joints,
        "joints_2d": hands.joints_img,
        "cam": hands.cam_in_picture,
        "cam_crop": hands.cam,
    }
    plain = {key: _plain(value[index]) if seen else None for key, value in values.items()}
    return {"found": seen, "probability": float(hands.present[index]), **plain}


def _plain(value: NDArray | None) -> list | None:
    return None if value is None else np.asarray(value, np.float64).tolist()


def overlay(hands: TwoHands, picture: Picture, faces: Tensor, synthetic: bool = False) -> Picture:
    """The hands that were found over the original picture, captioned; faces (2,F,3)."""
    on = " on a synthetic picture" if synthetic else ""
    if not hands.found.any():
        return caption(picture, f"prediction{on}: no hand found")
    wrists = hands.wrists
    seen = {
        "verts": hands.verts - wrists[:, None],
        "cam": hands.cam_in_picture,
        "rel_trans": wrists[LEFT] - wrists[RIGHT],
        "present": np.where(hands.found, 1.0, -1.0),  # logits
    }
    pred = {key: torch.as_tensor(value)[None] for key, value in seen.items()}
    drawn = prediction_overlay(picture, pred, 0, faces)
    return caption(drawn, f"prediction{on} ({hands.hand_model})")


def export(
    hands: TwoHands,
    picture: Picture,
    faces: Tensor,
    folder: Path,
    stem: str,
    source: str,
    synthetic: bool = False,
) -> list[Path]:
    """Write <stem>_overlay.png, <stem>_right.obj, <stem>_left.obj, <stem>.json; returns the paths.

    <stem>_attention.png, over the crop, if the result holds attention. A hand that was not found has no
    mesh; a mesh or attention an earlier run left under its name is removed.
    source: what the JSON names as the input; synthetic: whether nobody photographed it.
    """
    paths = [folder / f"{stem}_overlay.png"]
    write_picture(paths[0], overlay(hands, picture, faces, synthetic))
    path = folder / f"{stem}_attention.png"
    path.unlink(missing_ok=True)
    if hands.attention is not None:
        maps = {unit: torch.from_numpy(value) for unit, value in hands.attention.items()}
        write_picture(path, attention_panels(warp(picture, hands.affine, IMAGE_SIZE), maps))
        paths.append(path)
    meshes: dict[str, str | None] = {}
    for i, name in enumerate(HANDS):
        path = folder / f"{stem}_{name}.obj"
        meshes[name] = path.name if hands.found[i] else None
        if hands.found[i]:
            write_obj(path, hands.verts[i], faces[i].cpu().numpy(), _obj_comments(hands, name))
            paths.append(path)
        else:
            path.unlink(missing_ok=True)
    paths.append(folder / f"{stem}.json")
    write_json(paths[-1], {"input": source, "synthetic": synthetic, "meshes": meshes, **to_dict(hands)})
    return paths


def _obj_comments(hands: TwoHands, name: str) -> tuple[str, ...]:
    return (
        f"{name} hand, {hands.hand_model}, weights {hands.weights}",
        f"metres, {FRAMES['axes']}; origin: {FRAMES['origin']}; {FRAMES['depth']}",
    )
