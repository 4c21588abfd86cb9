"""How fast networks predict and learn here, beside a bare ResNet-50: one table, as Markdown and as JSON.

python tool/benchmark.py [--gpu 0] [--preset lgnet,lgnet_small,eanet] [--steps] [--compile] [--stream]

Inference as test.py and the demo run it (common/nets/inference.py), training as train.py does, on pictures
that already lie there. Median of all rounds, quartiles in brackets. --steps: what each step towards a fast
forward gives the first network. --stream: training once more, with the data that train.py would read (--set),
end to end.
Last: MPVPE of a trained network in float16 beside float32, on synthetic test pictures.
"""

import os
import platform
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from common.hand.mano import load_mano
from common.utils.checkpoint import git_commit
from common.utils.dist import parse_devices
from common.utils.errors import UserError, run_script
from common.utils.files import write_bytes, write_json
from main import cli
from tool.speed.measures import (
    ON_CPU,
    ON_GPU,
    benchmark_config,
    inference,
    precision,
    steps,
    stream,
    training,
)
from tool.speed.tables import tables

WEIGHTS = cli.ROOT / "main" / "weights" / "lgnet_small.pth"


def main() -> None:
    options = cli.parser(__doc__)
    options.add_argument("--preset", default="lgnet,lgnet_small,eanet", help="one or several, with commas")
    options.add_argument(
        "--batch", type=numbers, help="batches of inference (default: 1,64,128; 1,4 on CPUs)"
    )
    options.add_argument("--train_batch", type=int, help="default: 64; 4 on CPUs")
    options.add_argument("--rounds", type=int, help="that are timed (default: 20; 5 on CPUs)")
    options.add_argument("--checkpoint", type=Path, default=WEIGHTS, help="compared in float16 and float32")
    options.add_argument("--pictures", type=int, help="on which it is compared (default: 512; 64 on CPUs)")
    options.add_argument("--steps", action="store_true", help="what each step gives the first network")
    options.add_argument("--compile", action="store_true", help="a step more: torch.compile, some minutes")
    options.add_argument("--stream", action="store_true", help="also training with its data, end to end")
    options.add_argument("--output", type=Path, default=cli.ROOT / "output" / "benchmark", help="folder")
    args = options.parse_args()
    device = parse_devices(args.gpu)[0]
    plan = ON_GPU if device.type == "cuda" else ON_CPU
    changes = {
        "batches": args.batch,
        "train_batch": args.train_batch,
        "rounds": args.rounds,
        "pictures": args.pictures,
    }
    plan = replace(plan, **{key: value for key, value in changes.items() if value is not None})
    if min(*plan.batches, plan.train_batch, plan.rounds, plan.pictures) < 1:
        raise UserError("--batch, --train_batch, --rounds and --pictures are 1 or more")
    configs = {name: benchmark_config(name, args.settings, plan) for name in args.preset.split(",")}
    start = time.perf_counter()
    report: dict[str, Any] = {"machine": machine(device), "commit": git_commit(cli.ROOT)}
    mano = load_mano().to(device)
    report["inference"] = inference(configs, mano, device, plan)
    if args.steps or args.compile:
        first = next(iter(configs))
        report["steps"] = {first: steps(configs[first], mano, device, plan, args.compile)}
    report["training"] = {name: training(config, mano, device, plan) for name, config in configs.items()}
    if args.stream:
        report["stream"] = {name: stream(config, mano, device, plan) for name, config in configs.items()}
    report["float16"] = precision(args.checkpoint, mano, device, plan)
    report["seconds"] = round(time.perf_counter() - start)
    text = "\n".join(["", *tables(report), ""])
    print(text)
    for name, write, content in (("md", write_bytes, text.encode()), ("json", write_json, report)):
        write(args.output / f"benchmark_{device.type}.{name}", content)
    print(f"written: {args.output / f'benchmark_{device.type}'}.md and .json")


def numbers(text: str) -> tuple[int, ...]:
    """`1,64` -> (1, 64)."""
    parts = text.split(",")
    if not all(part.strip().isdigit() for part in parts):
        raise UserError(f"--batch {text}: write numbers with commas, as 1,64")
    return tuple(map(int, parts))


def machine(device: torch.device) -> dict[str, Any]:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor()
    threads = {"threads": torch.get_num_threads(), "load": round(os.getloadavg()[0], 1)}
    return {"device": device.type, "name": name or platform.machine(), "torch": torch.__version__, **threads}


if __name__ == "__main__":
    run_script(main)
