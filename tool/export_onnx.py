"""A snapshot -> one ONNX file of the network with its hands, for any batch size.

python tool/export_onnx.py --checkpoint main/weights/lgnet_small.pth --output lgnet_small.onnx
python main/demo.py --checkpoint lgnet_small.onnx

The file is written only if ONNX Runtime, on the CPU, gives what torch gives.
"""

import argparse
import sys
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common.hand.joints import JOINT_NAMES
from common.hand.mano import ManoLayer, load_mano
from common.nets.graph import Graph
from common.nets.inference import Inference
from common.nets.layers import PlainAttention
from common.nets.onnx_network import INPUT, NAMES_IN_FILE, About, OnnxNetwork, require_package
from common.utils.checkpoint import load_snapshot
from common.utils.errors import UserError, run_script
from common.utils.files import require_writable, write_bytes
from common.utils.geometry import IMAGE_SIZE
from common.utils.timing import seconds_each
from main import cli
from main.config import Config, override
from main.model import model_from_snapshot
from main.predictor import describe_weights, read_crop

OUTPUTS = {  # key of a prediction -> what its users must know
    "joints_img": "(B,2,21,3) joint stage: u, v in pixels of the crop, depth from the wrist in metres",
    "rotmat": "(B,2,16,3,3) rotations of MANO's joints, mean pose included",
    "pose": "(B,2,16,3) the same as MANO's axis-angle without the mean pose, radians",
    "shape": "(B,2,10) MANO betas",
    "cam": "(B,2,3) s, tx, ty: u = s x + tx, v = s y + ty, metres from the wrist to pixels of the crop",
    "rel_trans": "(B,3) left wrist minus right wrist, metres",
    "present": "(B,2) logits: the picture shows this hand",
    "verts_rough": "(B,2,778,3) mesh of pose and shape, metres from the wrist, camera axes",
    "joints_rough": "(B,2,21,3) regressed from it",
    "verts": "(B,2,778,3) the final mesh, metres from the wrist, camera axes",
    "joints": "(B,2,21,3) regressed from it",
}
EXTRAS = "onnx onnxscript onnxruntime"
EXAMPLE_BATCH = 3  # neither 1, which the exporter takes for a constant, nor the number of hands
TOLERANCE = 1e-3  # of the largest value
BATCHES = (1, 2, 5)  # that are compared


class GatheredGraph(nn.Module):
    """A Graph whose sums are gathers and additions: ONNX has no embedding bags."""

    def __init__(self, graph: Graph):
        super().__init__()
        nodes = len(graph.starts)
        rows = graph.neighbours.tensor_split(graph.starts[1:].cpu())
        degree = max(len(row) for row in rows)
        # nodes of lower degree have the zero row behind the last node for a neighbour
        table = torch.stack([F.pad(row, (0, degree - len(row)), value=nodes) for row in rows])
        self.register_buffer("table", table, persistent=False)  # (N,degree)
        self.register_buffer("inverse_root", graph.inverse_root, persistent=False)

    def sum(self, x: Tensor) -> Tensor:
        """As Graph.sum: (B,N,C) -> A x."""
        return F.pad(x, (0, 0, 0, 1))[:, self.table].sum(2)

    laplacian = Graph.laplacian


class OneHeadAttention(nn.Module):
    """A PlainAttention that names its one head: the exporter knows attention of four axes only."""

    def __init__(self, layer: PlainAttention):
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        q, k, v = (t[:, None] for t in (self.layer.q(x), self.layer.k(context), self.layer.v(context)))
        a = F.scaled_dot_product_attention(q, k, v)[:, 0] + x
        return self.layer.mlp(a) + a


REPLACED = {Graph: GatheredGraph, PlainAttention: OneHeadAttention}


