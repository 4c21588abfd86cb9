"""What networks cost, box by box and beside a bare ResNet-50, as Markdown tables.

python tool/model_summary.py --preset lgnet,lgnet_light,eanet --batch 1 [--gpu cpu]

Multiply-adds: of one forward's convolutions, matrix products and attentions; what lies between them is not
counted. Memory: what a float32 forward in training mode keeps for the backward pass, weights apart.
"""

import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
import torchvision
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from torch.utils.module_tracker import ModuleTracker

from common.hand.mano import load_mano
from common.show.report import markdown
from common.utils.dist import parse_devices
from common.utils.errors import UserError, run_script
from main import cli
from main.config import override, preset
from main.model import build_model

RESNET = "bare ResNet-50"
COSTS = ["parameters, M", "multiply-adds, G", "memory, MB"]


def boxes(model: nn.Module) -> list[str]:
    """Names of the network's stages and of the trained parts that each holds; "" is the whole."""
    names = []
    for name, stage in model.named_children():
        inner = [f"{name}.{part}" for part, module in stage.named_children() if parameters(module)]
        names += [name, *(inner if len(inner) > 1 else [])]
    return [*names, ""]


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@torch.no_grad()
def multiply_adds(model: nn.Module, images: Tensor) -> dict[str, int]:
    """Of one forward in eval mode, by module name; "" is the whole."""
    # the fused attentions of some devices have no count, plain matrix products always have
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model.eval()(images)
    counts = {name: sum(ops.values()) // 2 for name, ops in counter.get_flop_counts().items()}
    return below(model, counts)


def kept_bytes(model: nn.Module, images: Tensor) -> dict[str, int]:
    """Bytes that a forward in training mode keeps for the backward pass, by module name; "" is the whole.

    A tensor counts once, for the module that first keeps it; parameters and buffers do not count.
    """
    seen = {t.untyped_storage().data_ptr(): None for t in (*model.parameters(), *model.buffers())}
    sums: Counter[str] = Counter()

    def keep(tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in seen:
            seen[storage.data_ptr()] = storage  # alive, so that no other tensor gets its address
            sums.update(dict.fromkeys(tracker.parents, storage.nbytes()))

    with ModuleTracker() as tracker, torch.autograd.graph.saved_tensors_hooks(keep, lambda nothing: nothing):
        model.train()(images)
    return below(model, sums)


def below(model: nn.Module, counts: dict[str, int]) -> dict[str, int]:
    """Torch's trackers begin names with the class of the network; ours begin below it."""
    root = type(model).__name__
    names = {name: f"{root}.{name}".rstrip(".") for name, _ in model.named_modules()}
    return {name: counts.get(full, 0) for name, full in names.items()}


def costs(model: nn.Module, images: Tensor, names: list[str]) -> list[list[str]]:
    """A row of cells for each named module: parameters, multiply-adds, memory."""
    macs, kept = multiply_adds(model, images), kept_bytes(model, images)
    rows = []
    for name in names:
        size = parameters(model.get_submodule(name))
        rows.append([f"{size / 1e6:.2f}", f"{macs[name] / 1e9:.3f}", f"{kept[name] / 1e6:.1f}"])
    return rows


@torch.inference_mode()
def forward_ms(runs: dict[str, Callable[[], object]], device: torch.device, rounds: int) -> dict[str, float]:
    """Median milliseconds of each, run in turn so that a drifting machine is fair to all."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds + 2):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            times[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(values[2:]) for name, values in times.items()}


def main() -> None:
    options = cli.parser(__doc__)
    options.add_argument("--preset", default="lgnet", help="one or several, with commas between")
    options.add_argument("--batch", type=int, default=1)
    options.add_argument("--rounds", type=int, default=10, help="timed forwards of each network")
    args = options.parse_args()
    if min(args.batch, args.rounds) < 1:
        raise UserError("--batch and --rounds are 1 or more")
    device = parse_devices(args.gpu)[0]
    mano, images = load_mano(), torch.rand(args.batch, 3, 256, 256, device=device)
    chosen = {name: override(preset(name), args.settings).model for name in args.preset.split(",")}
    networks = {name: build_model(model, mano).to(device) for name, model in chosen.items()}
    networks[RESNET] = torchvision.models.resnet50().to(device)
    totals = {}
    for name, model in networks.items():
        names = [""] if name == RESNET else boxes(model)
        rows = costs(model, images, names)
        totals[name] = rows[-1]
        if name != RESNET:
            table = [[box or "total", *row] for box, row in zip(names, rows, strict=True)]
            print("\n".join(markdown([[name, *COSTS], *table])), end="\n\n")
        model.eval()
    runs = {name: lambda model=model: model(images) for name, model in networks.items()}
    times = forward_ms(runs, device, args.rounds)
    rows = [[name, *row, f"{times[name]:.1f}"] for name, row in totals.items()]
    print("\n".join(markdown([[f"batch {args.batch}, float32, {device}", *COSTS, "forward, ms"], *rows])))


if __name__ == "__main__":
    run_script(main)
