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
from common.utils.pixels import as_picture
from main.predictor import TwoHands

FORMAT = "two-hands/2"
UNITS = {
    "length": "metre",
    "angle": "radian",
    "pixel": "pixel of the original picture; centres are integers, (0, 0) is the upper left one",
    "cam": "pixel per metre, pixel, pixel",
}
FRAMES = {
    "axes": "camera: x right, y down, z forward (OpenCV)",
    "origin": "wrist of the right hand; a hand present alone has its own wrist at the origin",
    "left": "placed by rel_trans, the left wrist minus the right wrist; null unless both are present",
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
JOINTS = {
    "joints_3d": "regressed from the final mesh",
    "joints_3d_rough": "regressed from the rough mesh; null if the network makes one mesh only",
    "joints_2d": "joints_3d under cam: they lie on the mesh of the overlay",
    "joints_2d_heatmap": "the joint stage's own, read from heat maps before there was a mesh: they may lie "
    "elsewhere",
}
MANO_POSE = (
    "axis-angle per MANO joint, parent-relative, without the mean pose; the wrist's is global in the camera "
    "axes"
)
TWO_MESHES = (
    "mano_pose and mano_shape make the rough mesh (meshes_rough, joints_3d_rough); the refine stage moves "
    "its vertices one by one to the final mesh (meshes, joints_3d), which no MANO parameters make exactly; "
    "refinement is the mean distance it moves them, wrists aligned"
)
ONE_MESH = "mano_pose and mano_shape make the mesh itself (meshes, joints_3d): this network refines nothing"


def to_dict(hands: TwoHands) -> dict[str, Any]:
    """Everything but the vertices as plain data, with units and frames in words."""
    return {
        "format": FORMAT,
        "hands_present": [name for name, present in zip(HANDS, hands.is_present, strict=True) if present],
        "hands": {name: _hand(hands, i) for i, name in enumerate(HANDS)},
        "rel_trans": _plain(hands.rel_trans),
        "crop": {"box_xywh": _plain(hands.box), "affine": _plain(hands.affine)},
        "image_size": list(hands.image_size),
        "camera": CAMERA,
        "units": UNITS,
        "frames": FRAMES,
        "joints": JOINTS,
        "joint_names": list(JOINT_NAMES),
        "mano_joint_names": list(MANO_JOINT_NAMES),
        "mano_parameters": ONE_MESH if hands.verts_rough is None else TWO_MESHES,
        "mano_pose": MANO_POSE,
        "hand_model": hands.hand_model,
        "weights": hands.weights,
    }


def _hand(hands: TwoHands, index: int) -> dict[str, Any]:
    """One hand's values; null where it is not present, or where the network has no such value."""
    present = bool(hands.is_present[index])
    values = {
        "mano_pose": hands.pose,
        "mano_shape": hands.shape,
        "wrist": hands.wrists,
        "joints_3d": hands.joints,
        "joints_3d_rough": hands.joints_rough,
        "refinement": _refinement(hands),
        "joints_2d": hands.joints_2d,
        "joints_2d_heatmap": hands.joints_2d_heatmap,
        "cam": hands.cam_in_picture,
        "cam_crop": hands.cam,
    }
    plain: dict[str, Any] = {"is_present": present, "probability": float(hands.present[index])}
    for key, value in values.items():
        plain[key] = _plain(value[index]) if present and value is not None else None
    return plain


def _refinement(hands: TwoHands) -> NDArray | None:
    """(2,) mean distance in metres between the vertices of the rough and the final mesh."""
    if hands.verts_rough is None:
        return None
    return np.linalg.norm(hands.verts - hands.verts_rough, axis=-1).mean(-1)


def _plain(value: NDArray | None) -> Any:
    """Numbers as JSON has them."""
    return None if value is None else np.asarray(value, np.float64).tolist()


def overlay(hands: TwoHands, picture: Picture, faces: Tensor, synthetic: bool = False) -> Picture:
    """The hands that are present over the original picture, captioned; faces (2,F,3)."""
    on = " on a synthetic picture" if synthetic else ""
    if not hands.is_present.any():
        return caption(picture, f"prediction{on}: no hand found")
    wrists = hands.wrists
    values = {
        "verts": hands.verts - wrists[:, None],
        "cam": hands.cam_in_picture,
        "rel_trans": wrists[LEFT] - wrists[RIGHT],
        "present": np.where(hands.is_present, 1.0, -1.0),  # logits
    }
    pred = {key: torch.as_tensor(value)[None] for key, value in values.items()}
    drawn = prediction_overlay(picture, pred, 0, faces)
    return caption(drawn, f"prediction{on} ({hands.hand_model})")


def export(
    hands: TwoHands,
    picture: str | Path | NDArray | Tensor,
    faces: Tensor,
    folder: Path,
    stem: str,
    source: str,
    synthetic: bool = False,
) -> list[Path]:
    """Write <stem>_overlay.png, an OBJ a hand and mesh, and <stem>.json; returns the paths.

    <stem>_right.obj and <stem>_left.obj are the final meshes, <stem>_right_rough.obj and ..._left_rough.obj
    those of the MANO parameters, where the network refines them. <stem>_attention.png, over the crop, if the
    result holds attention. What an earlier run left under a name that this one does not write is removed.
    picture: as the predictor takes it; source: what the JSON names as the input; synthetic: whether nobody
    photographed it.
    """
    picture = as_picture(picture)
    overlay_path = folder / f"{stem}_overlay.png"
    write_picture(overlay_path, overlay(hands, picture, faces, synthetic))
    attention_path = folder / f"{stem}_attention.png"
    attention_path.unlink(missing_ok=True)
    if hands.attention is not None:
        maps = {unit: torch.from_numpy(value) for unit, value in hands.attention.items()}
        write_picture(attention_path, attention_panels(warp(picture, hands.affine, IMAGE_SIZE), maps))
    final = write_meshes(hands, faces, folder, stem)
    rough = write_meshes(hands, faces, folder, stem, rough=True)
    about = {"input": source, "synthetic": synthetic, "meshes": final, "meshes_rough": rough}
    json_path = folder / f"{stem}.json"
    write_json(json_path, {**about, **to_dict(hands)})
    paths = [overlay_path, attention_path] if hands.attention is not None else [overlay_path]
    paths += [folder / name for name in (*final.values(), *rough.values()) if name is not None]
    return [*paths, json_path]


def write_meshes(
    hands: TwoHands, faces: Tensor, folder: Path, stem: str, rough: bool = False
) -> dict[str, str | None]:
    """An OBJ for each hand that is present; {hand: file name, or None where there is no such mesh}."""
    verts = hands.verts_rough if rough else hands.verts
    words = "rough mesh, of the MANO parameters" if rough else "final mesh"
    names: dict[str, str | None] = {}
    for i, hand in enumerate(HANDS):
        path = folder / (f"{stem}_{hand}_rough.obj" if rough else f"{stem}_{hand}.obj")
        if verts is not None and hands.is_present[i]:
            write_obj(path, verts[i], faces[i].cpu().numpy(), _obj_comments(hands, f"{hand} hand, {words}"))
            names[hand] = path.name
        else:
            path.unlink(missing_ok=True)
            names[hand] = None
    return names


def _obj_comments(hands: TwoHands, words: str) -> tuple[str, ...]:
    return (
        f"{words}, {hands.hand_model}, weights {hands.weights}",
        f"metres, {FRAMES['axes']}; origin: {FRAMES['origin']}; {FRAMES['depth']}",
    )
