"""From settings to data: which pictures a run trains on and which a test reads."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from common.hand.mano import ManoLayer
from common.utils.dist import rank, world_size
from common.utils.errors import UserError
from data import DATASETS, build_loader
from data.augment import AugmentSettings
from data.loader import RepeatedBatches
from data.Synthetic.stream import SyntheticStream
from main.config import Config, from_dict, override

TEST_SECTIONS = ("paths", "data", "test")  # what --set may change of a test; the rest is the snapshot's own
TEST_SEED = 20250  # of the fixed synthetic test set; training streams use seeds from 0 up


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
    if paths.hic_path or paths.folder_path:
        hic = f"HIC in {paths.hic_path} (joints regressed from its own fits)"
        return hic if paths.hic_path else f"pictures in {paths.folder_path}"
    return describe_data(config)


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
    train = config.train
    if uses_real_data(config):
        augment = AugmentSettings(**vars(config.augment))
        dataset = _interhand(config, mano, "train", log, augment=augment, seed=train.seed)
        return build_loader(
            dataset,
            train.batch_size,
            config.data.workers,
            training=True,
            seed=train.seed,
            rank=rank(),
            world=world_size(),
        )
    samples = train.overfit or config.data.synthetic_train // world_size()
    stream = _synthetic(config, mano, train.batch_size, train.seed * 1000 + rank(), samples)
    return RepeatedBatches(stream) if train.overfit else stream


def test_config(snapshot: dict[str, Any], settings: list[str]) -> Config:
    """A snapshot's configuration for testing: what a run was trained on does not say what it is tested on,
    and paths are this machine's."""
    found = {**snapshot["config"], "paths": {}}
    found["data"] = {**found.get("data", {}), "hands": "all", "hand_type_valid_only": False}
    return override(from_dict(found), settings, TEST_SECTIONS)


def test_data(config: Config, mano: ManoLayer, log: Callable[[str], None]) -> Iterable[dict[str, Any]]:
    """This process's share of the test split, of HIC or a folder, or of the fixed synthetic test set;
    `ids()` names all of it, `select(ids)` gives samples once more."""
    paths, limit = config.paths, config.data.limit
    if is_synthetic(config):
        stream = _synthetic(config, mano, config.test.batch_size, TEST_SEED, config.data.synthetic_test)
        return EveryNthBatch(stream)
    if paths.hic_path:
        dataset = DATASETS["HIC"](mano, paths.hic_path, limit=limit, log=log)
    elif paths.folder_path:
        dataset = DATASETS["Folder"](paths.folder_path, limit=limit, log=log)
    else:
        dataset = _interhand(config, mano, config.test.split, log)
    return build_loader(dataset, config.test.batch_size, config.data.workers, rank=rank(), world=world_size())


def _synthetic(config: Config, mano: ManoLayer, batch_size: int, seed: int, samples: int) -> SyntheticStream:
    data = config.data
    views = {"view": data.synthetic_view, "cone": data.synthetic_cone, "roll": data.synthetic_roll}
    return DATASETS["Synthetic"](mano, batch_size, seed, samples, **views)


def _interhand(config: Config, mano: ManoLayer, split: str, log: Callable[[str], None], **more: Any):
    data, paths = config.data, config.paths
    if data.use_fits and paths.smplx_path is None:
        log(
            "note: smplx_path is not set, so MANO fits are posed on the stand-in hand: right for files "
            "of tool/synthetic/make_synthetic.py; for the real data set smplx_path or --set use_fits=false"
        )
    return DATASETS["InterHand26M"](
        mano,
        paths.interhand_anno_dir,
        paths.interhand_images_path,
        paths.root_net_output_path,
        split=split,
        subset=data.subset,
        hands=data.hands,
        use_fits=data.use_fits,
        limit=data.limit,
        hand_type_valid_only=data.hand_type_valid_only,
        log=log,
        **more,
    )


class EveryNthBatch:
    """This process's batches of one epoch of a synthetic stream; the others have the rest."""

    def __init__(self, stream: SyntheticStream):
        self.stream = stream
        self.starts = range(rank() * stream.batch_size, stream.samples, world_size() * stream.batch_size)

    def __len__(self) -> int:
        return len(self.starts)

    def __iter__(self):
        for start in self.starts:
            yield self.stream.batch(range(start, min(start + self.stream.batch_size, self.stream.samples)))

    def ids(self) -> list[str]:
        """Of the whole epoch, whatever this process's share."""
        return self.stream.ids()

    def select(self, ids: Sequence[str]) -> dict[str, Any]:
        """Some samples as one batch."""
        row = {name: number for number, name in enumerate(self.ids())}
        return self.stream.batch([row[name] for name in ids])
