"""HIC (Tzionas et al., IJCV 2016) with its MANO meshes, as InterWild tests on it: contract samples."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from common.hand.mano import ManoLayer
from common.utils.errors import UserError
from common.utils.geometry import project
from common.utils.image import square_box, tight_box
from data.base import HandDataset, blank_record, presence
from data.HIC import files

CAMERA = np.array([[525.0, 0, 319.5], [0, 525.0, 239.5], [0, 0, 1]])  # of every frame
FAR = 0.02  # metres between a mesh and its own fit that no rounding and no fault of the shapes explains
COMPARED = 64  # annotations on which fits are compared with their meshes


class HIC(HandDataset):
    """One sample per annotation of HIC.json; for tests only, see data/base.py for the contract.

    The truth is the mesh of each hand. HIC annotates no joints in 3-D: `joints` are regressed from its own
    meshes, tips "interhand". All of it counts as human annotated, as InterWild counts it.
    mano: the hand layer, needed here for the joints. hic_path: the folder of HIC.json or one above it.
    limit: keep the first so many. log: receives the counts line by line.
    """

    def __init__(
        self,
        mano: ManoLayer,
        hic_path: str | Path,
        limit: int | None = None,
        log: Callable[[str], None] = print,
    ):
        super().__init__()
        self.folder = files.find(hic_path)
        rows = files.read_annotations(self.folder / "HIC.json")
        log(f"HIC: {len(rows):,} annotations")
        complete = [row for row in rows if self._on_disk(row)]
        left_out = len(rows) - len(complete)
        log(f"  with picture, meshes and their fits on disk: {len(complete):,} ({left_out:,} left out)")
        if not complete:
            raise UserError(f"HIC: no annotation has its picture and fits (.ply and .pkl) in {self.folder}")
        self.rows = complete[:limit]
        self.valid = np.array([[mesh is not None for mesh in row.meshes] for row in self.rows])  # (N,2)
        self._read(mano, log)
        right, left = self.valid.sum(0)
        log(f"  used: {len(self):,}, with {right:,} right and {left:,} left hands")
        log(f"  joints regressed from its own meshes by the {mano.name}, tips 'interhand'")

    def __len__(self) -> int:
        return len(self.rows)

    def ids(self) -> list[str]:
        """Paths of the pictures in HIC's folder, without suffix."""
        return [Path(row.picture).with_suffix("").as_posix() for row in self.rows]

    def notes(self) -> list[str]:
        """Which boxes the crops are cut by."""
        return ["boxes: around the true meshes"]

    def record(self, index: int) -> dict[str, Any]:
        """One raw record (see data/base.py)."""
        row, valid = self.rows[index], self.valid[index].astype(np.float32)
        verts = self.verts[index]
        pixels = project(torch.from_numpy(verts).double(), torch.from_numpy(CAMERA)).numpy()
        box = tight_box(pixels, np.broadcast_to(valid[:, None], verts.shape[:2]))
        joints_valid = np.repeat(valid[:, None], self.joints.shape[2], 1)
        return blank_record() | {
            "id": Path(row.picture).with_suffix("").as_posix(),
            "image_path": self.folder / row.picture,
            "hand_type": row.hand_type,
            "human_annotated": True,
            "K_orig": CAMERA,
            "image_size": row.size,
            "box": square_box(box),
            "mesh_cam": verts,
            "joints": self.joints[index],
            "joints_valid": joints_valid,
            "in_picture": joints_valid,
            "pose": self.pose[index],
            "shape": self.shape[index],
            "pivot_cam": self.pivots[index],
            "pose_valid": valid,
            "shape_valid": valid,
            "present": presence(row.hand_type),
        }

    def _on_disk(self, row: files.Row) -> bool:
        """Whether the picture and at least one mesh are there, each mesh with its fit."""
        meshes = [mesh for mesh in row.meshes if mesh]
        needed = [row.picture, *meshes, *(files.fit_of(mesh) for mesh in meshes)]
        return bool(meshes) and all((self.folder / name).is_file() for name in needed)

    @torch.no_grad()
    def _read(self, mano: ManoLayer, log: Callable[[str], None]) -> None:
        """Meshes (N,2,778,3), their joints and the fits' numbers; zeros where a hand has none."""
        numbers = np.zeros((len(self), 2, 61))
        self.verts = np.zeros((len(self), 2, files.VERTICES, 3), np.float32)
        for index, side in np.argwhere(self.valid):
            mesh = self.rows[index].meshes[side]
            self.verts[index, side] = files.read_ply(self.folder / mesh)
            numbers[index, side] = files.read_fit(self.folder / files.fit_of(mesh))
        device = mano.template.device
        self.joints = mano.joints(torch.from_numpy(self.verts).to(device), "interhand").cpu().numpy()
        pose, shape, trans = np.split(numbers, [48, 58], -1)
        self.shape = shape
        self.pivots = mano.rest_wrist(torch.from_numpy(shape).float().to(device)).cpu().numpy() + trans
        self.pose = self._as_axis_angle(mano, pose, shape, trans, log)

    def _as_axis_angle(
        self, mano: ManoLayer, pose: NDArray, shape: NDArray, trans: NDArray, log: Callable[[str], None]
    ) -> NDArray[np.float64]:
        """Poses (N,2,48) -> (N,2,16,3), by the reading of the finger numbers that gives the meshes.

        Nothing says whether the 45 numbers are angles or MANO's principal components, so both are tried.
        """
        components = mano.components.double().cpu().numpy()
        wrist, fingers = pose[..., :3], pose[..., 3:]
        from_components = np.einsum("nhc,hcd->nhd", fingers, components)
        readings = {
            "axis-angle": pose.reshape(-1, 2, 16, 3),
            "principal components": np.concatenate([wrist, from_components], -1).reshape(-1, 2, 16, 3),
        }
        some = np.unique(np.linspace(0, len(self) - 1, COMPARED).astype(int))
        distances = {}
        for name, values in readings.items():
            distances[name] = self._distance(mano, some, values[some], shape[some], trans[some])
        best = min(distances, key=distances.get)
        if distances[best] > FAR:
            raise UserError(
                f"HIC: the fits, posed on the {mano.name}, lie {1000 * distances[best]:.0f} mm from their "
                "own meshes: set smplx_path to the MANO files"
            )
        log(f"  poses read as {best}: {1000 * distances[best]:.2f} mm from the meshes on the {mano.name}")
        return readings[best]

    def _distance(
        self, mano: ManoLayer, rows: NDArray, pose: NDArray, shape: NDArray, trans: NDArray
    ) -> float:
        """Mean distance (metres) of the meshes of some rows from their fits posed on `mano`."""
        device = mano.template.device
        pose, shape, trans = (torch.from_numpy(values).float().to(device) for values in (pose, shape, trans))
        verts = mano(pose, shape)[0] + trans[:, :, None]
        distance = np.linalg.norm(verts.cpu().numpy() - self.verts[rows], axis=-1)  # (n,2,778)
        return float(distance[self.valid[rows]].mean())
