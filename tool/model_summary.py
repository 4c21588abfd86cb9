"""What networks cost, box by box and beside a bare ResNet-50, as Markdown tables.

python tool/model_summary.py --preset lgnet,lgnet_light,eanet --batch 1 [--gpu cpu]

Multiply-adds: of one forward's convolutions, matrix products and attentions; what lies between them is not
counted. Memory: what a float32 forward in training mode keeps for the backward pass, weights apart.
"""

import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
import torchvision
from torch import Tensor, nn

from common.hand.mano import load_mano
from common.nets.costs import kept_bytes, multiply_adds, parameters
from common.show.table import markdown
from common.utils.dist import parse_devices
from common.utils.errors import UserError, run_script
from common.utils.geometry import IMAGE_SIZE
from common.utils.timing import seconds_each
from main import cli
from main.config import override
from main.model import build_model
from main.presets import preset

RESNET = "bare ResNet-50"
COSTS = ["parameters, M", "multiply-adds, G", "memory, MB"]


def boxes(model: nn.Module) -> list[str]:
    """Names of the network's stages and of the trained parts that each holds; "" is the whole."""
    names = []
    for name, stage in model.named_children():
        names.append(name)
        parts = [f"{name}.{part}" for part, module in stage.named_children() if parameters(module)]
        if len(parts) > 1:
            names += parts
    return [*names, ""]


def costs(model: nn.Module, images: Tensor, names: list[str]) -> list[list[str]]:
    """A row of cells for each named module: parameters, multiply-adds, memory."""
    macs = multiply_adds(model, images)
    kept = kept_bytes(model, images)
    rows = []
    for name in names:
        size = parameters(model.get_submodule(name))
        rows.append([f"{size / 1e6:.2f}", f"{macs[name] / 1e9:.3f}", f"{kept[name] / 1e6:.1f}"])
    return rows


def print_table(rows: list[list[str]]) -> None:
    print("\n".join(markdown(rows)))


def main() -> None:
    options = cli.parser(__doc__)
    options.add_argument("--preset", default="lgnet", help="one or several, with commas between")
    options.add_argument("--batch", type=int, default=1)
    options.add_argument("--rounds", type=int, default=10, help="timed forwards of each network")
    args = options.parse_args()
    if min(args.batch, args.rounds) < 1:
        raise UserError("--batch and --rounds are 1 or more")
    device = parse_devices(args.gpu)[0]
    mano = load_mano()
    images = torch.rand(args.batch, 3, IMAGE_SIZE, IMAGE_SIZE, device=device)
    networks: dict[str, nn.Module] = {}
    for name in args.preset.split(","):
        settings = override(preset(name), args.settings).model
        networks[name] = build_model(settings, mano).to(device)
    totals = {}
    for name, model in networks.items():
        names = boxes(model)
        rows = costs(model, images, names)
        totals[name] = rows[-1]
        print_table([[name, *COSTS], *([box or "total", *row] for box, row in zip(names, rows, strict=True))])
        print()
    networks[RESNET] = torchvision.models.resnet50().to(device)
    totals[RESNET] = costs(networks[RESNET], images, [""])[0]
    forwards = {name: partial(model.eval(), images) for name, model in networks.items()}
    with torch.inference_mode():
        times = seconds_each(forwards, device, args.rounds)
    head = [f"batch {args.batch}, float32, {device}", *COSTS, "forward, ms"]
    print_table([head, *([name, *row, f"{1000 * times[name].median:.1f}"] for name, row in totals.items())])


if __name__ == "__main__":
    run_script(main)
