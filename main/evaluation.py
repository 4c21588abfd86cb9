"""One evaluation from predictions to report: what test.py and tool/evaluate.py have in common."""

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from common.base import evaluate
from common.eval.metrics import Metrics
from common.eval.placement import about_wrists
from common.eval.predictions import Predictions, read_predictions
from common.eval.protocols import LGNET, Protocol
from common.eval.results import per_sample, results, typical
from common.hand.joints import BONES
from common.hand.mano import ManoLayer
from common.show import plots
from common.show.figures import gallery_row
from common.show.report import page, table
from common.targets import add_targets, to_device
from common.utils.checkpoint import git_commit
from common.utils.dist import rank, world_size
from common.utils.files import picture_bytes, require_writable, write_bytes, write_json
from main import build, cli
from main.config import Config

Predict = Callable[[dict[str, Any]], dict[str, Tensor]]
Gallery = list[tuple[str, bytes]]  # caption, PNG


def run(
    predict: Predict,
    loader: Iterable[dict[str, Any]],
    mano: ManoLayer,
    device: torch.device,
    protocols: tuple[Protocol, ...],
    config: Config,
    folder: Path,
    save: Path | None = None,
    notes: Sequence[str] = (),
    **about: Any,
) -> None:
    """Evaluate this process's share of the loader; the first process writes `folder` and prints the table.

    save: where the predictions go; notes, about: for metrics.json.
    """
    if save:
        require_writable(save)  # now, not after hours
    metrics, kept = Metrics(mano, protocols, config.test.penetration), Predictions()
    consumers = {"metrics": metrics.update} | ({"save": kept.add} if save else {})
    spent = gather(metrics, evaluate(predict, loader, mano, device, consumers))
    if rank() == 0:
        about |= {
            "hand_model": mano.name,
            "synthetic": build.is_synthetic(config),
            "config": config.to_dict(),
            "commit": git_commit(cli.ROOT),
            "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
            "device": f"{world_size()} x {device.type}",
            "pictures_per_second": sum(part["pictures"] / max(part["predict"], 1e-9) for part in spent),
            "metrics_per_second": sum(part["pictures"] / max(part["metrics"], 1e-9) for part in spent),
        }
        found = results(metrics, notes=notes, **about)
        write_json(folder / "metrics.json", found)  # the numbers first
        gallery = draw_gallery(typical(metrics), predict, loader, mano, device)
        publish(metrics, found, gallery, mano, folder)
    if save:
        write_predictions(kept, save)
    if rank() == 0:
        print(f"results: {folder / 'metrics.json'}")


def publish(metrics: Metrics, found: dict[str, Any], gallery: Gallery, mano: ManoLayer, folder: Path) -> None:
    """Write what people read of the numbers, and print the table."""
    write_bytes(folder / "per_sample.csv", per_sample(metrics).encode())
    pictures = draw_figures(found, mano, folder)
    write_bytes(folder / "report.html", page(found, pictures, gallery).encode())
    print(table(found))
    rates = (found["pictures_per_second"], found["metrics_per_second"])
    print("{:.1f} pictures/s predicted, {:.1f} measured".format(*rates))
    print(f"report: {folder / 'report.html'}")


def gather(metrics: Metrics, spent: dict[str, float]) -> list[dict[str, float]]:
    """Every process ends with the metrics of all; the times of each process."""
    if world_size() == 1:
        return [spent]
    shares: list[Any] = [None] * world_size()
    dist.all_gather_object(shares, (metrics.state(), spent))
    for number, (state, _) in enumerate(shares):
        if number != rank():
            metrics.merge(state)
    return [spent for _, spent in shares]


def write_predictions(kept: Predictions, path: Path) -> None:
    """One file of the predictions of all processes; each first writes its own part beside it."""
    parts = [path.with_name(f"{path.name}.part{number}") for number in range(world_size())]
    kept.write(parts[rank()] if rank() else path)
    if world_size() == 1:
        return
    dist.barrier()
    for part in parts[1:] if rank() == 0 else ():
        kept.merge(read_predictions(part))
        part.unlink()
    if rank() == 0:
        kept.write(path)


def draw_figures(found: dict[str, Any], mano: ManoLayer, folder: Path) -> dict[str, bytes]:
    """The paper's figures under the first protocol that has curves, as PNG and PDF -> {title: PNG}."""
    name = next((name for name, curves in found["curves"].items() if curves), None)
    if name is None:
        return {}
    curves = found["curves"][name]
    # the paper's curves stand beside ours only where they mean the same
    published = name == LGNET.name and "InterHand2.6M" in found["data"] and found["hand_model"] == "MANO"
    flat = torch.eye(3, device=mano.faces.device).expand(1, 2, 16, 3, 3)
    verts = mano.skin(flat, flat.new_zeros(1, 2, 10))
    joints = mano.joints(verts)[0].cpu().numpy()
    hand = (verts[0].cpu().numpy(), mano.faces.cpu().numpy(), joints, BONES)
    runs = {found["title"]: curves}
    figures = {
        f"PCK, protocol {name}": ("pck", plots.pck_figure(runs, published)),
        f"MPJPE by pose difference, protocol {name}": ("pose_difference", plots.pose_figure(runs, published)),
        f"MPJPE per joint, protocol {name}": ("joints", plots.joint_figure(curves["MPJPE_per_joint"], *hand)),
    }
    return {
        title: plots.save_figure(figure, folder / "figures" / file)
        for title, (file, figure) in figures.items()
    }


@torch.inference_mode()
def draw_gallery(
    chosen: dict[str, str], predict: Predict, loader: Any, mano: ManoLayer, device: torch.device
) -> Gallery:
    """A row of pictures for each chosen sample {id: caption}."""
    if not chosen:
        return []
    batch = add_targets(to_device(loader.select(list(chosen)), device), mano)
    pred = about_wrists(mano, predict(batch))
    return [
        (f"{text}, {name}", picture_bytes(gallery_row(pred, batch, index, mano.faces, name)))
        for index, (name, text) in enumerate(chosen.items())
    ]
