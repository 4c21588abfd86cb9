"""Time steps, cameras and pictures of the synthetic set in InterHand2.6M's files."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from common.hand.joints import HANDS, LEFT, RIGHT, WRIST
from common.hand.mano import ManoLayer
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


def draw_step(
    rng: np.random.Generator, oddity: str, mano: ManoLayer, capture: dict[str, dict[str, Any]]
) -> Step:
    """Two hands at random around TARGET, with the oddity; drawn again until every camera sees a joint."""
    while True:
        step = _draw_anywhere(rng, oddity, mano)
        if all(joints_in_picture(step, capture, camera).any() for camera in CAMERAS):
            return step


def _draw_anywhere(rng: np.random.Generator, oddity: str, mano: ManoLayer) -> Step:
    pose = rng.normal(0, 0.2, (2, 16, 3))
    pose[:, WRIST] = rng.normal(0, 1, (2, 3))
    shape = rng.normal(0, 0.5, (2, 10)).clip(-2, 2)
    if oddity == "large_beta":
        shape[RIGHT, 0] += 4.0
    half = rng.uniform(0.03, 0.125)  # of the distance between the wrists
    wrists = TARGET + rng.normal(0, 0.02, (2, 3)) + np.array([[-half, 0, 0], [half, 0, 0]])
    if oddity == "outside":
        wrists[LEFT, 0] += 0.6
    verts, joints, rest = _posed(mano, pose, shape)
    trans = wrists - rest
    joints = joints + trans[:, None] + rng.normal(0, 0.001, (2, 21, 3))
    annotated = np.ones((2, 21), bool)
    if oddity in HANDS:
        annotated[1 - HANDS.index(oddity)] = False
    if oddity == "no_wrist":
        annotated[LEFT, WRIST] = False
    if oddity == "bad_joints":
        annotated[:, [4, 8, 15]] = False
    # In the files a joint that is not annotated is mostly [1, 1, 1] mm, else a plausible place.
    written = np.where(rng.random((2, 21, 1)) < 0.7, 0.001, joints)
    joints[~annotated] = written[~annotated]
    return Step(oddity, pose, shape, trans, verts + trans[:, None], joints, annotated)


def _posed(mano: ManoLayer, pose: NDArray, shape: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Vertices, joints and rest-pose wrists of both hands, in metres."""
    pose_t = torch.from_numpy(pose[None]).float()
    shape_t = torch.from_numpy(shape[None]).float()
    with torch.no_grad():
        verts, joints = mano(pose_t, shape_t)
        rest = mano.rest_wrist(shape_t)
    return verts[0].double().numpy(), joints[0].double().numpy(), rest[0].double().numpy()


def draw_cameras(rng: np.random.Generator) -> dict[str, dict[str, Any]]:
    """One capture of the camera file: cameras 1.0..1.2 m from TARGET that look at it; mm."""
    capture: dict[str, dict[str, Any]] = {"campos": {}, "camrot": {}, "focal": {}, "princpt": {}}
    for name, size in CAMERAS.items():
        rotation = cv2.Rodrigues(rng.uniform(-0.5, 0.5, 3))[0]
        position = TARGET - rotation.T @ np.array([0, 0, rng.uniform(1.0, 1.2)])
        centre = np.array(size) * rng.uniform((0.45, 0.45), (0.57, 0.55))
        focal = rng.uniform(1258, 1278, 2)
        values = {"campos": 1000 * position, "camrot": rotation, "focal": focal, "princpt": centre}
        for key, value in values.items():
            capture[key][name] = value.astype(np.float32).astype(float).tolist()
    return capture


def to_camera(points: NDArray, capture: dict[str, dict[str, Any]], camera: str) -> NDArray:
    """World points (..., 3) in metres -> camera frame, as the data set's authors write it."""
    position = np.array(capture["campos"][camera]) / 1000
    return (points - position) @ np.array(capture["camrot"][camera]).T


def to_pixels(points: NDArray, capture: dict[str, dict[str, Any]], camera: str) -> NDArray:
    """Camera-frame points (..., 3) -> pixels (..., 2)."""
    return points[..., :2] / points[..., 2:] * capture["focal"][camera] + capture["princpt"][camera]


def joints_in_picture(step: Step, capture: dict[str, dict[str, Any]], camera: str) -> NDArray:
    """(2,21) which joints are annotated and lie in the picture."""
    pixels = to_pixels(to_camera(step.joints, capture, camera), capture, camera)
    inside = (pixels >= 0) & (pixels < np.array(CAMERAS[camera]))
    return step.annotated & inside.all(-1)


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
