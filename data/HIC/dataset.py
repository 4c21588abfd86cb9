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
        there = [row for row in rows if any(row.meshes) and self._on_disk(row)]
        self.rows, missing = there[:limit], len(rows) - len(there)
        log(f"  with picture, meshes and their fits on disk: {len(there):,} ({missing:,} left out)")
        if not self.rows:
            raise UserError(f"HIC: no annotation has its picture and fits (.ply and .pkl) in {self.folder}")
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

    def record(self, index: int) -> dict[str, Any]:
        """One raw record (see data/base.py)."""
        row, valid = self.rows[index], self.valid[index].astype(np.float32)
        verts = self.verts[index]
        pixels = project(torch.from_numpy(verts).double(), torch.from_numpy(CAMERA)).numpy()
        box = tight_box(pixels, np.broadcast_to(valid[:, None], verts.shape[:2]))
        joints = np.repeat(valid[:, None], self.joints.shape[2], 1)
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
            "joints_valid": joints,
            "in_picture": joints,
            "pose": self.fits["pose"][index],
            "shape": self.fits["shape"][index],
            "pivot_cam": self.fits["pivot_cam"][index],
            "pose_valid": valid,
            "shape_valid": valid,
            "present": presence(row.hand_type),
        }

    def _on_disk(self, row: files.Row) -> bool:
        meshes = [mesh for mesh in row.meshes if mesh]
        return all(
            (self.folder / name).is_file() for name in (row.picture, *meshes, *map(files.fit_of, meshes))
        )

    @torch.no_grad()
    def _read(self, mano: ManoLayer, log: Callable[[str], None]) -> None:
        """Meshes (N,2,778,3), their joints and the fits' numbers; zeros where a hand has none."""
        numbers = np.zeros((len(self), 2, 61))
        self.verts = np.zeros((len(self), 2, files.VERTICES, 3), np.float32)
        for index, side in zip(*self.valid.nonzero(), strict=True):
            mesh = self.rows[index].meshes[side]
            self.verts[index, side] = files.read_ply(self.folder / mesh)
            numbers[index, side] = files.read_fit(self.folder / files.fit_of(mesh))
        device = mano.template.device
        self.joints = mano.joints(torch.from_numpy(self.verts).to(device), "interhand").cpu().numpy()
        pose, shape, trans = np.split(numbers, [48, 58], -1)
        pivot = mano.rest_wrist(torch.from_numpy(shape).float().to(device)).cpu().numpy() + trans
        self.fits = {
            "pose": self._as_axis_angle(mano, pose, shape, trans, log),
            "shape": shape,
            "pivot_cam": pivot,
        }

    def _as_axis_angle(
        self, mano: ManoLayer, pose: NDArray, shape: NDArray, trans: NDArray, log: Callable[[str], None]
    ) -> NDArray[np.float64]:
        """Poses (N,2,48) -> (N,2,16,3), by the reading of the finger numbers that gives the meshes.

        Nothing says whether the 45 numbers are angles or MANO's principal components, so both are tried.
        """
        components = mano.components.double().cpu().numpy()
        fingers = np.einsum("nhc,hcd->nhd", pose[..., 3:], components)
        readings = {"axis-angle": pose, "principal components": np.concatenate([pose[..., :3], fingers], -1)}
        readings = {name: values.reshape(-1, 2, 16, 3) for name, values in readings.items()}
        some = np.unique(np.linspace(0, len(self) - 1, 64).astype(int))
        inputs = [torch.from_numpy(v[some]).float().to(mano.template.device) for v in (shape, trans)]

        def gap(values: NDArray) -> float:
            verts = mano(torch.from_numpy(values[some]).to(inputs[0]), inputs[0])[0] + inputs[1][:, :, None]
            return np.linalg.norm(verts.cpu().numpy() - self.verts[some], axis=-1)[self.valid[some]].mean()

        gaps = {name: gap(values) for name, values in readings.items()}
        best = min(gaps, key=gaps.get)
        if gaps[best] > FAR:
            raise UserError(
                f"HIC: the fits, posed on the {mano.name}, lie {1000 * gaps[best]:.0f} mm from their own "
                "meshes: set smplx_path to the MANO files"
            )
        log(f"  poses read as {best}: {1000 * gaps[best]:.2f} mm from the meshes on the {mano.name}")
        return readings[best]
