"""Parameters of each box of a network, and its forward time beside a bare ResNet-50.

python tool/model_summary.py --preset lgnet --batch 1 [--gpu cpu]
"""

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
import torchvision
from torch import nn

from common.hand.mano import load_hands
from common.utils.dist import parse_devices
from common.utils.errors import run_script
from main import cli
from main.config import SettingError, override, preset
from main.model import build_model


def boxes(model: nn.Module) -> list[tuple[str, int]]:
    """(name, parameters) of the network's stages and of what each holds."""
    rows = []
    for name, stage in model.named_children():
        rows.append((name, size(stage)))
        inner = [(f"  {name}.{part}", size(module)) for part, module in stage.named_children()]
        rows += [row for row in inner if row[1] and len(inner) > 1]
    return rows


def size(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@torch.inference_mode()
def forward_ms(runs: dict[str, Callable[[], object]], device: torch.device, rounds: int) -> dict[str, float]:
    """Median milliseconds of each, run in turn so that a drifting machine is fair to both."""
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
    options.add_argument("--preset", default="lgnet")
    options.add_argument("--batch", type=int, default=1)
    options.add_argument("--rounds", type=int, default=10)
    args = options.parse_args()
    device = parse_devices(args.gpu)[0]
    mano = load_hands()
    model = build_model(mano=mano, **vars(override(preset(args.preset), args.settings).model))
    for name, count in [*boxes(model), ("total", size(model))]:
        print(f"{name:<32}{count:>14,}")
    images = torch.rand(args.batch, 3, 256, 256, device=device)
    resnet = torchvision.models.resnet50().to(device).eval()
    model = model.to(device).eval()
    runs = {args.preset: lambda: model(images), "bare ResNet-50": lambda: resnet(images)}
    for name, value in forward_ms(runs, device, args.rounds).items():
        print(f"forward, {name}: {value:.1f} ms for batch {args.batch}, float32, on {device}")


if __name__ == "__main__":
    run_script(main, SettingError)
