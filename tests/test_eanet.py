"""EANet against a separate transcription of its public facts, through the converter."""

import dataclasses

import pytest
import torch

from common.nets.eanet import GRID
from common.nets.heatmap import HeatmapGrid
from common.nets.losses import Criterion
from common.targets import add_targets
from common.utils.errors import UserError
from common.utils.geometry import weak_perspective
from data.Synthetic.stream import SyntheticStream
from main.config import Loss
from main.model import MODELS, build_model, model_from_snapshot
from main.presets import preset
from tests import upstream_eanet as upstream
from tool.convert_eanet import convert

SMALL = {"backbone": "resnet18", "channels": 32}


def ours(state, hands, **settings):
    """Our network with the converted state."""
    model = build_model(dataclasses.replace(preset("eanet").model, **settings), hands)
    model.load_state_dict(convert(state, model.state_dict()))
    return model.eval()


@pytest.fixture(scope="module")
def small(hands):
    state = upstream.random_state(32, "resnet18")
    return state, ours(state, hands, **SMALL)


@pytest.fixture(scope="module")
def picture():
    return torch.rand(2, 3, 256, 256, generator=torch.Generator().manual_seed(3))


def close(found, expected, limit=1e-4):
    """Largest difference relative to the largest value."""
    return float((found - expected).abs().max() / expected.abs().max()) < limit


def same_network(model, expected, picture):
    with torch.no_grad():
        pred = model(picture)
    pred["projected"] = weak_perspective(pred["joints"], pred["cam"])
    return {key: close(pred[key], value) for key, value in expected.items()}


def tokens(maps):
    return maps.flatten(-2).transpose(-1, -2)


@torch.no_grad()
def test_full_size_network(hands, picture):
    state = upstream.random_state()
    expected = upstream.network(state, hands, picture[:1])
    model = ours(state, hands)
    found = same_network(model, expected, picture[:1])
    assert all(found.values()), found
    assert sum(p.numel() for p in model.parameters()) == 136_738_221


@torch.no_grad()
def test_small_network(small, hands, picture):
    state, model = small
    found = same_network(model, upstream.network(state, hands, picture, "resnet18"), picture)
    assert all(found.values()), found


def swap(state, a, b):
    """The state with the entries under two prefixes exchanged."""
    changed = dict(state)
    for name in state:
        if name.startswith(a):
            changed[name], changed[b + name[len(a) :]] = state[b + name[len(a) :]], state[name]
    return changed


EA = "hand_position_net.EABlock."


def swap_keys_and_values(state):
    name = f"{EA}Extract.SA_T.0.attn.qkv.weight"
    q, k, v = state[name].chunk(3)
    return {**state, name: torch.cat([q, v, k])}


@pytest.mark.parametrize(
    "wrong",
    [
        swap_keys_and_values,
        lambda s: swap(s, f"{EA}Adapt_r.FC2.", f"{EA}Adapt_r.FC3."),
        lambda s: swap(s, f"{EA}Adapt_l.CA_T.blocks.3.norm2.", f"{EA}Adapt_l.CA_T.blocks.3.norm3."),
        lambda s: swap(s, f"{EA}conv_r.", f"{EA}conv_l."),
        lambda s: swap(s, "hand_rotation_net.rshape_out.", "hand_rotation_net.lshape_out."),
    ],
)
@torch.no_grad()
def test_the_comparison_notices_an_exchange(small, hands, picture, wrong):
    state, model = small
    expected = upstream.network(wrong(state), hands, picture[:1], "resnet18")
    assert not all(same_network(model, expected, picture[:1]).values())


