"""The stand-in hand as MANO's own pickle files: tests every reader without the licensed files."""

import pickle
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
from scipy.sparse import csc_matrix

from common.hand.mano_file import STANDIN_FILE, mirrored, read_standin
from common.hand.mirror import MIRROR_AXIS_ANGLE

COEFFS_SEED = 1554
FILE_KEYS = (  # MANO's order
    "hands_components", "f", "J_regressor", "kintree_table", "J", "bs_style", "hands_coeffs",
    "weights", "posedirs", "hands_mean", "v_template", "shapedirs", "bs_type",
)  # fmt: skip


def _coefficients() -> np.ndarray:
    """(1554,45) training-pose coefficients: columns of mean 0 and standard deviation 1."""
    c = np.random.default_rng(COEFFS_SEED).standard_normal((1554, 45))
    return (c - c.mean(0)) / c.std(0)


def mano_dict(right: bool) -> dict:
    """One hand with MANO's keys and types, its known fault included.

    The x components of the left shapedirs keep the right hand's sign (smplx issue 48).
    """
    standin = read_standin()
    hand = standin if right else mirrored(standin)
    shapes = hand["shapedirs"].copy()
    shapes[:, 0] = standin["shapedirs"][:, 0]
    regressor = csc_matrix(hand["J_regressor"].astype("f8"))
    components = _components()
    if not right:
        components = (components.reshape(45, 15, 3) * MIRROR_AXIS_ANGLE).reshape(45, 45)
    parents = np.asfortranarray(hand["kintree_table"].astype(np.int64))
    values = {
        "hands_components": components, "f": hand["f"].astype(np.uint32), "J_regressor": regressor,
        "kintree_table": parents, "J": regressor @ hand["v_template"], "bs_style": "lbs",
        "hands_coeffs": _coefficients(), "shapedirs": shapes, "bs_type": "lrotmin",
    }  # fmt: skip
    return {key: values[key] if key in values else hand[key].astype("f8") for key in FILE_KEYS}


def _components() -> np.ndarray:
    with np.load(STANDIN_FILE) as asset:
        return asset["hands_components"].astype("f8")


def _as_chumpy(shapes: np.ndarray) -> tuple[object, dict[str, ModuleType]]:
    """shapedirs as in the official file, a Select of 10 of 20 columns, and the modules it names."""
    modules = {name: ModuleType(name) for name in ("chumpy", "chumpy.ch", "chumpy.reordering")}
    modules["chumpy.ch"].Ch = type("Ch", (), {"__module__": "chumpy.ch"})
    modules["chumpy.reordering"].Select = type("Select", (), {"__module__": "chumpy.reordering"})
    book = {"_dirty_vars": set(), "_itr": 0, "_depends_on_deps": set()}
    array, select = modules["chumpy.ch"].Ch(), modules["chumpy.reordering"].Select()
    array.__dict__.update(x=np.concatenate([shapes, 0.5 * shapes[..., ::-1]], 2), **book)
    index = np.arange(array.x.size).reshape(array.x.shape)[:, :, :10].ravel()
    select.__dict__.update(a=array, idxs=index, preferred_shape=shapes.shape, **book)
    return select, modules


def write_mano(folder: str | Path, chumpy: bool = False) -> tuple[Path, Path]:
    """Write MANO_RIGHT.pkl and MANO_LEFT.pkl (protocol 2) into `folder`; returns both paths.

    With `chumpy`, shapedirs is an object that names chumpy classes, as in the official files;
    chumpy itself is neither needed nor installed.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / "MANO_RIGHT.pkl", folder / "MANO_LEFT.pkl"
    for path, right in zip(paths, (True, False), strict=True):
        content, modules = mano_dict(right), {}
        if chumpy:
            content["shapedirs"], modules = _as_chumpy(content["shapedirs"])
        hidden = {name: sys.modules.get(name) for name in modules}
        sys.modules.update(modules)
        try:
            path.write_bytes(pickle.dumps(content, protocol=2))
        finally:
            for name, module in hidden.items():
                sys.modules.pop(name) if module is None else sys.modules.update({name: module})
    return paths
