"""A made-up metrics.json: every kind of key, some values missing."""

NAMES = ("lgnet", "intaghand", "interhand", "interwild", "eanet")
UNITS = {"AUC": "share", "root_rotation": "deg", "joint_px": "px", "PCK2D_10": "%", "IoU_both": "share"}
UNITS |= {"box_IoU": "share", "IoU": "share", "penetration_volume": "cm3"}
PLAIN = (
    "PA_MPJPE",
    "PA_MPVPE",
    "MPJPE_unscaled",
    "MRRPE",
    "MRRPE_plane",
    "MRRPE_depth",
    "MRRPE_rootnet",
    "RRVE",
)
PLAIN += (
    "RRVE_rootnet",
    "RRVE_gt",
    "AUC",
    "MPJPE_thumb",
    "root_rotation",
    "joint_px",
    "PCK2D_10",
    "IoU_right",
)
PLAIN += ("IoU_left", "IoU_both", "penetration_volume", "penetration_volume_truth", "contact_deviation")


def make_found(title="lgnet_small, epoch 13", offset=0.0, **changed):
    """Numbers that rise by `offset`; `changed` replaces whole entries."""
    scores = {"MPJPE": 24.31, "MPJPE_rough": 24.43, "MPVPE": 25.5, "MPVPE_rough": 26.0}
    scores |= {
        f"{k}_{s}": 20.0 + i for k in ("MPJPE", "MPVPE") for i, s in enumerate(("SH", "IH", "right", "left"))
    }
    scores |= {f"MPJPE_rough_{s}": 21.5 for s in ("right", "left")}
    scores |= {key: 0.5 + 0.25 * i for i, key in enumerate(PLAIN)}
    scores = {key: value + offset for key, value in scores.items()} | {"contact_deviation": None}
    protocols = {name: dict(scores) for name in NAMES[:-1]} | {"eanet": {}}
    for gone in ("MRRPE_rootnet", "RRVE_rootnet", "AUC"):
        del protocols["interwild"][gone]
    counts = {n: dict.fromkeys(scores, 26) | {"samples": 31, "frames": 26} for n in NAMES}
    found = {
        "protocols": protocols,
        "counts": counts,
        "units": {key: next((u for k, u in UNITS.items() if key.startswith(k)), "mm") for key in scores},
        "choices": {name: choices(name) for name in NAMES},
        "unavailable": {
            "interwild": {"MRRPE_rootnet": "no RootNet file", "RRVE_rootnet": "no RootNet file"},
            "eanet": {"*": "no validity in these labels"},
        },
        "curves": {name: curves(offset) for name in NAMES[:-1]} | {"eanet": {}},
        "notes": [
            "the pose difference is the mean geodesic angle of 15 finger rotations",
            "1 hand not predicted",
        ],
        "title": title,
        "data": "synthetic two-hand pictures, seed 7, 31 samples",
        "synthetic": True,
        "hand_model": "stand-in hand",
        "checkpoint": "output/lgnet_small/model_dump/snapshot_13.pth",
        "predictions": None,
        "epoch": 13,
        "device": "1 x cpu",
        "pictures_per_second": 41.2,
        "metrics_per_second": 900.0,
        "commit": "0123abc",
        "config": {"model": {"channels": 16}, "paths": {"smplx_path": None}},
        "command": "test.py --test_epoch 13",
    }
    return found | changed


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
