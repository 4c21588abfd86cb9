"""From settings to data: which pictures a run trains on and which a test reads."""

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from common.hand.mano import ManoLayer
from common.utils.dist import rank, world_size
from common.utils.errors import UserError
from data import HIC, Folder, InterHand26M, SyntheticStream, SyntheticTestSet, build_loader
from data.augment import AugmentSettings
from data.base import HandDataset
from data.loader import EpochLoader, RepeatedBatches
from data.Synthetic.draws import TEST_SEED
from data.Synthetic.scene import GROUPS
from main.config import Config, Data, Paths, Test, from_dict, override

VALIDATION_SEED = 20252  # of the pictures that a training on synthetic ones is validated on
TEST_SECTIONS = ("paths", "data", "test")  # what --set may change of a test; the rest is the snapshot's own
TEST_DATA = Data(hands="all", hand_type_valid_only=False)  # what a test's data start from
# data settings of how training pictures are drawn: a test set's are fixed
DRAWN = ("synthetic_cone", "synthetic_roll", "synthetic_without")


def uses_real_data(config: Config) -> bool:
    """Whether InterHand2.6M is set; one of its two keys alone is a mistake."""
    given = [config.paths.interhand_anno_dir, config.paths.interhand_images_path]
    if any(given) and not all(given):
        raise UserError(
            "set both interhand_anno_dir and interhand_images_path, or neither for the synthetic stream"
        )
    return all(given)


def describe_test_data(config: Config) -> str:
    """Which pictures test.py reads."""
    paths = config.paths
    if paths.hic_path and paths.folder_path:
        raise UserError("hic_path and folder_path are both set: a test reads one of them")
    if paths.hic_path:
        return f"HIC in {paths.hic_path} (joints regressed from its own fits)"
    if paths.folder_path:
        return f"pictures in {paths.folder_path}"
    split = f", {config.test.split} split" if uses_real_data(config) else ""
    return describe_data(config) + split


def describe_data(config: Config) -> str:
    """Which pictures train.py reads."""
    if uses_real_data(config):
        return f"InterHand2.6M in {config.paths.interhand_anno_dir}"
    return "synthetic two-hand pictures (interhand_anno_dir and interhand_images_path are not set)"


def is_synthetic(config: Config) -> bool:
    """Whether a test reads the synthetic stream."""
    return not (config.paths.hic_path or config.paths.folder_path or uses_real_data(config))


def training_data(config: Config, mano: ManoLayer, log: Callable[[str], None]) -> Iterable[dict[str, Any]]:
    """This process's share of the training batches: len(), set_epoch(epoch)."""
    if uses_real_data(config):
        return _training_pictures(config, mano, log)
    train = config.train
    if train.seed == TEST_SEED:
        raise UserError(f"train.seed={TEST_SEED} is the seed of the fixed test set: choose another")
    if train.overfit:  # every process repeats the same few
        return RepeatedBatches(_stream(config, mano, train.batch_size, train.seed, train.overfit))
    # whole batches, the same number in every process
    step = train.batch_size * world_size()
    samples = math.ceil(config.data.synthetic_train / step) * step
    return _stream(config, mano, train.batch_size, train.seed, samples, rank(), world_size())


def _training_pictures(config: Config, mano: ManoLayer, log: Callable[[str], None]) -> EpochLoader:
    train = config.train
    dataset = _interhand(
        config, mano, "train", log, augment=AugmentSettings(**vars(config.augment)), seed=train.seed
    )
    return _loader(config, dataset, train.batch_size, log, training=True, seed=train.seed)


def _loader(
    config: Config, dataset: HandDataset, batch_size: int, log: Callable[[str], None], **options: Any
) -> EpochLoader:
    """This process's share of a data set."""
    return build_loader(
        dataset,
        batch_size,
        config.data.workers,
        rank=rank(),
        world=world_size(),
        unreadable=config.data.unreadable,
        log=log,
        **options,
    )