def in_onnx_terms(network: nn.Module) -> nn.Module:
    """The network itself, with what ONNX or the exporter lacks replaced by what gives the same."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if type(child) in REPLACED:
                setattr(module, name, REPLACED[type(child)](child))
    return network


class Exported(nn.Module):
    """What goes into the file: the folded network, and the pose that its rotations are."""

    def __init__(self, network: nn.Module, mano: ManoLayer):
        super().__init__()
        self.network, self.mano = network, mano
        with torch.no_grad():
            pred = self.predict(torch.zeros(1, 3, IMAGE_SIZE, IMAGE_SIZE))
        self.keys = [key for key in OUTPUTS if key in pred]

    def predict(self, img: Tensor) -> dict[str, Tensor]:
        pred = self.network(img)
        return {**pred, "pose": self.mano.pose(pred["rotmat"])}

    def forward(self, img: Tensor) -> tuple[Tensor, ...]:
        pred = self.predict(img)
        return tuple(pred[key] for key in self.keys)


def export_network(network: nn.Module, mano: ManoLayer, weights: str) -> bytes:
    """A network -> the content of an ONNX file. It is taken over: folded, some layers replaced."""
    for package in EXTRAS.split():
        require_package(package, EXTRAS)
    folded = Inference(network, "cpu").network.to(memory_format=torch.contiguous_format)
    exported = Exported(in_onnx_terms(folded), mano).eval()
    names = {key: NAMES_IN_FILE.get(key, key) for key in exported.keys}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on what the exporter will do differently one day
        program = torch.onnx.export(
            exported,
            (torch.zeros(EXAMPLE_BATCH, 3, IMAGE_SIZE, IMAGE_SIZE),),
            input_names=[INPUT],
            output_names=list(names.values()),
            dynamic_shapes={"img": {0: torch.export.Dim("batch")}},
            dynamo=True,
            optimize=False,  # takes minutes; ONNX Runtime does the same in a second when it loads the file
            verbose=False,
        )
    model = without_traces(program.model_proto)
    outputs = {names[key]: OUTPUTS[key] for key in exported.keys}
    about = About(weights, mano.name, outputs, list(JOINT_NAMES), mano.faces.tolist())
    for key, text in about.to_metadata().items():
        model.metadata_props.add(key=key, value=text)
    return model.SerializeToString()


def without_traces(model: Any) -> Any:
    """The onnx.ModelProto itself, without what the exporter notes of each step: code, and where it lay."""
    graph = model.graph
    for part in (graph, *graph.node, *graph.initializer, *graph.value_info, *graph.input, *graph.output):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    return model


def pictures(count: int) -> Tensor:
    """The example picture and its neighbours, each moved on by some pixels: (count,3,256,256)."""
    pixels = torch.from_numpy(read_crop(cli.ROOT / "main" / "example.png", None).pixels)
    img = pixels.permute(2, 0, 1).float() / 255
    return torch.stack([img.roll(7 * i, -1) for i in range(count)])


def largest_difference(expected: dict[str, Tensor], found: dict[str, Tensor]) -> float:
    """The largest over all outputs, in parts of the largest value of the output."""
    worst = 0.0
    for key in found.keys() & expected.keys():
        scale = expected[key].abs().max()
        worst = max(worst, float((found[key] - expected[key]).abs().max() / scale))
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=cli.ROOT / "main" / "weights" / "lgnet_small.pth")
    parser.add_argument("--output", type=Path, help="default: the checkpoint's name and .onnx, here")
    parser.add_argument("--set", action="append", default=cli.local_settings(), dest="settings")
    parser.add_argument("--rounds", type=int, default=20, help="timed forwards of each")
    args = parser.parse_args()
    output = args.output or Path(f"{args.checkpoint.stem}.onnx")
    require_writable(output)
    config = override(Config(), args.settings, sections=("paths",))
    mano = load_mano(config.paths.smplx_path)
    snapshot = load_snapshot(args.checkpoint)
    weights = describe_weights(args.checkpoint, snapshot)
    print(f"weights: {weights}; hand model: {mano.name}, whose licence holds for the file")
    torch_network = Inference(model_from_snapshot(snapshot, mano), "cpu")
    content = export_network(model_from_snapshot(snapshot, mano), mano, weights)
    onnx_network = OnnxNetwork(content)
    for count in BATCHES:
        img = pictures(count)
        difference = largest_difference(torch_network(img), onnx_network(img))
        print(f"batch {count}: ONNX Runtime differs from torch by {difference:.1e} of the largest value")
        if not difference <= TOLERANCE:
            raise UserError(f"that is over {TOLERANCE:g}, so nothing was written")
    write_bytes(output, content)
    print(f"wrote {output}, {len(content) / 1e6:.1f} MB")
    for count in (1, 8):
        img = pictures(count)
        forwards = {"torch": lambda img=img: torch_network(img), "ONNX": lambda img=img: onnx_network(img)}
        times = seconds_each(forwards, torch.device("cpu"), args.rounds)
        words = ", ".join(f"{name} {1000 * seconds.median:.1f} ms" for name, seconds in times.items())
        print(f"batch {count}, {torch.get_num_threads()} threads: {words}")


if __name__ == "__main__":
    run_script(main)
