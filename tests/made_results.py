"""A made-up evaluation: every kind of number, some values missing."""

import dataclasses

from common.eval.catalogue import PER_PROTOCOL, SHARED, Key, Score
from common.eval.results import About, Results

NAMES = ("lgnet", "intaghand", "interhand", "interwild", "eanet")
FRAMES, SAMPLES = 26, 31
ABOUT = About(
    title="lgnet_small, epoch 13",
    data="synthetic two-hand pictures, seed 7, 31 samples",
    data_notes=["synthetic pictures: view own"],
    synthetic=True,
    hand_model="stand-in hand",
    device="1 x cpu",
    command="test.py --test_epoch 13",
    commit="0123abc",
    config={"model": {"channels": 16}, "paths": {"smplx_path": None}},
    checkpoint="output/lgnet_small/model_dump/snapshot_13.pth",
    epoch=13,
    trained_at="0123abc",
    predictions=None,
    pictures_per_second=41.2,
    metrics_per_second=900.0,
)


def make_results(title=ABOUT.title, offset=0.0, about=None, **changed) -> Results:
    """Numbers that rise by `offset`; `about` replaces entries of About, `changed` whole fields."""
    protocols = {name: scores_of(PER_PROTOCOL, offset, FRAMES) for name in NAMES[:-1]} | {"eanet": {}}
    for gone in ("MRRPE_rootnet", "RRVE_rootnet", "AUC"):
        for key in [key for key in protocols["interwild"] if key.metric == gone]:
            del protocols["interwild"][key]
    shared = scores_of(SHARED, offset, SAMPLES)
    shared[Key("contact_deviation")] = Score(None, 0)
    shared[Key("contact_deviation", "rough")] = Score(None, 0)
    made = Results(
        about=dataclasses.replace(ABOUT, title=title, **(about or {})),
        samples=SAMPLES,
        frames=dict.fromkeys(NAMES, FRAMES),
        protocols=protocols,
        shared=shared,
        unavailable={
            "interwild": {"MRRPE_rootnet": "no RootNet file", "RRVE_rootnet": "no RootNet file"},
            "eanet": {"*": "no validity in these labels"},
            "shared": {"contact_deviation": "no contact"},
        },
        choices={name: choices(name) for name in NAMES},
        curves={name: curves(offset) for name in NAMES[:-1]} | {"eanet": {}},
        notes=[
            "the pose difference is the mean geodesic angle of 15 finger rotations",
            "1 hand not predicted",
        ],
        strata={},
    )
    return dataclasses.replace(made, **changed)


def scores_of(metrics, offset, n):
    """Different numbers; MPJPE and MPVPE with parts, most with a rough mesh; n frames behind each."""
    scores = {}
    for place, metric in enumerate(metrics):
        value = 0.5 + 0.25 * place + offset
        scores[Key(metric.name)] = Score(value, n)
        if not metric.name.startswith(("MRRPE", "joint_px", "PCK2D")):
            scores[Key(metric.name, "rough")] = Score(value + 0.1, n)
        if metric.name in ("MPJPE", "MPVPE"):
            for number, part in enumerate(("SH", "IH", "right", "left", "thumb")):
                scores[Key(metric.name, "final", part)] = Score(20.0 + number + offset, n)
    if Key("MPJPE") in scores:
        scores[Key("MPJPE")], scores[Key("MPJPE", "rough")] = (Score(v + offset, n) for v in (24.31, 24.43))
    return scores


def choices(name):
    return {
        "root": "middle1" if name in ("intaghand", "eanet") else "wrist",
        "scale": "none" if name.startswith("inter") else "true bone wrist-middle1, per hand",
        "joints": "annotated" if name.startswith("inter") else "from the mesh",
        "tips": "745 317 444 556 673",
        "frames": "interacting, both fits, hand type valid, picture mean >= 10" if name == "lgnet" else "all",
        "average": "frames per hand, then the two hands",
        "source": "https://example.org/paper and its code",
    }


def curves(offset=0.0):
    thresholds = [50 * i / 199 for i in range(200)]
    pck = [1 - 2.718 ** (-t / (12 + offset)) for t in thresholds]
    per_joint = [[(7 * j + 3 * h) % 23 + offset for j in range(21)] for h in range(2)]
    per_joint[1][4] = None
    bins = [{"difference": 12.0 + 5 * i, "MPJPE": 20.0 + i + offset, "n": 4} for i in range(6)]
    return {
        "thresholds_mm": thresholds,
        "PCK": pck,
        "PCK_rough": [0.97 * share for share in pck],
        "AUC": 0.7 - 0.01 * offset,
        "MPJPE_per_joint": per_joint,
        "pose_bins": bins,
    }
