"""The network's boxes against separate transcriptions of their formulas and known properties."""

from typing import get_args

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from common.hand.mano import load_mano
from common.nets.graph import ChebConv, GINConv, GraphStack, grid_graph, mesh_graph
from common.nets.heatmap import CORNER, HeatmapGrid, sample_at, soft_argmax
from common.nets.layers import PlainAttention
from common.nets.lgblock import LGFA, LGBlock
from common.nets.losses import Criterion
from common.targets import add_targets
from data.Synthetic.stream import SyntheticStream
from main.config import Box, override
from main.model import build_model
from main.presets import preset


@pytest.fixture(scope="module")
def mano():
    return load_mano()


@pytest.fixture(scope="module")
def small(mano):
    return tiny(mano).eval()


@pytest.fixture(scope="module")
def ours(mano):
    """The network that is shipped, smaller."""
    return tiny(mano, start="lgnet_small").eval()


def tiny(mano, *more, start="lgnet"):
    torch.manual_seed(0)
    settings = ["channels=32", "sjt_blocks=1", "refine_channels=16", *more]
    if start == "lgnet":
        settings = ["backbone=resnet18", "attention=prenorm", *settings]
    return build_model(override(preset(start), settings).model, mano)


def grid_adjacency(side):
    """Chebyshev distance 1 between cells, from coordinates."""
    cells = torch.cartesian_prod(torch.arange(side), torch.arange(side))
    distance = (cells[:, None] - cells[None]).abs().amax(-1)
    return (distance == 1).float()


def test_grid_graph_is_the_8_neighbourhood():
    adjacency, x = grid_adjacency(8), torch.randn(2, 64, 5)
    torch.testing.assert_close(grid_graph(8).sum(x), adjacency @ x)


