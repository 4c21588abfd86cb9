"""Predictions in a file, ours or anyone's: one .npz, evaluated under every protocol.

  id (N,)                annotation ids of InterHand2.6M, or the ids of another data set
  verts (N,2,778,3)      metres in camera axes, hands (right, left), each about any root of its own;
                         NaN throughout: this hand is not predicted
  rel_trans (N,3)        left minus right wrist, metres; absent: from the wrists regressed from `verts`
  joints_img (N,2,21,2)  pixels of the original picture, wrist first; may be absent
Ours also holds, and others may: cam (N,2,3), which draws `verts` at u = s x + tx, v = s y + ty pixels of
the original picture; verts_rough (as verts); rotmat (N,2,16,3,3); present (N,2) logits.
"""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.eval.measure import Batch, Prediction
from common.utils.errors import UserError
from common.utils.files import write_file

SHAPES = {
    "verts": (2, 778, 3),
    "rel_trans": (3,),
    "joints_img": (2, 21, 2),
    "cam": (2, 3),
    "verts_rough": (2, 778, 3),
    "rotmat": (2, 16, 3, 3),
    "present": (2,),
}
SAMPLED_ROWS = 100  # of a file, enough to tell its unit
LONGEST_HAND = 50.0  # metres from a network gone wild; a hand in millimetres measures some 150


class Predictions:
    """Rows of predictions under their ids, in the pixels of the original pictures."""

    def __init__(self, ids: Sequence[str] = (), arrays: Mapping[str, NDArray] | None = None):
        self.ids = list(ids)
        self.parts = {key: [rows] for key, rows in (arrays or {}).items()}
        self.row: dict[str, int] = {}

    def add(self, pred: Prediction, batch: Batch) -> None:
        """Keep a batch of the network's predictions (19 kB a mesh pair; in memory until `write`)."""
        values = {key: pred[key].float() for key in SHAPES if key in pred}
        scale, shift = _scale_and_shift(batch)
        values["joints_img"] = (values["joints_img"][..., :2] - shift[:, None]) / scale
        values["cam"] = torch.cat([values["cam"][..., :1], values["cam"][..., 1:] - shift], -1) / scale[:, 0]
        for key, rows in values.items():
            self.parts.setdefault(key, []).append(rows.cpu().numpy())
        self.ids += batch["id"]

    def of(self, batch: Batch) -> dict[str, Tensor]:
        """The rows of a batch, in pixels of its crops; NaN for ids that are not here."""
        rows = self._rows(batch["id"])
        pred = {}
        for key in self.parts:
            values = self.array(key)[rows]  # of -1: some row, made NaN
            values[rows < 0] = np.nan
            pred[key] = torch.from_numpy(values).to(batch["affine"].device)
        scale, shift = _scale_and_shift(batch)
        if "joints_img" in pred:
            pred["joints_img"] = pred["joints_img"] * scale + shift[:, None]
        if "cam" in pred:
            cam = pred["cam"] * scale[:, 0]
            pred["cam"] = torch.cat([cam[..., :1], cam[..., 1:] + shift], -1)
        return pred

    def array(self, key: str) -> NDArray:
        """All rows of a key (N,...)."""
        if len(self.parts[key]) > 1:
            self.parts[key] = [np.concatenate(self.parts[key])]
        return self.parts[key][0]

    def _rows(self, ids: Sequence[str]) -> NDArray[np.int64]:
        if not self.row:
            self.row = {name: row for row, name in enumerate(self.ids)}
        return np.array([self.row.get(name, -1) for name in ids])

    def merge(self, other: "Predictions") -> None:
        """Add the rows of another process."""
        self.ids += other.ids
        for key, parts in other.parts.items():
            self.parts.setdefault(key, []).extend(parts)

    def write(self, path: Path) -> None:
        """One .npz, each id once, whole or not at all."""
        ids, first = np.unique(np.array(self.ids, np.str_), return_index=True)
        arrays = {key: self.array(key)[first] for key in self.parts}
        write_file(path, lambda file: np.savez(file, id=ids, **arrays))


def read_predictions(path: Path) -> Predictions:
    """Read and check a file of predictions; nothing in it is executed. Raises UserError."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in ("id", *SHAPES) if key in file}
    except OSError as error:
        raise UserError(f"cannot read the predictions {path}: {error.strerror or error}") from None
    except (ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is not an .npz of plain arrays, nothing of it was run: {error}") from None
    for key in ("id", "verts"):
        if key not in arrays:
            raise UserError(f"{path} holds no '{key}': docs/evaluation.md lists the arrays")
    ids = arrays.pop("id")
    if ids.ndim != 1 or len(np.unique(ids)) != len(ids):
        raise UserError(f"{path}: 'id' must be (N,) with every annotation id once, not {ids.shape}")
    for key, value in arrays.items():
        if value.shape != (len(ids), *SHAPES[key]) or value.dtype.kind != "f":
            expected = ", ".join(map(str, SHAPES[key]))
            raise UserError(
                f"{path}: '{key}' is {value.dtype} {value.shape}, expected floats ({len(ids)}, {expected})"
            )
    _require_metres(path, arrays["verts"][:SAMPLED_ROWS])
    return Predictions([str(name) for name in ids.tolist()], arrays)


def _require_metres(path: Path, verts: NDArray) -> None:
    """Raise UserError on vertices (N,2,778,3) of hands too large to be in metres."""
    with np.errstate(invalid="ignore"):
        lengths = np.ptp(verts, axis=2).max(-1)  # (N,2), NaN of hands that are not predicted
    lengths = lengths[np.isfinite(lengths)]
    if len(lengths) and np.median(lengths) > LONGEST_HAND:
        raise UserError(
            f"{path}: a hand of 'verts' measures {np.median(lengths):.0f}, metres are expected: these look "
            "like millimetres, divide them by 1000"
        )


def _scale_and_shift(batch: Batch) -> tuple[Tensor, Tensor]:
    """Crop pixel = scale * original pixel + shift: (B,1,1,1), (B,1,2). Test crops are not rotated."""
    affine = batch["affine"]
    return affine[:, 0, 0].view(-1, 1, 1, 1), affine[:, None, :, 2]
