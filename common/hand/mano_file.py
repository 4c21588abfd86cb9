"""Reading the hand model: official MANO pickles without chumpy, or the licence-free stand-in hand.

A MANO file is a Python 2 pickle that names chumpy and scipy classes. It is read with an allow-list:
inert stand-ins replace those classes, and any other name in the file is refused before it can run.
"""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.hand.joints import LEFT, RIGHT
from common.hand.mirror import MIRROR_AXIS_ANGLE, MIRROR_POINT, MIRROR_ROTATION
from common.utils.errors import UserError

STANDIN_FILE = Path(__file__).with_name("standin_hand.npz")
STANDIN_NAME = "stand-in hand"
FILE_NAMES = ("MANO_RIGHT.pkl", "MANO_LEFT.pkl")
SUBFOLDERS = ("", "mano", "models", "mano_v1_2/models")
ARRAY_SHAPES = {
    "v_template": (778, 3),
    "f": (1538, 3),
    "J_regressor": (16, 778),
    "kintree_table": (2, 16),
    "weights": (778, 16),
    "posedirs": (778, 3, 135),
    "shapedirs": (778, 3, 10),
    "hands_mean": (45,),
    "hands_components": (45, 45),
}
INTEGERS = {"f", "kintree_table"}
WHERE_TO_GET_IT = (
    "register at mano.is.tue.mpg.de, download mano_v1_2.zip and set smplx_path to the folder that "
    "holds MANO_RIGHT.pkl and MANO_LEFT.pkl; leave smplx_path unset for the stand-in hand"
)


class _State:
    """Holds the state of a pickled object and nothing else."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.state = state


class _SparseColumns(_State):
    """A scipy csc_matrix."""

    def value(self) -> NDArray:
        s = self.state
        dense = np.zeros(s.get("_shape", s.get("shape")))
        columns = np.repeat(np.arange(dense.shape[1]), np.diff(s["indptr"]))
        np.add.at(dense, (s["indices"], columns), s["data"])
        return dense


class _ChumpyArray(_State):
    """A chumpy Ch: an array with bookkeeping."""

    def value(self) -> NDArray:
        return np.asarray(self.state["x"])


class _ChumpySelect(_State):
    """A chumpy Select: some entries of another array, reshaped."""

    def value(self) -> NDArray:
        source = _plain(self.state["a"])
        return source.ravel()[self.state["idxs"]].reshape(self.state["preferred_shape"])


def _allowed_names() -> dict[tuple[str, str], Any]:
    reconstruct = np.zeros(0).__reduce__()[0]
    allowed = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("_codecs", "encode"): _encode_latin1,
        ("__builtin__", "set"): set,
        ("builtins", "set"): set,
        ("chumpy.ch", "Ch"): _ChumpyArray,
        ("chumpy.reordering", "Select"): _ChumpySelect,
    }
    for core in ("numpy.core.multiarray", "numpy._core.multiarray"):
        allowed |= {(core, "_reconstruct"): reconstruct, (core, "scalar"): np.float64(0).__reduce__()[0]}
    for module in ("scipy.sparse.csc", "scipy.sparse._csc"):
        allowed[module, "csc_matrix"] = _SparseColumns
    return allowed


def _encode_latin1(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes into a protocol 2 pickle; only ever called with latin1."""
    return text.encode("latin1")


