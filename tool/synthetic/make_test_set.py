"""Make a fixed synthetic test set: draw scenes from the stream, round them, measure and store them.

    python tool/synthetic/make_test_set.py [--count 4096]

Overwrites v2.npz in data/Synthetic/test_sets/ and its line of SHA256SUMS. Needed again only where the set
is to follow the stream's geometry, or where new looks hide more or less of a hand.
"""

import argparse
import hashlib
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from common.hand.joints import FINGERS, JOINT_NAMES, LEFT, RIGHT
from common.hand.mano import ManoLayer, load_mano
from common.utils.errors import UserError, run_script
from common.utils.files import write_bytes, write_file
from data.Synthetic.draws import TEST_SEED
from data.Synthetic.labels import Placed
from data.Synthetic.stream import SyntheticStream
from data.Synthetic.test_set import FOLDER, SIZES, SUMS, WORDS, SyntheticTestSet, pixels_per_metre

BATCH = 64
TOUCH = 0.004  # metres between the nearest vertices, which lie about 5 mm apart
BESIDE, OPPOSITE = 0.025, -0.7  # metres and cosine: a finger with one on either side lies between them
BETWEEN = 3  # of the eight long fingers of both hands: from so many on they are interlaced
HALVES = ("pose", "shape")  # in half precision: 0.1 mm of a finger tip
AWAY = (0.0, 0.0, 1.0)  # place of a hand that does not exist


def draw_scenes(mano: ManoLayer, count: int) -> dict[str, NDArray]:
    """Scenes of the stream with the seed of the tests (N,...), before anything is measured of them."""
    stream = SyntheticStream(mano, BATCH, TEST_SEED, count)
    parts: dict[str, list[NDArray]] = {}
    for start in range(0, count, BATCH):
        hands, camera = stream.scene(range(start, min(start + BATCH, count)))
        for key, values in {**scene_arrays(mano, hands), **camera}.items():
            parts.setdefault(key, []).append(np.asarray(values))
    del parts["K"]  # follows from K_orig and affine
    return {key: np.concatenate(values) for key, values in parts.items()}


def scene_arrays(mano: ManoLayer, hands: Placed) -> dict[str, NDArray]:
    """Of drawn hands what is stored, but for the camera and what is measured of the rounded hands."""
    exists = hands.exists > 0
    pivot = torch.where(exists[..., None], hands.pivot, hands.pivot.new_tensor(AWAY))
    return {
        "pose": (mano.pose(hands.rotmat) * exists[..., None, None]).numpy(),
        "shape": (hands.shape * exists[..., None]).numpy(),
        "pivot": pivot.numpy(),
        "exists": exists.numpy().astype(np.uint8),
        "kind": np.array(WORDS["kind"])[hands.kind.numpy()],
        "view": np.array(WORDS["view"])[hands.view.numpy()],
        "relation": np.array(relations(hands)),
    }


# ---- strata ----


def relations(hands: Placed) -> list[str]:
    """How the hands of each picture stand to each other, see data/Synthetic/test_set.py."""
    gap = torch.cdist(hands.verts[:, RIGHT], hands.verts[:, LEFT]).amin((1, 2))
    laced = fingers_between(hands.joints) >= BETWEEN
    words = []
    for number, near, woven in zip(hands.exists.sum(1).tolist(), gap < TOUCH, laced, strict=True):
        if number < 2:
            words.append("single" if number else "no hand")
        elif woven:
            words.append("interlaced")
        else:
            words.append("touching" if near else "apart")
    return words


def fingers_between(joints: Tensor) -> Tensor:
    """How many long fingers (B,) of joints (B,2,21,3) have neighbouring fingers of the other hand on either
    side, BESIDE them: some point of the finger sees the two in about OPPOSITE directions."""
    right, left = long_fingers(joints).unbind(1)
    return between(right, left) + between(left, right)


