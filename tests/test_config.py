"""Settings: overrides that reject what they do not know, presets, round trips."""

from typing import Annotated, get_args, get_origin, get_type_hints

import pytest

from common.utils.errors import UserError
from common.utils.values import Range
from main.config import Config, from_dict, override
from main.presets import PRESETS, preset


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
        ("learning_rate=1", "did you mean train.lr?"),
        ("train.learning_rate=1", "did you mean train.lr?"),
        ("batchsize=3", r"did you mean train.batch_size or test.batch_size\?"),
        ("zzz=3", "main/config.py lists them all"),
        ("seed=99999999999999999999", "train.seed is between 0 and 2147483647"),
        ("epochs=99999999999999999999", "train.epochs is between 1 and 2147483647"),
        ("grad_clip=0", "train.grad_clip is more than 0, not '0'"),
        ("lr=0", "train.lr is more than 0"),
        ("lr=inf", "train.lr is more than 0"),
        ("warmup=5", "train.warmup is between 0 and 1, not '5'"),
        ("synthetic_cone=400", "data.synthetic_cone is between 0 and 180"),
        ("augment.scale=1", "augment.scale is between 0 and 0.9"),
        ("heatmap_side=12", "model.heatmap_side is one of 8, 16, 32, not '12'"),
        ("penetration=2", "test.penetration is between 0 and 1"),
        ("loss.edge=-1", "loss.edge is 0 or more"),
        ("limit=0", "data.limit is between 1 and"),
        ("output_dir=", "paths.output_dir is empty"),
        ("backbone_weights=", "model.backbone_weights is empty"),
    ],
)
def test_mistakes_are_named(setting, words):
    with pytest.raises(UserError, match=words):
        override(Config(), [setting])


def test_a_number_out_of_a_list_is_a_number():
    assert override(Config(), ["heatmap_side=16"]).model.heatmap_side == 16


def test_a_bare_key_means_the_section_of_the_script():
    trained = override(Config(), ["batch_size=3"], prefer="train")
    tested = override(Config(), ["batch_size=3"], sections=("paths", "data", "test"))
    assert (trained.train.batch_size, trained.test.batch_size) == (3, Config().test.batch_size)
    assert (tested.train.batch_size, tested.test.batch_size) == (Config().train.batch_size, 3)
    with pytest.raises(UserError, match=r"did you mean train.batch_size\?$"):
        override(Config(), ["batchsize=3"], prefer="train")


def numbers() -> list[tuple[str, str, Range]]:
    """Section, name and range of every setting that is a number."""
    found = []
    for section, values in vars(Config()).items():
        for name, kind in get_type_hints(type(values), include_extras=True).items():
            kinds = [kind, *get_args(kind)]  # a number or none is a number too
            ranges = [get_args(k)[1] for k in kinds if get_origin(k) is Annotated]
            assert ranges or not {int, float} & set(kinds), f"{section}.{name} has no range"
            found += [(section, name, each) for each in ranges]
    return found


@pytest.mark.parametrize("name", PRESETS)
def test_every_number_has_a_range_that_holds_its_value(name):
    values = preset(name).to_dict()
    assert len(numbers()) > 40
    for section, key, allowed in numbers():
        value = values[section][key]
        assert value is None or allowed.holds(value), f"{section}.{key}={value}"
        assert not allowed.holds(float("nan")) and not allowed.holds(allowed.low - 1)


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


def test_an_older_configuration_means_what_it_meant():
    """Before `depth_range` was a setting, heat maps were 0.3 m deep."""
    old = Config().to_dict()
    del old["model"]["depth_range"]
    assert from_dict(old).model.depth_range == 0.3
    assert from_dict(Config().to_dict()).model.depth_range == Config().model.depth_range == 0.4
    assert from_dict({}).model.depth_range == 0.4  # nothing says that there was a network
