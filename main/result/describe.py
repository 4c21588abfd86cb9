"""Two hands as plain data: numbers, units and frames in words (formally: two_hands.schema.json)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.hand.joints import HANDS, JOINT_NAMES, MANO_JOINT_NAMES
from main.result.hand_values import HandValues

FORMAT = "two-hands/3"
UNITS = {
    "length": "metre",
    "angle": "radian",
    "pixel": "pixel of the original picture; centres are integers, (0, 0) is the upper left one",
    "cam_crop": "pixel per metre, pixel, pixel",
}
FRAMES = {
    "axes": "camera: x right, y down, z forward (OpenCV)",
    "origin": "the camera's centre; meshes, joints_3d, wrist and wrist_pose share this frame",
    "rel_trans": "the left wrist minus the right wrist as the network says it, null unless both are present; "
    "its depth is kept, across the picture the hands are placed where they are seen",
    "turned": "the network sees a crop as if its middle were straight ahead: hands are turned there",
    "wrist_pose": "4x4, row by row: from the axes of MANO's wrist at rest, about the wrist, to this frame",
}
METRIC = "the camera was given: depths are metric as far as the size of the hands is guessed right"
NOT_METRIC = "sizes and depths are a guess, not metric: one picture does not tell the scale"
CAMERA_MODEL = "pinhole of the original picture: u = fx x / z + cx, v = fy y / z + cy"
JOINTS = {
    "joints_3d": "regressed from the final mesh",
    "joints_3d_rough": "regressed from the rough mesh; null if the network makes one mesh only",
    "joints_2d": "joints_3d under the camera: they lie on the mesh of the overlay",
    "joints_2d_heatmap": "the joint stage's own, read from heat maps before there was a mesh: they may lie "
    "elsewhere",
}
CAM_CROP = (
    "the network's own weak camera of a hand, about its wrist, in the 256x256 crop: u = s x + tx, "
    "v = s y + ty; crop.affine maps original to crop pixels"
)
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


def to_dict(hands: HandValues) -> dict[str, Any]:
    """Everything but the vertices as plain data, with units and frames in words."""
    metric = hands.camera.source == "given"
    return {
        **numbers(hands),
        "units": UNITS,
        "frames": FRAMES | {"metric": metric, "depth": METRIC if metric else NOT_METRIC},
        "joints": JOINTS,
        "cam_crop": CAM_CROP,
        "joint_names": list(JOINT_NAMES),
        "mano_joint_names": list(MANO_JOINT_NAMES),
        "mano_parameters": ONE_MESH if hands.verts_rough is None else TWO_MESHES,
        "mano_pose": MANO_POSE,
        "hand_model": hands.hand_model,
        "weights": hands.weights,
    }


def numbers(hands: HandValues) -> dict[str, Any]:
    """What differs from picture to picture."""
    return {
        "format": FORMAT,
        "hands_present": [name for name, present in zip(HANDS, hands.is_present, strict=True) if present],
        "threshold": hands.threshold,
        "hands": {name: _hand(hands, i) for i, name in enumerate(HANDS)},
        "rel_trans": _plain(hands.rel_trans_cam),
        "crop": {"box_xywh": _plain(hands.box), "affine": _plain(hands.affine)},
        "image_size": list(hands.image_size),
        "camera": _camera(hands),
    }


def _camera(hands: HandValues) -> dict[str, Any]:
    camera = hands.camera
    values = {"fx": camera.fx, "fy": camera.fy, "cx": camera.cx, "cy": camera.cy}
    return {"model": CAMERA_MODEL, **values, "source": camera.source, "metric": camera.source == "given"}


def _hand(hands: HandValues, index: int) -> dict[str, Any]:
    """One hand's values; null where it is not present, or where the network has no such value."""
    present = bool(hands.is_present[index])
    rough = hands.joints_rough
    values = {
        "mano_pose": hands.pose_cam,
        "mano_shape": hands.shape,
        "wrist": hands.wrists_cam,
        "wrist_pose": hands.wrist_poses,
        "joints_3d": hands.joints_cam,
        "joints_3d_rough": None if rough is None else hands.in_camera(rough),
        "refinement": _refinement(hands),
        "joints_2d": hands.joints_2d,
        "joints_2d_heatmap": hands.joints_2d_heatmap,
        "cam_crop": hands.cam,
    }
    plain: dict[str, Any] = {"is_present": present, "probability": float(hands.present[index])}
    for key, value in values.items():
        plain[key] = _plain(value[index]) if present and value is not None else None
    return plain


def _refinement(hands: HandValues) -> NDArray | None:
    """(2,) mean distance in metres between the vertices of the rough and the final mesh."""
    if hands.verts_rough is None:
        return None
    return np.linalg.norm(hands.verts - hands.verts_rough, axis=-1).mean(-1)


def _plain(value: NDArray | None) -> Any:
    """Numbers as JSON has them."""
    return None if value is None else np.asarray(value, np.float64).tolist()


def arrays(hands: HandValues) -> dict[str, NDArray]:
    """What an NPZ holds, hands (right, left) at axis 0; NaN for a hand that is not present."""
    values = {
        "verts": hands.verts_cam,
        "joints_3d": hands.joints_cam,
        "joints_2d": hands.joints_2d,
        "mano_pose": hands.pose_cam,
        "mano_shape": hands.shape,
        "wrist_pose": hands.wrist_poses,
    }
    absent = ~hands.is_present
    blanked = {}
    for key, value in values.items():
        blanked[key] = value.astype(np.float32)
        blanked[key][absent] = np.nan
    rel_trans = np.full(3, np.nan) if hands.rel_trans is None else hands.rel_trans_cam
    blanked["rel_trans"] = np.asarray(rel_trans, np.float32)
    return {"probability": hands.present, **blanked, "K": hands.camera.K, "box_xywh": hands.box}