def long_fingers(joints: Tensor, steps: int = 4) -> Tensor:
    """Points (B,2,4,P,3) along the index to little finger, from the middle of the first bone to the tip."""
    fingers = []
    for finger in FINGERS[1:]:
        first = JOINT_NAMES.index(f"{finger}1")
        bones = joints[:, :, first : first + 4]  # knuckle to tip
        share = torch.linspace(0, 1, steps + 1, device=joints.device)[:-1, None, None]
        along = torch.lerp(bones[:, :, None, :-1], bones[:, :, None, 1:], share)  # (B,2,steps,3,3)
        fingers.append(along.transpose(2, 3).flatten(2, 3)[:, :, steps // 2 :])
    return torch.stack(fingers, 2)


def between(mine: Tensor, others: Tensor) -> Tensor:
    """How many of the fingers `mine` (B,4,P,3) lie between two neighbours of `others`."""
    towards = others[:, None, :, None] - mine[:, :, None, :, None]  # (B,4 mine,4 others,P,P,3)
    distance, nearest = towards.norm(dim=-1).min(-1)  # (B,4,4,P)
    index = nearest[..., None, None].expand(*nearest.shape, 1, 3)
    direction = normalize(towards.gather(4, index).squeeze(4), dim=-1)
    cosine = (direction[:, :, 1:] * direction[:, :, :-1]).sum(-1)  # (B,4,3,P)
    beside = (distance[:, :, 1:] < BESIDE) & (distance[:, :, :-1] < BESIDE)
    return (beside & (cosine < OPPOSITE)).flatten(2).any(2).sum(1)


# ---- order, rounding, writing ----


def fair_order(strata: list[str]) -> NDArray[np.int64]:
    """Rows in an order whose first ones hold every stratum (N,) in about its share, whatever their number."""
    total, seen = Counter(strata), Counter()
    place = []
    for name in strata:
        place.append((seen[name] + 0.5) / total[name])
        seen[name] += 1
    return np.argsort(place, kind="stable")


def in_order(scenes: dict[str, NDArray]) -> dict[str, NDArray]:
    """The scenes, evenly mixed by relation, view and size."""
    size = np.digitize(pixels_per_metre(scenes), SIZES)
    strata = [f"{a}, {b}, {c}" for a, b, c in zip(scenes["relation"], scenes["view"], size, strict=True)]
    order = fair_order(strata)
    return {key: values[order] for key, values in scenes.items()}


def rounded(scenes: dict[str, NDArray]) -> dict[str, NDArray]:
    """The scenes, what allows it in half precision."""
    return {**scenes, **{key: scenes[key].astype(np.float16) for key in HALVES}}


def measure_visible(mano: ManoLayer, name: str, scenes: dict[str, NDArray]) -> NDArray[np.float16]:
    """Shares (N,2) of the hands' silhouettes that the pictures show, painted as a test will paint them."""
    visible = []
    with tempfile.TemporaryDirectory() as folder:
        blank = np.zeros_like(scenes["exists"], np.float16)
        write_scenes(name, {**scenes, "visible": blank}, Path(folder))
        stream = SyntheticTestSet(mano, BATCH, name, len(blank), folder=Path(folder))
        for start in range(0, len(blank), BATCH):
            rows = range(start, min(start + BATCH, len(blank)))
            hands, camera = stream.scene(rows)
            shown = stream.paint(rows, hands, camera["K"])[1]
            visible.append((shown * hands.exists).numpy())
    return np.concatenate(visible).astype(np.float16)


def write_scenes(name: str, scenes: dict[str, NDArray], folder: Path = FOLDER) -> None:
    """Write a set and its line of SUMS; equal arrays make equal bytes."""
    path, sums = folder / f"{name}.npz", folder / SUMS
    write_file(path, lambda file: np.savez_compressed(file, **dict(sorted(scenes.items()))))
    lines = sums.read_text(encoding="utf-8").splitlines() if sums.exists() else []
    others = [line for line in lines if not line.endswith(f"  {path.name}")]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    write_bytes(sums, ("\n".join([*others, f"{digest}  {path.name}"]) + "\n").encode())


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=4096)
    args = parser.parse_args()
    if args.count < 1:
        raise UserError("--count is 1 or more")
    mano = load_mano(None)
    scenes = rounded(in_order(draw_scenes(mano, args.count)))
    scenes["visible"] = measure_visible(mano, "v2", scenes)
    write_scenes("v2", scenes)
    test_set = SyntheticTestSet(mano, BATCH, "v2", args.count)
    for name, ids in test_set.strata().items():
        print(f"{name:24}{len(ids):6}")
    path = FOLDER / "v2.npz"
    print(f"wrote {path}, {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    run_script(main)