def validation_data(config: Config, mano: ManoLayer, log: Callable[[str], None]) -> Iterable[dict[str, Any]]:
    """This process's share of `train.validate` pictures that training never shows, the same every time: of
    the val split, evenly spread; without InterHand2.6M of the stream, with a seed of their own."""
    train = config.train
    if not uses_real_data(config):
        seed = VALIDATION_SEED + (train.seed == VALIDATION_SEED)
        return _stream(config, mano, train.batch_size, seed, train.validate, rank(), world_size())
    # nothing of val is annotated by humans, and its boxes are the true hands' as in training
    paths = replace(config.paths, root_net_output_path=None)
    data = replace(config.data, subset="H+M", limit=None)
    dataset = _interhand(replace(config, paths=paths, data=data), mano, "val", log)
    return _loader(config, dataset, train.batch_size, log, spread=train.validate)


def test_config(snapshot: dict[str, Any], settings: list[str]) -> Config:
    """A test's configuration: of the snapshot the network, and for the record how it was trained; paths,
    data and test start from TEST_DATA and the defaults, for training does not say what is tested on."""
    trained = from_dict(snapshot["config"])
    start = replace(trained, paths=Paths(), data=TEST_DATA, test=Test())
    return override(start, settings, TEST_SECTIONS)


def test_data(config: Config, mano: ManoLayer, log: Callable[[str], None]) -> Iterable[dict[str, Any]]:
    """This process's share of the test split, of HIC or a folder, or of the fixed synthetic test set;
    `ids()` names all of it, `select(ids)` gives samples once more, `notes()` says what results need."""
    paths, limit = config.paths, config.data.limit
    if is_synthetic(config):
        return _synthetic_test_set(config, mano)
    if paths.hic_path:
        dataset = HIC(mano, paths.hic_path, limit=limit, log=log)
    elif paths.folder_path:
        dataset = Folder(paths.folder_path, limit=limit, log=log)
    else:
        dataset = _interhand(config, mano, config.test.split, log)
    return _loader(config, dataset, config.test.batch_size, log)


def _synthetic_test_set(config: Config, mano: ManoLayer) -> SyntheticTestSet:
    data = config.data
    for name in DRAWN:
        if getattr(data, name) != getattr(TEST_DATA, name):
            raise UserError(
                f"data.{name} says how training pictures are drawn, the test set is fixed: leave it out"
            )
    return SyntheticTestSet(
        mano,
        config.test.batch_size,
        data.synthetic_test_set,
        data.synthetic_test,
        data.synthetic_view,
        rank(),
        world_size(),
    )


def _stream(
    config: Config, mano: ManoLayer, batch_size: int, seed: int, samples: int, rank: int = 0, world: int = 1
) -> SyntheticStream:
    return SyntheticStream(
        mano,
        batch_size,
        seed,
        samples,
        view=config.data.synthetic_view,
        cone=config.data.synthetic_cone,
        roll=config.data.synthetic_roll,
        without=left_out(config.data.synthetic_without),
        rank=rank,
        world=world,
    )


def left_out(names: str | None) -> frozenset[str]:
    """The groups of looks that training pictures lack; UserError on one that does not exist."""
    groups = frozenset(names.split("+")) if names else frozenset()
    unknown = sorted(groups - set(GROUPS))
    if unknown:
        raise UserError(f"data.synthetic_without: no group '{unknown[0]}'; there are {', '.join(GROUPS)}")
    return groups


def _interhand(
    config: Config,
    mano: ManoLayer,
    split: str,
    log: Callable[[str], None],
    augment: AugmentSettings | None = None,
    seed: int = 0,
) -> InterHand26M:
    data, paths = config.data, config.paths
    return InterHand26M(
        mano,
        paths.interhand_anno_dir,
        paths.interhand_images_path,
        paths.root_net_output_path,
        split=split,
        subset=data.subset,
        hands=data.hands,
        hand_type_valid_only=data.hand_type_valid_only,
        use_fits=data.use_fits,
        limit=data.limit,
        augment=augment,
        seed=seed,
        log=log,
        cache_dir=paths.cache_dir,
    )
