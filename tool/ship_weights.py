"""Training snapshots -> a small file to ship: weights in half precision, no optimizer.

python tool/ship_weights.py output/lgnet_small/model_dump/snapshot_19.pth main/weights/lgnet_small.pth
python tool/ship_weights.py IN OUT --calibrate 4096    # first make the presence probabilities honest
python tool/ship_weights.py IN1 IN2 IN3 OUT            # the mean of networks of one origin
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common.eval.reduce import calibration_error
from common.hand.joints import HANDS
from common.hand.mano import ManoLayer, load_mano
from common.utils.checkpoint import half_precision, load_snapshot, save_snapshot
from common.utils.errors import UserError, run_script
from main import build
from main.config import Config, Paths, from_dict
from main.model import model_from_snapshot

KEPT = ("config", "commit", "hand_model", "last_epoch")
LARGEST = 30e6  # bytes that a file in git may have
SEED = 20251  # of the pictures to calibrate on
BATCH = 32
STEPS = 100  # of the optimizer at most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("snapshots", type=Path, nargs="+")
    parser.add_argument("out", type=Path)
    parser.add_argument(
        "--calibrate", type=int, metavar="N", help="fit presence on N synthetic pictures of their own seed"
    )
    args = parser.parse_args()
    snapshot = mean_snapshot(args.snapshots)
    shipped = {key: snapshot[key] for key in KEPT if key in snapshot}
    if args.calibrate is not None:
        if args.calibrate < BATCH:
            raise UserError(f"--calibrate takes {BATCH} pictures or more")
        snapshot["network"], shipped["presence_calibration"] = calibrated(snapshot, args.calibrate)
        print(in_words(shipped["presence_calibration"]))
    save_snapshot({**shipped, "network": half_precision(snapshot["network"])}, args.out)
    size = args.out.stat().st_size
    print(f"wrote {args.out}, {size / 1e6:.1f} MB")
    if size > LARGEST:
        print(f"that is over the {LARGEST / 1e6:.0f} MB that a shipped file may have: ship a smaller network")


def mean_snapshot(paths: list[Path]) -> dict[str, Any]:
    """The last snapshot with the mean of all networks' weights: a model soup (Wortsman et al. 2022)."""
    snapshot = load_snapshot(paths[-1])
    total = snapshot["network"]
    for path in paths[:-1]:
        network = load_snapshot(path)["network"]
        if {name: value.shape for name, value in network.items()} != {k: v.shape for k, v in total.items()}:
            raise UserError(f"{path} and {paths[-1]} are different networks: only alike ones have a mean")
        total = {name: total[name] + value for name, value in network.items()}
    return {**snapshot, "network": {name: mean_of(value, len(paths)) for name, value in total.items()}}


def mean_of(total: Tensor, count: int) -> Tensor:
    return total / count if total.is_floating_point() else total.div(count, rounding_mode="floor")


# ---- presence ----


def calibrated(snapshot: dict[str, Any], pictures: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The snapshot's weights with calibrated presence, and what was fitted on so many pictures."""
    config = from_dict(snapshot["config"])
    seed = SEED + (config.train.seed == SEED)  # not that of the training
    mano = load_mano(None)
    network = model_from_snapshot(snapshot, mano)
    heads = presence_heads(network)
    logits, truth = predict_presence(network, calibration_data(config, mano, pictures, seed))
    scale, shift = fit_platt(logits, truth)
    fold(heads, scale, shift)
    about = {
        "scale": scale.tolist(),
        "shift": shift.tolist(),
        "ECE_before": expected_error(logits, truth),
        "ECE_after": expected_error(logits * scale + shift, truth),
        "pictures": len(logits),
        "seed": seed,
    }
    return network.state_dict(), about


def calibration_data(config: Config, mano: ManoLayer, pictures: int, seed: int) -> Any:
    """Batches of synthetic pictures as the network was trained on, but of another seed."""
    data = replace(config.data, synthetic_train=pictures)
    train = replace(config.train, seed=seed, batch_size=BATCH, overfit=0)
    return build.training_data(replace(config, paths=Paths(), data=data, train=train), mano, print)


@torch.no_grad()
def predict_presence(network: nn.Module, batches: Any) -> tuple[Tensor, Tensor]:
    """Logits and truth (N,2) of the hands' presence, float64."""
    logits, truth = [], []
    for batch in batches:
        logits.append(network(batch["img"])["present"])
        truth.append(batch["present"])
    return torch.cat(logits).double(), torch.cat(truth).double()


def presence_heads(network: nn.Module) -> list[nn.Linear]:
    """The layer that gives each hand's logit (right, left): the last linear one of its presence head."""
    for name, module in network.named_modules():
        if name.rpartition(".")[2] == "presence":
            return [last_linear(hand) for hand in module.hands]
    raise UserError("--calibrate: this network does not judge presence")


def last_linear(head: nn.Module) -> nn.Linear:
    return [module for module in head.modules() if isinstance(module, nn.Linear)][-1]


def fit_platt(logits: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and shift (2,) of each hand's logits (N,2) that fit the truth (N,2) best (Platt 1999).

    As there, the targets are a little off 0 and 1, so that hands which are always right stay finite.
    """
    positive = truth.sum(0)
    negative = len(truth) - positive
    target = torch.where(truth > 0.5, (positive + 1) / (positive + 2), 1 / (negative + 2))
    parameters = torch.tensor([[1.0, 1.0], [0.0, 0.0]], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([parameters], max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        error = F.binary_cross_entropy_with_logits(logits * parameters[0] + parameters[1], target)
        error.backward()
        return error

    optimizer.step(loss)
    scale, shift = parameters.detach()
    if (scale <= 0).any():
        raise UserError(
            "--calibrate: presence is no better than chance on these pictures; train further, then calibrate"
        )
    return scale, shift


@torch.no_grad()
def fold(heads: list[nn.Linear], scale: Tensor, shift: Tensor) -> None:
    """Let each head give scale * logit + shift, so that nothing else has to know of the calibration."""
    for hand, head in enumerate(heads):
        head.weight.mul_(scale[hand])
        head.bias.mul_(scale[hand]).add_(shift[hand])


def expected_error(logits: Tensor, truth: Tensor) -> float:
    """Expected calibration error of logits (N,2)."""
    return calibration_error(logits.sigmoid().numpy(), truth.numpy())


def in_words(about: dict[str, Any]) -> str:
    """One line on a fit."""
    fits = []
    for hand, name in enumerate(HANDS):
        fits.append(f"{name} {about['scale'][hand]:.3f} x logit {about['shift'][hand]:+.3f}")
    return (
        f"presence on {about['pictures']} pictures of seed {about['seed']}: {', '.join(fits)}; expected "
        f"calibration error {about['ECE_before']:.3f} -> {about['ECE_after']:.3f}"
    )


if __name__ == "__main__":
    run_script(main)
