"""From settings to data: what a test reads whatever was trained, and how processes share."""

import pytest
import torch

from common.utils.errors import UserError
from data.Synthetic.draws import TEST_SEED
from main import build
from main.config import Config, Data, Paths, override
from main.presets import preset
from tests.interhand_set import quiet


def of_a_run(name: str, *settings: str) -> dict:
    """What a snapshot says of a training run."""
    return {"config": override(preset(name), list(settings)).to_dict()}


TRAINED = [
    of_a_run("lgnet"),
    of_a_run("quick"),
    of_a_run(
        "lgnet", "limit=10", "subset=H", "use_fits=false", "hands=SH", "synthetic_view=front", "workers=0"
    ),
    of_a_run("lgnet_small", "synthetic_test=7", "synthetic_cone=50", "interhand_anno_dir=/elsewhere"),
    of_a_run("eanet", "test.split=val", "penetration=0.5"),
]


@pytest.mark.parametrize("snapshot", TRAINED)
def test_a_test_starts_from_the_defaults_whatever_was_trained(snapshot):
    config = build.test_config(snapshot, [])
    assert config.data == build.TEST_DATA and config.paths == Paths() and config.test == Config().test
    assert config.model.name == snapshot["config"]["model"]["name"]
    assert config.model.channels == snapshot["config"]["model"]["channels"]


def test_what_a_test_starts_from():
    """All records of the benchmark; the synthetic test set whole, whatever was trained."""
    data, train = build.TEST_DATA, Data()
    assert data.hands == "all" and not data.hand_type_valid_only
    assert (data.limit, data.subset, data.use_fits) == (None, "H+M", True)
    assert (data.synthetic_test_set, data.synthetic_view) == ("v2", "any")
    assert data.synthetic_test == train.synthetic_test == preset("quick").data.synthetic_test


def test_the_command_line_of_a_test_decides():
    config = build.test_config(TRAINED[0], ["synthetic_view=any", "limit=3", "test.split=train"])
    assert config.data.synthetic_view == "any" and config.data.limit == 3
    assert config.test.split == "train"
    with pytest.raises(UserError, match="a snapshot knows its own"):
        build.test_config(TRAINED[0], ["channels=16"])


def test_one_synthetic_test_set(hands):
    pictures = []
    for snapshot in TRAINED[:4]:
        config = build.test_config(snapshot, ["test.batch_size=2"])
        data = build.test_data(config, hands, quiet)
        assert data.ids()[0] == "synthetic/v2/000000" and len(data.ids()) == 512
        assert "test set v2: 512 of" in data.notes()[0]
        pictures.append(next(iter(data))["img"])
    assert all(torch.equal(pictures[0], other) for other in pictures)


def test_the_training_split_can_be_tested(interhand, hands):
    folders = {"anno_dir": "annotations", "images_path": "images"}
    paths = [f"interhand_{key}={interhand / name}" for key, name in folders.items()]
    paths.append(f"root_net_output_path={interhand / 'rootnet_output'}")
    config = build.test_config(TRAINED[0], [*paths, "test.split=train", "workers=0"])
    data = build.test_data(config, hands, quiet)
    assert data.dataset.split == "train" and data.dataset.augment is None
    assert [name for batch in data for name in batch["id"]] == data.ids()
    assert len(data.ids()) == 30


def test_no_training_on_the_test_set(hands):
    with pytest.raises(UserError, match=f"train.seed={TEST_SEED}"):
        build.training_data(override(Config(), [f"train.seed={TEST_SEED}"]), hands, quiet)


@pytest.mark.parametrize(("samples", "world"), [(8, 1), (10, 1), (10, 2), (3, 4)])
def test_processes_train_on_equally_many_different_samples(hands, monkeypatch, samples, world):
    config = override(Config(), [f"synthetic_train={samples}", "train.batch_size=4"])
    monkeypatch.setattr(build, "world_size", lambda: world)
    steps, starts = set(), []
    for process in range(world):
        monkeypatch.setattr(build, "rank", lambda process=process: process)
        share = build.training_data(config, hands, quiet)
        steps.add(len(share))
        starts += share._batch_starts()
        assert share.samples >= samples and share.samples % 4 == 0
    assert len(steps) == 1 and len(set(starts)) == len(starts)
