"""Settings: overrides that reject what they do not know, presets, round trips."""

import pytest

from common.utils.errors import UserError
from main.config import PRESETS, Config, from_dict, override, preset


def test_bare_and_full_names():
    config = override(Config(), ["smplx_path=/x", "train.lr=3e-4", "detach_joints=True", "limit=none"])
    assert config.paths.smplx_path == "/x" and config.train.lr == 3e-4
    assert config.model.detach_joints is True and config.data.limit is None


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("epoch=3", "did you mean"),
        ("train.epochs=three", "int values, not 'three'"),
        ("attention=both", "paper, prenorm"),
        ("detach_joints=1", "true or false"),
        ("epochs", "key=value"),
        ("batch_size=3", "train.batch_size or test.batch_size"),
    ],
)
def test_mistakes_are_named(setting, words):
    with pytest.raises(UserError, match=words):
        override(Config(), [setting])


def test_sections_can_be_closed():
    with pytest.raises(UserError, match="snapshot knows its own"):
        override(Config(), ["channels=3"], sections=("data", "test"))


def test_presets_differ_from_the_default_only_where_they_say():
    for name, changes in PRESETS.items():
        assert len(changes) >= sum(
            a != b
            for section, entries in preset(name).to_dict().items()
            for (key, a), b in zip(entries.items(), Config().to_dict()[section].values(), strict=True)
        )
    with pytest.raises(UserError, match="lgnet_small"):
        preset("lgnet_tiny")


def test_dict_round_trip():
    config = override(preset("quick"), ["train.seed=7"])
    assert from_dict(config.to_dict()) == config


def test_frozen():
    with pytest.raises(AttributeError):
        Config().train.lr = 1.0