def test_neighbour_sum_gradient():
    x = torch.randn(1, 16, 2, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(grid_graph(4).sum, x)


def test_mesh_graph_of_a_tetrahedron_is_complete():
    faces = torch.tensor([[0, 1, 2], [0, 3, 1], [1, 3, 2], [2, 3, 0]])
    x = torch.randn(1, 4, 3)
    torch.testing.assert_close(mesh_graph(faces).sum(x), x.sum(1, keepdim=True) - x)


@pytest.mark.parametrize(("inputs", "outputs"), [(3, 5), (5, 3)])
def test_gin_formula(inputs, outputs):
    layer, adjacency, x = (
        GINConv(grid_graph(4), inputs, outputs, outputs),
        grid_adjacency(4),
        torch.randn(2, 16, inputs),
    )
    first, _, second = layer.mlp
    hidden = ((x + adjacency @ x) @ first.weight.T + first.bias).clamp_min(0)
    torch.testing.assert_close(layer(x), hidden @ second.weight.T + second.bias)


def test_chebyshev_formula():
    layer, adjacency, x = ChebConv(grid_graph(4), 3, 5, 5), grid_adjacency(4), torch.randn(2, 16, 3)
    root = torch.diag(adjacency.sum(1).rsqrt())
    scaled = (torch.eye(16) - root @ adjacency @ root) - torch.eye(16)  # 2 L / 2 - I
    terms = torch.cat([x, scaled @ x, (2 * scaled @ scaled - torch.eye(16)) @ x], -1)
    torch.testing.assert_close(
        layer(x), terms @ layer.linear.weight.T + layer.linear.bias, atol=1e-5, rtol=1e-5
    )


def test_lgfa_is_algorithm_1():
    """A literal transcription of the supplement's Algorithm 1, one sample at a time."""
    c, n = 16, 9
    module = LGFA(c, n, "paper")
    attention = module.attentions[0]
    right, left = torch.randn(2, n, c), torch.randn(2, n, c)

    def linear(layer, x):
        return x @ layer.weight.T + layer.bias

    def mlp(x):
        return linear(attention.mlp[1], linear(attention.mlp[0], x))

    out = module(right, left)
    for i in range(2):
        t_f = linear(module.fc, torch.cat([right[i], left[i]], 1))
        t = torch.cat([module.cls_token, right[i], left[i]], 0)
        q, k, v = (linear(layer, t) for layer in (attention.q, attention.k, attention.v))
        a = F.softmax(q @ k.T / c**0.5, -1) @ v + t
        t_s = mlp(a) + a
        q, k, v = linear(attention.q, t_f), linear(attention.k, t_s), linear(attention.v, t_s)
        a = F.softmax(q @ k.T / c**0.5, -1) @ v + t_f
        torch.testing.assert_close(out[i], a + mlp(a), atol=1e-5, rtol=1e-5)


def test_lgfa_parameters_of_the_paper():
    assert sum(p.numel() for p in LGFA(512, 64, "paper").parameters()) == pytest.approx(3.41e6, rel=0.01)
    assert len(list(PlainAttention(8).parameters())) == 10  # q, k, v and two linears: used twice


def test_lgblock_is_algorithm_2():
    c, side = 16, 3
    block = LGBlock(c, side, "paper", "none")
    x = torch.randn(2, 2, c, side, side)
    right, left = (x[:, h].flatten(2).transpose(1, 2) for h in range(2))
    local = block.lgfa_local(right, left)
    inter = [block.lgfa_hands.hands[h](f, local) for h, f in enumerate((right, left))]
    whole = block.lgfa_global(*inter) @ block.fc.weight.T + block.fc.bias
    for h, own in enumerate((right, left)):
        expected = torch.cat([own, whole], -1).transpose(1, 2).reshape(2, -1, side, side)
        torch.testing.assert_close(block(x)[:, h], expected)


@pytest.mark.parametrize("kind", ["gin", "cheb"])
def test_graph_part_starts_as_identity_and_learns(kind):
    torch.manual_seed(0)
    block = LGBlock(16, 4, "paper", kind)
    x = torch.randn(2, 2, 16, 16).transpose(2, 3)
    torch.testing.assert_close(block.graph(x), x)
    block.graph(x).square().sum().backward()
    gradients = [p.grad for name, p in block.graph.named_parameters() if name.endswith("norm.weight")]
    assert any(g.abs().max() > 0 for g in gradients), "the graph part is dead"


@pytest.mark.parametrize(("steady", "learns"), [(True, True), (False, False)])
def test_a_steady_convolution_cannot_be_silenced(steady, learns):
    torch.manual_seed(0)
    conv = GINConv(grid_graph(2), 8, 3, 16, steady)
    nn.init.constant_(conv.mlp[0].bias, -1000)  # an optimizer's wild step
    conv(torch.rand(2, 4, 8)).square().sum().backward()
    assert bool(conv.mlp[0].weight.grad.abs().max() > 0) == learns


def test_the_tail_of_a_stack_is_as_wide_as_the_stack():
    """Coordinates behind a hidden layer of three ReLUs die with these."""
    tail = GraphStack("gin", grid_graph(2), 8, 16, 3)[-1].mlp
    assert [layer.out_features for layer in (tail[0], tail[2])] == [16, 3]
    assert GraphStack("gin", grid_graph(2), 16, 4, 16)[-1].mlp[0].out_features == 16


def test_graph_stack_has_the_figures_layers():
    stack = GraphStack("gin", grid_graph(2), 8, 4, 3)
    assert sum(isinstance(m, GINConv) for m in stack.modules()) == 1 + 3 * 2 + 1
    assert sum(isinstance(m, ChebConv) for m in GraphStack("cheb", grid_graph(2), 8, 4, 3).modules()) == 3


def test_soft_argmax_of_a_peak():
    volume = torch.full((1, 8, 8, 8), -50.0)
    volume[0, 2, 5, 7] = 50.0  # z, y, x
    torch.testing.assert_close(soft_argmax(volume), torch.tensor([[7.0, 5.0, 2.0]]))


def test_grid_units_and_normalisation():
    grid = HeatmapGrid(side=8, depth_range=0.4)
    joints = grid.to_joints(torch.tensor([[0.0, 7.0, 3.5]]))
    torch.testing.assert_close(joints, torch.tensor([[15.5, 239.5, 0.0]]))
    corners = torch.tensor([[-0.5, 255.5, 0.2], [127.5, 127.5, 0.0]])
    torch.testing.assert_close(grid.normalise(corners), torch.tensor([[-1.0, 1, 1], [0, 0, 0]]))


@pytest.mark.parametrize("grid", [HeatmapGrid(), HeatmapGrid(16, 2, 4, 0.3, CORNER)])
def test_indices_and_joints_are_inverse(grid):
    z, y, x = grid.shape
    index = torch.rand(5, 3) * torch.tensor([x - 1, y - 1, z - 1])
    torch.testing.assert_close(grid.to_grid(grid.to_joints(index)), index)


def test_what_a_soft_argmax_cannot_reach():
    """8 cells of 32 pixels and of 0.4 m / 8: their centres span 15.5 to 239.5 pixels and +-0.175 m."""
    grid = HeatmapGrid(side=8, depth_range=0.4)
    inside = torch.tensor([[16.0, 239.0, 0.174], [128.0, 128.0, -0.174]])
    outside = torch.tensor([[15.0, 128.0, 0.0], [128.0, 240.0, 0.0], [128.0, 128.0, 0.176]])
    assert grid.reachable(inside).tolist() == [[1.0]] * 2
    assert grid.reachable(outside).tolist() == [[0.0]] * 3


def test_sampling_at_cell_centres_returns_the_cells():
    maps = torch.randn(1, 3, 8, 8)
    centres = torch.cartesian_prod(torch.arange(8), torch.arange(8)).flip(1) * 32 + 15.5  # u, v
    torch.testing.assert_close(sample_at(maps, centres[None].float())[0], maps[0].flatten(1).T)


@pytest.mark.parametrize(("name", "volume"), [("small", (8, 8, 8)), ("ours", (8, 20, 20))])
def test_predictions_keep_the_contract(name, volume, request):
    network = request.getfixturevalue(name)
    with torch.no_grad():
        pred = network(torch.rand(2, 3, 256, 256))
    assert network.grid.shape == volume
    shapes = {
        "heatmap": (2, 2, 21, *volume),
        "joints_img": (2, 2, 21, 3),
        "rotmat": (2, 2, 16, 3, 3),
        "shape": (2, 2, 10),
        "cam": (2, 2, 3),
        "rel_trans": (2, 3),
        "present": (2, 2),
        "verts_rough": (2, 2, 778, 3),
        "verts": (2, 2, 778, 3),
        "joints_rough": (2, 2, 21, 3),
        "joints": (2, 2, 21, 3),
    }
    assert {k: tuple(v.shape) for k, v in pred.items()} == shapes
    identity = torch.eye(3).expand(2, 2, 16, 3, 3)
    torch.testing.assert_close(pred["rotmat"] @ pred["rotmat"].transpose(-1, -2), identity, atol=1e-5, rtol=0)
    torch.testing.assert_close(pred["joints"][:, :, 0], torch.zeros(2, 2, 3), atol=1e-7, rtol=0)


@pytest.mark.parametrize("name", ["small", "ours"])
def test_refinement_starts_at_the_rough_mesh(name, request):
    with torch.no_grad():
        pred = request.getfixturevalue(name)(torch.rand(1, 3, 256, 256))
    torch.testing.assert_close(pred["verts"], pred["verts_rough"], atol=1e-6, rtol=0)


def test_camera_starts_at_the_predicted_wrist(small):
    with torch.no_grad():
        pred = small(torch.rand(2, 3, 256, 256))
    gap = (pred["cam"][..., 1:] - pred["joints_img"][:, :, 0, :2]).abs().max()
    assert gap < 10, "the camera's centre should start near the wrist of the joint stage"


@pytest.mark.parametrize("name", ["small", "ours"])
def test_batch_equals_single_in_eval(name, request):
    network, images = request.getfixturevalue(name), torch.rand(2, 3, 256, 256)
    with torch.no_grad():
        both, one = network(images), network(images[1:])
    torch.testing.assert_close(both["verts"][1:], one["verts"], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("start", ["lgnet", "lgnet_small", "eanet_small"])
def test_every_parameter_gets_a_gradient(mano, start):
    settings = ["frozen_stages=0"]
    if start == "eanet_small":
        model = build_model(override(preset(start), ["channels=16", *settings]).model, mano).train()
    else:
        model = tiny(mano, *settings, start=start).train()
    pred = model(torch.rand(2, 3, 256, 256))
    sum((v * torch.randn_like(v)).sum() for v in pred.values()).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


def test_state_dict_holds_weights_only(small):
    constants = ("template", "faces", "neighbours", "regressor", "mean", "std", "mirror")
    assert not [
        k for k in small.state_dict() if k.split(".")[-1].startswith(constants) and "running" not in k
    ]


def test_full_size_parameters(mano):
    with torch.device("cpu"):
        model = build_model(preset("lgnet").model, mano)
    count = {k: sum(p.numel() for p in m.parameters()) / 1e6 for k, m in model.named_children()}
    assert count["backbone"] == pytest.approx(23.5, abs=0.1)  # torchvision's ResNet-50 without fc
    assert 65 < sum(count.values()) < 75  # about 70 M expected


def test_light_is_an_eighth_of_the_backbone(mano):
    model = build_model(preset("lgnet_light").model, mano)
    assert model.joint_stage.position.shape[1] == model.backbone.channels // 8


# ---- the ablations of Table 3 ----

EXTRACTOR, LGBLOCK = "joint_stage.extractor", "joint_stage.lgblock"
REMOVED = {
    "joint_stage": (f"{EXTRACTOR}.heatmap.",),
    "mesh_stage": ("mesh_stage.sjt.", f"{EXTRACTOR}.feature."),
    "refine_stage": ("refine_stage.",),
    "hand_features": ("joint_stage.fc.hands.1.",),
    "lgblock": (f"{LGBLOCK}.",),
    "local_unit": (f"{LGBLOCK}.graph.", f"{LGBLOCK}.lgfa_local."),
    "global_unit": (f"{LGBLOCK}.lgfa_hands.", f"{LGBLOCK}.lgfa_global."),
}


@pytest.fixture(scope="module")
def batch(mano):
    return add_targets(SyntheticStream(mano, 2, 0, 2).batch(range(2)), mano)


def weighed(config):
    """The names of the loss terms that weigh anything."""
    return {name for name, weight in vars(config.loss).items() if weight}


def test_every_box_has_its_preset():
    assert set(get_args(Box)) == REMOVED.keys()
    assert [preset(f"no_{box}").model.without for box in REMOVED] == list(REMOVED)


@pytest.mark.parametrize("box", REMOVED)
def test_an_ablation_removes_its_box_and_trains(mano, small, batch, box):
    model = tiny(mano, f"without={box}").train()
    names, full = ({n for n, _ in m.named_parameters()} for m in (model, small))
    assert full - names == {n for n in full if n.startswith(REMOVED[box])} != set()
    assert {n.split(".hands")[0] for n in names - full} <= {f"{EXTRACTOR}.joints"}
    criterion = Criterion(mano.faces, model.grid, vars(preset("lgnet").loss))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    totals = []
    for _ in range(4):
        pred = model(batch["img"])
        terms, _ = criterion(pred, batch)
        optimizer.zero_grad()
        criterion.total(terms).backward()
        optimizer.step()
        totals.append(criterion.total(terms).item())
    absent = {"joint_stage": {"heatmap"}}.get(box, set())
    assert weighed(preset("lgnet")) - terms.keys() == absent
    assert [n for n, p in model.named_parameters() if p.grad is None] == []
    assert totals[-1] < totals[0]
    assert pred["verts"].shape == pred["verts_rough"].shape == (2, 2, 778, 3)


def test_what_stands_in_for_a_box(mano):
    maps = torch.randn(1, 512, 8, 8)
    stages = {box: tiny(mano, f"without={box}").eval().joint_stage for box in REMOVED}
    features = stages["hand_features"](maps, [])[0]["features"]
    torch.testing.assert_close(features[:, 0], features[:, 1], rtol=0, atol=0)
    hands, _ = stages["lgblock"](maps, [])
    torch.testing.assert_close(hands["adapted"], hands["features"], rtol=0, atol=0)
    assert "heatmap" not in stages["joint_stage"](maps, [])[1]
    pred = tiny(mano, "without=refine_stage").eval()(torch.rand(1, 3, 256, 256))
    torch.testing.assert_close(pred["verts"], pred["verts_rough"], rtol=0, atol=0)
    x = torch.randn(1, 2, 32, 8, 8)
    right, left = (x[:, h].flatten(2).transpose(1, 2) for h in range(2))
    block = stages["local_unit"].lgblock
    first, second = block.lgfa_hands.hands
    expected = block.fc(block.lgfa_global(first(right, left), second(left, right)))
    torch.testing.assert_close(block(x)[:, 1, 32:], expected.transpose(1, 2).unflatten(2, (8, 8)))
    block = stages["global_unit"].lgblock
    graphs = [part(hand) for part, hand in zip(block.graph.hands, (right, left), strict=True)]
    expected = block.fc(block.lgfa_local(*graphs))
    torch.testing.assert_close(block(x)[:, 0, 32:], expected.transpose(1, 2).unflatten(2, (8, 8)))


@pytest.mark.parametrize(("name", "term"), [("normal", "normal"), ("edge", "edge"), ("lap", "laplacian")])
def test_an_ablation_of_a_loss_leaves_its_term_out(mano, name, term):
    config = preset(f"no_{name}")
    criterion = Criterion(mano.faces, HeatmapGrid(), vars(config.loss))
    assert weighed(preset("lgnet")) - criterion.weights.keys() == {term}


@pytest.mark.parametrize("maps", [0, 1, 3])
def test_the_refine_stage_sees_the_chosen_early_maps_alone(mano, maps):
    network = tiny(mano, f"refine_maps={maps}").eval()
    last = next(m for m in reversed(list(network.refine_stage.graph.modules())) if isinstance(m, nn.Linear))
    nn.init.normal_(last.weight)  # it starts at zero
    image = torch.rand(1, 3, 256, 256)
    features, early = network.backbone(image)
    early = [m.detach().requires_grad_() for m in early]
    hands, joints = network.joint_stage(features.detach(), early)
    rough = network.mesh_stage(hands, joints["joints_img"])
    network.refine_stage(image, early, hands, joints["joints_img"], rough)["verts"].norm().backward()
    assert [m.grad is not None for m in early] == [place < maps for place in range(4)]


@pytest.mark.parametrize("name", ["convnext_tiny", "efficientnet_lite0"])
def test_the_whole_network_stands_on_other_backbones(mano, name):
    with torch.no_grad():
        pred = tiny(mano, f"backbone={name}").eval()(torch.rand(1, 3, 256, 256))
    assert pred["verts"].isfinite().all()
