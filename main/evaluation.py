"""One evaluation from predictions to report, as test.py runs it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from common.base import evaluate
from common.eval.metrics import Metrics
from common.eval.placement import about_wrists
from common.eval.predictions import Predictions, read_predictions
from common.eval.protocols import LGNET
from common.eval.results import About, Results, per_sample, results, typical
from common.hand.joints import BONES
from common.hand.mano import ManoLayer
from common.show import plots
from common.show.figures import gallery_row
from common.show.page import page
from common.show.report import screen_text
from common.targets import add_targets, to_device
from common.utils.dist import rank, world_size
from common.utils.files import picture_bytes, write_bytes, write_json

Predict = Callable[[dict[str, Any]], dict[str, Tensor]]
Gallery = list[tuple[str, bytes]]  # caption, PNG


def run(
    predict: Predict,
    about: About,
    metrics: Metrics,
    loader: Any,
    device: torch.device,
    folder: Path,
    save: Path | None = None,
    notes: Sequence[str] = (),
) -> None:
    """Evaluate this process's share of the loader; the first process prints the table and writes `folder`.

    metrics: still empty; save: where the predictions go; notes: what results must say of the predictions.
    """
    kept, mano = Predictions(), metrics.mano
    consumers = {"metrics": metrics.update}
    if save:
        consumers["save"] = kept.add
    start = time.perf_counter()
    spent = gather(metrics, evaluate(predict, loader, mano, device, consumers))
    evaluated = time.perf_counter()
    if rank() == 0:
        # once more, for now it is known which pictures could not be read
        about = replace(about, metrics_per_second=_rate(spent, "metrics"), data_notes=loader.notes())
        if about.checkpoint:  # else the predictions were only read
            about = replace(about, pictures_per_second=_rate(spent, "predict"))
        tested = results(metrics, about, notes, loader.strata())
        print(screen_text(tested))  # first: a full disk may take the files
        write_json(folder / "metrics.json", tested.to_plain())
        gallery = draw_gallery(typical(metrics), predict, loader, mano, device)
        write_report(metrics, tested, gallery, folder)
    if save:
        write_predictions(kept, save)
    if rank() == 0:
        print(time_line(spent[0], evaluated - start, time.perf_counter() - evaluated))
        print(f"results: {folder / 'metrics.json'}")


def time_line(spent: dict[str, float], whole: float, report: float) -> str:
    """Where the time went, of the first process: what is left of the evaluation's is waiting for data."""
    busy = {name: seconds for name, seconds in spent.items() if name != "pictures"}
    parts = {"data": whole - sum(busy.values()), **busy, "results and report": report}
    return f"seconds: {', '.join(f'{name} {seconds:.1f}' for name, seconds in parts.items())}"


def _rate(spent: list[dict[str, float]], part: str) -> float | None:
    """Pictures a second of all processes; None of no picture."""
    rates = [times["pictures"] / times[part] for times in spent if times["pictures"]]
    return sum(rates) if rates else None


def write_report(metrics: Metrics, tested: Results, gallery: Gallery, folder: Path) -> None:
    """Write what people read of the numbers, and say where."""
    write_bytes(folder / "per_sample.csv", per_sample(metrics).encode())
    pictures = draw_figures(tested, metrics.mano, folder)
    write_bytes(folder / "report.html", page(tested, pictures, gallery).encode())
    about = tested.about
    rates = {"predicted": about.pictures_per_second, "measured": about.metrics_per_second}
    words = [f"{rate:.1f} {what}" for what, rate in rates.items() if rate is not None]
    if words:
        print(f"pictures a second: {', '.join(words)}")
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
    if rank() == 0:
        for part in parts[1:]:
            kept.merge(read_predictions(part))
            part.unlink()
        kept.write(path)


def draw_figures(tested: Results, mano: ManoLayer, folder: Path) -> dict[str, bytes]:
    """The paper's figures under the first protocol that has curves, as PNG and PDF -> {title: PNG}."""
    name = next((name for name, curves in tested.curves.items() if curves), None)
    if name is None:
        return {}
    curves, about = tested.curves[name], tested.about
    # the paper's curves stand beside ours only where they mean the same
    benchmark = "InterHand2.6M" in about.data and about.config["test"]["split"] == "test"
    published = name == LGNET.name and benchmark and about.hand_model == "MANO"
    runs = {about.title: curves}
    flat = torch.eye(3, device=mano.faces.device).expand(1, 2, 16, 3, 3)
    verts = mano.skin(flat, flat.new_zeros(1, 2, 10))
    hand = (verts[0].cpu(), mano.faces.cpu(), mano.joints(verts)[0].cpu(), BONES)
    figures = {
        "pck": ("PCK", plots.pck_figure(runs, published)),
        "pose_difference": ("MPJPE by pose difference", plots.pose_figure(runs, published)),
        "joints": ("MPJPE per joint", plots.joint_figure(curves["MPJPE_per_joint"], *hand)),
    }
    pictures = {}
    for file, (title, figure) in figures.items():
        pictures[f"{title}, protocol {name}"] = plots.save_figure(figure, folder / "figures" / file)
    return pictures


@torch.inference_mode()
def draw_gallery(
    chosen: dict[str, str], predict: Predict, loader: Any, mano: ManoLayer, device: torch.device
) -> Gallery:
    """A row of pictures for each chosen sample {id: caption}."""
    if not chosen:
        return []
    batch = add_targets(to_device(loader.select(list(chosen)), device), mano)
    pred = about_wrists(mano, predict(batch))
    gallery = []
    for index, (name, text) in enumerate(chosen.items()):
        row = gallery_row(pred, batch, index, mano.faces, name)
        gallery.append((f"{text}, {name}", picture_bytes(row)))
    return gallery
