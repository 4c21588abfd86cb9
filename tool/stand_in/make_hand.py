"""Build the licence-free stand-in hand in MANO's format, check it, draw it or export it.

python tool/stand_in/make_hand.py                    rewrite common/hand/standin_hand.npz
python tool/stand_in/make_hand.py --check            rebuild and compare with the committed asset
python tool/stand_in/make_hand.py --sheet hand.png   draw five poses from four sides
python tool/stand_in/make_hand.py --write_mano DIR   write MANO_RIGHT.pkl, MANO_LEFT.pkl [--chumpy]
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import argparse

import numpy as np

from common.utils.errors import run_script
from tool.stand_in.export import write_mano
from tool.stand_in.pose import components, mean_pose
from tool.stand_in.rig import PARENTS, joint_table, pose_shapes, regressor, shape_dirs, skin_weights
from tool.stand_in.shape import build_skin
from tool.stand_in.sheet import draw_sheet

ASSET = ROOT / "common" / "hand" / "standin_hand.npz"
TOLERANCE_M = 1e-6
# Vertex ids that the field uses as finger tips, the most distal vertex first.
TIP_IDS = {
    "thumb": (745, 744),
    "index": (317, 320),
    "middle": (444, 445, 443),
    "ring": (556, 554, 555),
    "pinky": (673, 671, 672),
}


def _tip_order(tips: dict[str, list[int]], count: int) -> np.ndarray:
    """Old vertex at each new place (count,): a swap per tip id, everything else stays."""
    order = np.arange(count)
    new_places, old_places = [], []
    for name, ids in TIP_IDS.items():
        new_places += ids
        old_places += tips[name][: len(ids)]
    order[new_places] = old_places
    # who lived at a tip's new place moves to where a tip came from
    order[sorted(set(old_places) - set(new_places))] = sorted(set(new_places) - set(old_places))
    return order


def build() -> dict[str, np.ndarray]:
    """All arrays of the right hand, keyed as in MANO, metres and radians, float32."""
    v, f, grid, limbs = build_skin()
    w, joints = skin_weights(v, grid, limbs), joint_table()
    j_rows = regressor(v, w, joints)
    posedirs, shapedirs = pose_shapes(v, w, joints), shape_dirs(v, grid, limbs)
    order = _tip_order(grid.tips, len(v))
    place = np.argsort(order)
    v = (v - v.mean(0))[order] / 1000
    arrays = {
        "v_template": v,
        "J_regressor": j_rows[:, order],
        "J": j_rows[:, order] @ v,
        "weights": w[order],
        "posedirs": posedirs[order] / 1000,
        "shapedirs": shapedirs[order] / 1000,
        "hands_mean": mean_pose(),
        "hands_components": components(),
    }
    arrays = {key: value.astype(np.float32) for key, value in arrays.items()}
    parents = np.where(PARENTS < 0, 2**32 - 1, PARENTS)
    arrays |= {
        "f": place[f].astype(np.int32),
        "kintree_table": np.stack([parents, np.arange(16)]).astype(np.int64),
        "bs_style": np.array("lbs"),
        "bs_type": np.array("lrotmin"),
    }
    return arrays


def check() -> float:
    """Largest difference of a fresh build from the committed asset; an error above 1e-6."""
    old, new = np.load(ASSET), build()
    if set(old.files) != set(new):
        raise SystemExit(f"{ASSET.name} holds {sorted(old.files)}; the build gives {sorted(new)}")
    gaps = {}
    for key, value in new.items():
        if value.dtype.kind == "f":
            gaps[key] = float(np.abs(old[key] - value).max())
        elif not np.array_equal(old[key], value):
            gaps[key] = np.inf
    worst = max(gaps, key=gaps.get)
    if gaps[worst] > TOLERANCE_M:
        raise SystemExit(
            f"{ASSET.name}: {worst} differs by {gaps[worst]:.2e}; run python tool/stand_in/make_hand.py"
        )
    return gaps[worst]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="rebuild and compare with the committed asset")
    parser.add_argument("--sheet", type=Path, help="write a picture of five poses from four sides")
    parser.add_argument(
        "--write_mano", type=Path, metavar="DIR", help="write MANO_RIGHT.pkl and MANO_LEFT.pkl"
    )
    parser.add_argument(
        "--chumpy", action="store_true", help="store shapedirs as a chumpy object, as MANO does"
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if args.check:
        print(f"{ASSET.name}: rebuilt, largest difference {check():.1e}")
    elif args.sheet:
        draw_sheet(args.sheet)
    elif args.write_mano:
        write_mano(args.write_mano, args.chumpy)
    else:
        np.savez_compressed(ASSET, **build())
        print(f"{ASSET.name}: {ASSET.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    run_script(main)