@torch.no_grad()
def test_blocks(small):
    state, model = small
    torch.manual_seed(0)  # near pi an angle may come out about the opposite axis, to which the mean is added
    a, b = torch.randn(2, 2, 64, 32)
    expected = upstream.fuseformer(state, f"{EA}Extract", a, b)
    assert close(model.eablock.extract(a, b), expected)
    maps = torch.randn(2, 512, 8, 8)
    expected = upstream.eablock(state, tokens(maps))
    adapted = model.eablock(maps)
    for hand, letter in enumerate("rl"):
        assert close(tokens(adapted[:, hand]), expected[letter])
        index = upstream.joint_indices(state, letter, expected[letter])
        joints, sampled = model.extractor(adapted, [])
        ours = model.grid.to_grid(joints["joints_img"])
        assert close(ours[:, hand], index)
        pose, shape, _ = upstream.regress(state, letter, expected[letter], index)
        regressed = model.regressor({"adapted": adapted, **sampled}, joints["joints_img"])
        assert close(regressed["shape"][:, hand], shape)
        assert close(model.regressor.mano.pose(regressed["rotmat"])[:, hand], pose, 1e-3)


def test_no_gradient_goes_through_the_sampling_positions(small, picture):
    _, model = small
    model.zero_grad()
    pred = model(picture[:1])
    pred["verts"].sum().backward()
    assert all(p.grad is None for p in model.extractor.heatmap.parameters())
    model.zero_grad()


def test_it_trains_by_the_same_criterion(hands):
    torch.manual_seed(0)
    settings = dataclasses.replace(preset("eanet").model, backbone="resnet18", channels=16, sjt_blocks=1)
    model = build_model(settings, hands).train()
    batch = add_targets(SyntheticStream(hands, 2, 0, 2).batch(range(2)), hands)
    criterion = Criterion(hands.faces, model.grid, dataclasses.asdict(Loss()))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    totals = []
    for _ in range(6):
        terms, _ = criterion(model(batch["img"]), batch)
        optimizer.zero_grad()
        criterion.total(terms).backward()
        optimizer.step()
        totals.append(criterion.total(terms).item())
    assert terms.keys() == dataclasses.asdict(Loss()).keys() - {"present", "wrist"}
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    assert totals[-1] < totals[0]


def test_heat_maps_aim_at_their_own_map(hands):
    """A volume whose peak lies where EANet's map puts the joints has no loss, half a cell off it has."""
    volume = torch.full((1, 2, 21, 8, 8, 8), -50.0)
    volume[..., 4, 3, 2] = 50.0  # z, y, x
    joints = torch.tensor([64.0, 96.0, 0.0]).expand(1, 2, 21, 3)
    valid = torch.ones(1, 2, 21, 1)
    batch = {"mano_joints_img": joints, "mano_joints_img_valid": valid}
    batch |= {"joints_img": torch.zeros_like(joints), "joints_img_valid": torch.zeros_like(valid)}
    for grid, right in ((GRID, True), (HeatmapGrid(), False)):
        terms, _ = Criterion(hands.faces, grid, {"heatmap": 1.0})({"heatmap": volume}, batch)
        assert terms["heatmap"] < 1e-6 if right else terms["heatmap"] > 1


def test_settings_it_does_not_take_are_named(hands):
    settings = preset("eanet").model
    with pytest.raises(UserError, match="eanet has no setting model.local_graph"):
        build_model(dataclasses.replace(settings, local_graph="cheb"), hands)


def test_a_snapshot_of_settings_that_nothing_has_is_refused(small, hands):
    _, model = small
    for name, value, words in (("depth", 3, "unknown setting 'model.depth'"), ("channels", "x", "takes int")):
        config = {"model": {**vars(preset("eanet").model), **SMALL, name: value}}
        with pytest.raises(UserError, match=words):
            model_from_snapshot({"config": config, "network": model.state_dict()}, hands)


def test_a_fault_of_ours_is_not_the_snapshots(small, hands, monkeypatch):
    """An error while the network is built has its traceback, whatever the snapshot is."""
    _, model = small
    monkeypatch.setitem(MODELS, "eanet", lambda settings, mano: settings.no_such_thing)
    config = {"model": {**vars(preset("eanet").model), **SMALL}}
    with pytest.raises(AttributeError):
        model_from_snapshot({"config": config, "network": model.state_dict()}, hands)


def test_a_snapshot_rebuilds_it(small, hands, picture):
    _, model = small
    config = {"model": {**vars(preset("eanet").model), **SMALL}}
    again = model_from_snapshot({"config": config, "network": model.state_dict()}, hands)
    with torch.no_grad():
        assert torch.equal(again(picture)["verts"], model(picture)["verts"])
