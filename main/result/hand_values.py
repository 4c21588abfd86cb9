"""The numbers that one picture gave, and what follows from them at once."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from common.hand.joints import LEFT, RIGHT
from common.utils.camera import Camera, place_hands
from common.utils.geometry import IMAGE_SIZE, axis_angle_to_matrix, matrix_to_axis_angle

PRESENT = 0.5  # probability from which on a hand counts as present


@dataclass(frozen=True, eq=False)
class HandValues:
    """What one picture shows; arrays are float32, hands in (right, left) order at axis 0.

    verts and joints share one frame: camera axes (x right, y down, z forward), metres, the right wrist at
    the origin, the left hand placed by rel_trans. A hand that is present alone has its own wrist at the
    origin. verts_cam and joints_cam are the same hands where `camera` draws them on the picture, in its own
    axes; files are in that frame. Values of a hand that is not present are the network's guess and mean
    nothing. Depth and the distance to the camera are not metric unless the camera was given.

    pose and shape make the rough mesh, of which the refine stage moves the vertices to the final one; a
    network without that stage has one mesh, which they make, and None for the rough one.
    """

    present: NDArray  # (2,) probability that the hand is in the picture; 1 if the network does not judge it
    verts: NDArray  # (2,778,3) metres, common frame: the final mesh
    joints: NDArray  # (2,21,3) metres, common frame, regressed from it
    verts_rough: NDArray | None  # (2,778,3) metres, common frame: the mesh of pose and shape
    joints_rough: NDArray | None  # (2,21,3) metres, common frame, regressed from it
    joints_2d_heatmap: NDArray  # (2,21,2) u, v in pixels of the original picture, by the joint stage
    pose: NDArray  # (2,16,3) MANO axis-angle without the mean pose, radians; [:, 0] is the wrist
    shape: NDArray  # (2,10) MANO betas
    cam: NDArray  # (2,3) s, tx, ty: u = s x + tx, v = s y + ty, wrist-relative metres -> crop pixels
    rel_trans: NDArray | None  # (3,) left wrist minus right wrist, metres; None unless both are present
    affine: NDArray  # (2,3) original pixels -> crop pixels
    box: NDArray  # (4,) x, y, w, h of the square crop in the original picture
    image_size: tuple[int, int]  # width, height of the original picture
    camera: Camera  # of the original picture
    picture: NDArray = field(repr=False)  # (H,W,3) uint8 RGB, the original, not a copy
    faces: NDArray = field(repr=False)  # (2,1538,3) triangles of the meshes
    hand_model: str
    weights: str
    threshold: float = PRESENT
    placed: NDArray | None = None  # (2,3) wrists in the camera's frame, where a filter moved them
    attention: dict[str, NDArray] | None = None  # local (2,8,8), global (8,8) over the crop's cells, if asked

    @property
    def is_present(self) -> NDArray[np.bool_]:
        """(2,) which hands the picture shows."""
        return self.present >= self.threshold

    @property
    def wrists(self) -> NDArray:
        """(2,3) wrists in the common frame; subtract them to use `cam`."""
        wrists = np.zeros((2, 3), np.float32)
        if self.rel_trans is not None:
            wrists[LEFT] = self.rel_trans
        return wrists

    @property
    def cam_in_picture(self) -> NDArray:
        """(2,3) s, tx, ty as in `cam`, for pixels of the original picture: the network's own weak cameras."""
        zoom, shift = self.affine[0, 0], self.affine[:, 2]
        return np.concatenate([self.cam[:, :1], self.cam[:, 1:] - shift], 1) / zoom

    @cached_property
    def turn(self) -> NDArray:
        """(3,3) from the axes in which the network sees its crop to those of `camera`.

        The network knows nothing of the place of the crop: to it, the crop's middle is straight ahead.
        """
        middle = np.linalg.solve(self.affine[:, :2], np.full(2, (IMAGE_SIZE - 1) / 2) - self.affine[:, 2])
        return self.camera.turn_to(middle).astype(np.float32)

    @cached_property
    def wrists_cam(self) -> NDArray:
        """(2,3) wrists in the frame of `camera`, which draws both hands where their weak cameras do.

        Both hands share one unknown depth, between them lies that of rel_trans. Hands that are not present
        are each placed alone, where they bother none.
        """
        if self.placed is not None:
            return self.placed
        about_wrists = (self.joints - self.wrists[:, None]).astype(np.float64)
        cam = self.cam_in_picture.astype(np.float64)
        seen = cam[:, None, :1] * about_wrists[..., :2] + cam[:, None, 1:]
        joints = about_wrists @ self.turn.T
        if self.rel_trans is not None:
            depth = [0.0, self.rel_trans_cam[2]]
            return place_hands(joints, seen, cam[:, 0], depth, self.camera).astype(np.float32)
        alone = [
            place_hands(joints[[i]], seen[[i]], cam[[i], 0], [0.0], self.camera)[0] for i in (RIGHT, LEFT)
        ]
        return np.stack(alone).astype(np.float32)

    @property
    def verts_cam(self) -> NDArray:
        """(2,778,3) metres in the frame of `camera`: the final mesh."""
        return self.in_camera(self.verts)

    @property
    def joints_cam(self) -> NDArray:
        """(2,21,3) metres in the frame of `camera`."""
        return self.in_camera(self.joints)

    def in_camera(self, points: NDArray) -> NDArray:
        """Points (2,N,3) of the common frame -> the frame of `camera`."""
        return (points - self.wrists[:, None]) @ self.turn.T + self.wrists_cam[:, None]

    @property
    def rel_trans_cam(self) -> NDArray | None:
        """(3,) rel_trans in the axes of `camera`."""
        return None if self.rel_trans is None else self.turn @ self.rel_trans

    @property
    def pose_cam(self) -> NDArray:
        """(2,16,3) pose, its wrist in the axes of `camera`."""
        pose = self.pose.copy()
        pose[:, 0] = matrix_to_axis_angle(torch.from_numpy(self.wrist_poses[:, :3, :3])).numpy()
        return pose

    @property
    def joints_2d(self) -> NDArray:
        """(2,21,2) u, v in pixels of the original picture: the final mesh's joints under `camera`."""
        return self.camera.project(self.joints_cam).astype(np.float32)

    @property
    def wrist_poses(self) -> NDArray:
        """(2,4,4): from the axes of MANO's wrist at rest, wrist at the origin, to the frame of `camera`."""
        poses = np.tile(np.eye(4, dtype=np.float32), (2, 1, 1))
        poses[:, :3, :3] = self.turn @ axis_angle_to_matrix(torch.from_numpy(self.pose[:, 0])).numpy()
        poses[:, :3, 3] = self.wrists_cam
        return poses
