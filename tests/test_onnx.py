"""Networks in ONNX files give what torch gives, and files that are none of ours are refused."""

import copy
import json
import re
import sys

import numpy as np
import pytest
import torch

from common.nets.graph import grid_graph, mesh_graph
from common.nets.layers import PlainAttention
from common.nets.onnx_network import NAMES_IN_FILE, OnnxNetwork
from common.utils.errors import UserError
from main import demo
from main.cli import ROOT
from main.config import override
from main.model import build_model
from main.predictor import Predictor, load_predictor
from main.presets import preset
from tests.scripts import run
from tests.test_inference import NETWORKS, pictures
from tool.export_onnx import OUTPUTS, GatheredGraph, OneHeadAttention, export_network, largest_difference

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


def awake(name, hands):
    """An untrained network in which no part gives nought, as some do before they learn."""
    torch.manual_seed(0)
    base, settings = NETWORKS[name]
    network = build_model(override(preset(base), settings).model, hands).eval()
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    return network


@pytest.fixture(scope="module", params=["pyramid", "lgnet", "eanet"])
def exported(request, hands, tmp_path_factory):
    """A network of the preset's kind, and its file."""
    path = tmp_path_factory.mktemp("onnx") / f"{request.param}.onnx"
    path.write_bytes(export_network(awake(request.param, hands), hands, "made up"))
    return awake(request.param, hands), path


def test_onnx_runtime_gives_what_torch_gives_for_any_batch(exported, hands):
    network, path = exported
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    for count in (1, 2, 4):
        img = pictures(count)
        with torch.no_grad():
            expected = network(img)
            expected |= {"pose": hands.pose(expected["rotmat"]), "betas": expected["shape"]}
        found = dict(zip(names, session.run(names, {"img": img.numpy()}), strict=True))
        assert expected.keys() - found.keys() == {"heatmap", "shape"}
        for name, value in found.items():
            assert value.shape == tuple(expected[name].shape) and value.dtype == np.float32
            off = np.abs(value - expected[name].numpy()).max()
            assert off < 1e-3 * np.abs(expected[name].numpy()).max(), name


def test_a_predictor_of_the_file_is_one_of_the_network(exported, hands):
    network, path = exported
    predictor = load_predictor(path)
    assert predictor.device.type == "cpu" and "made up" in predictor.weights
    assert onnxruntime.__name__ in type(predictor.inference.session).__module__
    picture = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    result = predictor(picture, (50, 60, 200, 180))
    expected = Predictor(copy.deepcopy(network), hands, "cpu")(picture, (50, 60, 200, 180))
    again = predictor.batch([picture, picture], [None, (50, 60, 200, 180)])[1]
    for name in ("present", "verts", "joints", "joints_2d", "pose", "shape", "rel_trans"):
        value = getattr(expected, name)
        if value is not None:
            assert np.allclose(getattr(result, name), value, atol=1e-3 * np.abs(value).max()), name
            assert np.allclose(getattr(again, name), value, atol=1e-3 * np.abs(value).max()), name
    assert result.hand_model == hands.name
    with pytest.raises(UserError, match="no attention maps"):
        predictor(picture, attention=True)


def test_the_file_says_what_it_is_and_not_where_it_was_made(exported, hands):
    model = onnx.load(exported[1])
    said = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert said["hand_model"] == hands.name and said["weights"] == "made up"
    assert np.array_equal(said["faces"], hands.faces.numpy())
    assert said["outputs"].keys() == {output.name for output in model.graph.output}
    content = exported[1].read_bytes()
    assert b"inference.py" not in content and b"lgblock.py" not in content
    for output in model.graph.output:
        assert output.type.tensor_type.shape.dim[0].dim_param, "the batch is fixed"


@pytest.mark.parametrize("make", [lambda hands: grid_graph(5), lambda hands: mesh_graph(hands.faces[0])])
def test_gathered_sums_are_the_sums(make, hands):
    graph = make(hands)
    x = torch.rand(2, len(graph.starts), 3)
    torch.testing.assert_close(GatheredGraph(graph).sum(x), graph.sum(x))
    torch.testing.assert_close(GatheredGraph(graph).laplacian(x), graph.laplacian(x))


def test_attention_of_one_head_is_attention():
    layer, x, context = PlainAttention(8), torch.rand(2, 3, 8), torch.rand(2, 5, 8)
    torch.testing.assert_close(OneHeadAttention(layer)(x, context), layer(x, context))


def test_the_page_names_every_output():
    rows = re.findall(
        r"^\| (`.*?) \|", (ROOT / "docs" / "export.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert named == {NAMES_IN_FILE.get(key, key) for key in OUTPUTS}


def test_a_difference_is_seen():
    a, b = {"x": torch.tensor([1.0, 10.0])}, {"x": torch.tensor([1.0, 10.2])}
    assert largest_difference(a, b) == pytest.approx(0.02) and largest_difference(a, a) == 0


# ---- files that are none of ours ----


def foreign(path):
    """A whole ONNX file of another project."""
    value = onnx.helper.make_tensor_value_info("img", onnx.TensorProto.FLOAT, ["batch"])
    other = onnx.helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, ["batch"])
    node = onnx.helper.make_node("Relu", ["img"], ["out"])
    graph = onnx.helper.make_graph([node], "other", [value], [other])
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), path)


def test_what_is_none_of_ours_is_refused(tmp_path):
    foreign(tmp_path / "foreign.onnx")
    (tmp_path / "damaged.onnx").write_bytes(b"no protobuf")
    for name, words in (
        ("foreign.onnx", "not a network of this project"),
        ("damaged.onnx", "not a readable ONNX file"),
        ("absent.onnx", "no such file"),
    ):
        with pytest.raises(UserError, match=words) as told:
            load_predictor(tmp_path / name)
        assert "\n" not in str(told.value)


def test_the_demo_says_so_too(tmp_path, capsys):
    foreign(tmp_path / "foreign.onnx")
    assert run(demo, "--checkpoint", tmp_path / "foreign.onnx", "--output", tmp_path) == 2
    assert "not a network of this project" in capsys.readouterr().err


def test_without_onnx_runtime_the_way_out_is_told(tmp_path, monkeypatch):
    (tmp_path / "x.onnx").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match="pip install onnxruntime$"):
        OnnxNetwork(tmp_path / "x.onnx")


def test_without_the_exporters_packages_the_way_out_is_told(hands, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(UserError, match="pip install onnx onnxscript onnxruntime$"):
        export_network(torch.nn.Identity(), hands, "none")


def test_a_file_with_licensed_hands_needs_these(exported, tmp_path):
    model = onnx.load(exported[1])
    for entry in model.metadata_props:
        if entry.key == "hand_model":
            entry.value = json.dumps("MANO")
    onnx.save(model, tmp_path / "mano.onnx")
    with pytest.raises(UserError, match="exported with MANO: set smplx_path"):
        load_predictor(tmp_path / "mano.onnx")


def test_the_network_takes_tensors_of_any_layout(exported):
    network = OnnxNetwork(exported[1])
    img = pictures(2)
    expected = network(img)
    found = network(img.contiguous(memory_format=torch.channels_last))
    assert torch.equal(found["verts"], expected["verts"])