class _Reader(pickle.Unpickler):
    allowed = _allowed_names()

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self.allowed[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no MANO file needs") from None


def _plain(value: Any) -> Any:
    return value.value() if isinstance(value, _State) else value


def read_mano_pickle(path: Path) -> dict[str, NDArray]:
    """One official MANO_*.pkl -> dict of float64/int64 arrays, shapedirs cut to 10 components.

    Raises UserError on a file that is not there, is no pickle, names anything but arrays, or holds
    arrays of other shapes. Nothing in the file is executed.
    """
    try:
        return read_arrays(path, ARRAY_SHAPES)
    except OSError as error:
        raise UserError(f"cannot read the hand model {path} ({error.strerror}): {WHERE_TO_GET_IT}") from None


def read_arrays(path: Path, shapes: dict[str, tuple[int, ...]]) -> dict[str, NDArray]:
    """Arrays of these names and shapes from a MANO-like pickle, read as read_mano_pickle says."""
    try:
        with open(path, "rb") as file:
            raw = _Reader(file, encoding="latin1").load()
    except OSError:
        raise
    except Exception as error:  # a damaged or hostile pickle can raise anything
        raise UserError(f"{path} is not a MANO file, nothing of it was run: {error}") from None
    if not isinstance(raw, dict):
        raise UserError(f"{path} is not a MANO file: it holds a {type(raw).__name__}, not a dictionary")
    return _checked(raw, path, shapes)


def _checked(raw: dict[str, Any], path: Path, shapes: dict[str, tuple[int, ...]]) -> dict[str, NDArray]:
    """The named arrays with these shapes, as numbers; UserError on anything else."""
    arrays = {}
    for key, shape in shapes.items():
        if key not in raw:
            raise UserError(f"{path} is not a MANO file: it has no '{key}'")
        try:
            value = np.asarray(_plain(raw[key]), np.float64)
        except Exception as error:  # a damaged or hostile object can raise anything
            reason = f"{type(error).__name__}: {error}"
            raise UserError(f"{path} is not a MANO file: '{key}' is no array of numbers ({reason})") from None
        if key == "shapedirs":
            value = value[..., :10]
        if value.shape != shape:
            raise UserError(f"{path} is not a MANO hand: '{key}' is {value.shape}, expected {shape}")
        if not np.isfinite(value).all():
            raise UserError(f"{path} is not a MANO hand: '{key}' holds numbers that are not finite")
        arrays[key] = value
    if "f" in arrays:
        faces, vertices = arrays["f"], len(arrays["v_template"])
        if faces.min() < 0 or faces.max() >= vertices:
            raise UserError(f"{path} is not a MANO hand: its faces name vertices beyond its {vertices}")
    for key in INTEGERS & arrays.keys():
        arrays[key] = arrays[key].astype(np.int64)
    return arrays


def find_mano_files(smplx_path: str | Path) -> tuple[Path, Path]:
    """(right, left) files for a folder, one of its usual subfolders, or either file itself."""
    given = Path(smplx_path).expanduser()
    folders = [given.parent] if given.suffix == ".pkl" else [given / sub for sub in SUBFOLDERS]
    for folder in folders:
        files = tuple(folder / name for name in FILE_NAMES)
        if all(file.is_file() for file in files):
            return files
    raise UserError(
        f"no {FILE_NAMES[0]} and {FILE_NAMES[1]} in {given} or its subfolders "
        f"{', '.join(SUBFOLDERS[1:])}: {WHERE_TO_GET_IT}"
    )


def read_standin() -> dict[str, NDArray]:
    """The stand-in right hand, same keys, shapes and units as a MANO file (tool/stand_in/make_hand.py)."""
    with np.load(STANDIN_FILE) as asset:
        return _checked(dict(asset), STANDIN_FILE, ARRAY_SHAPES)


def mirrored(model: dict[str, NDArray]) -> dict[str, NDArray]:
    """The other hand of a model."""
    # posedirs answer to the 9 entries of R - I of each of 15 joints
    rotation_entries = np.tile(MIRROR_ROTATION.ravel(), 15)
    finger_angles = np.tile(MIRROR_AXIS_ANGLE, 15)
    return {
        **model,
        "v_template": model["v_template"] * MIRROR_POINT,
        "f": model["f"][:, ::-1].copy(),  # a mirrored face is seen from behind: wind it the other way
        "shapedirs": model["shapedirs"] * MIRROR_POINT[:, None],
        "posedirs": model["posedirs"] * MIRROR_POINT[:, None] * rotation_entries,
        "hands_mean": model["hands_mean"] * finger_angles,
        "hands_components": model["hands_components"] * finger_angles,
    }


def read_hands(smplx_path: str | Path | None) -> tuple[list[dict[str, NDArray]], str]:
    """Both hands in (right, left) order and the name of the model; None gives the stand-in hand.

    The official left file carries the x components of shapedirs with the wrong sign
    (smplx issue 48); they are corrected here, once.
    """
    standin = read_standin()
    if smplx_path is None:
        return [standin, mirrored(standin)], STANDIN_NAME
    hands = [read_mano_pickle(path) for path in find_mano_files(smplx_path)]
    right_x, left_x = (hands[side]["shapedirs"][:, 0] for side in (RIGHT, LEFT))
    if np.abs(left_x - right_x).sum() < np.abs(left_x + right_x).sum():
        hands[LEFT]["shapedirs"][:, 0] *= -1
    same = np.allclose(hands[RIGHT]["v_template"], standin["v_template"], atol=1e-6)
    return hands, STANDIN_NAME if same else "MANO"
