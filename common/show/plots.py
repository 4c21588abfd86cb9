"""Figures of an evaluation: PCK curves, error by pose difference, error per joint.

matplotlib is imported where it is needed, its global state (pyplot) never. `runs` is {label: curves of
one protocol, see common/eval/reduce.py}; a run without curves is left out.
"""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from common.eval.reduce import Curves
from common.hand.joints import HANDS, LEFT, MIDDLE_MCP, RIGHT, WRIST
from common.show.vis import draw_meshes
from common.utils.files import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = ("#d62728", "#1f77b4", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#7f7f7f")
STYLES = ("-", "-.", ":")  # where there are more runs than colours; dashes are for published curves
MOST_INSIDE = 8  # entries of a legend that leave room for curves
PALM_PIXELS, PALM_MARGIN = 3000, 0.01  # pixels a metre of the drawn hand; metres of white about it
PALM_GREY = torch.tensor([[0.95, 0.95, 0.95]])
PUBLISHED_COLORS = {"LGNet": "#222222", "IntagHand": "#8a8a8a"}
# LGNet's paper: PCK figure (its curve read off the plot, +-0.5; AUC as in the legend) and the figure of
# MPJPE by pose difference, whose unit and bins the paper does not define. Wrist root, true bone length.
PUBLISHED = {
    "PCK": {"LGNet": (0, 38, 67, 83, 92, 94, 97, 98, 98.2, 98.5, 99)},  # %, at 0, 5, ..., 50 mm
    "AUC": {
        "LGNet": 82.57,
        "DIR": 80.12,
        "Keypoint Transformer": 77.01,
        "IntagHand": 76.41,
        "InterShape": 76.35,
        "InterNet": 74.08,
    },
    "difference": (14.1, 16.2, 33.5, 39.1, 43.1, 102.3),
    "MPJPE": {"LGNet": (8.5, 7.5, 8.5, 6.8, 8.9, 9.5), "IntagHand": (11.9, 11.0, 12.1, 11.0, 13.1, 14.2)},
}


def _axes(width: float = 6.4, height: float = 4.8) -> tuple["Figure", "Axes"]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    axes.grid(True, color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _having(runs: dict[str, Curves], key: str) -> Iterator[tuple[str, dict[str, Any], Curves]]:
    """Label, line style and curves of the runs that have a key."""
    for index, (label, curves) in enumerate(runs.items()):
        if curves.get(key):
            turn, place = divmod(index, len(COLORS))
            style = {"color": COLORS[place], "linestyle": STYLES[turn % len(STYLES)], "linewidth": 2}
            yield label, style, curves


def pck_figure(runs: dict[str, Curves], published: bool) -> "Figure":
    """Share of joints within 0 to 50 mm, AUC in the legend; a single run with its rough mesh beside it."""
    figure, axes = _axes()
    for label, style, curves in _having(runs, "PCK"):
        name = label if curves.get("AUC") is None else f"{label} ({100 * curves['AUC']:.2f})"
        at, shares = curves["thresholds_mm"], 100 * np.array(curves["PCK"])
        axes.plot(at, shares, label=name, **style)
        if len(runs) == 1 and curves.get("PCK_rough"):
            rough = 100 * np.array(curves["PCK_rough"])
            axes.plot(at, rough, ":", color="#444444", label="its rough mesh")
    if published:
        for name, values in PUBLISHED["PCK"].items():
            auc = f" ({PUBLISHED['AUC'][name]:.2f})"
            _draw_published(axes, np.linspace(0, 50, len(values)), values, name, auc)
        for name, area in PUBLISHED["AUC"].items():
            if name not in PUBLISHED["PCK"]:
                axes.plot([], [], " ", label=f"{name}, published ({area:.2f})")
    axes.set(xlim=(0, 50), ylim=(0, 100), xlabel="error, mm", ylabel="PCK, %")
    _legend(axes, "lower right", "run (AUC, %)")
    return figure


def pose_figure(runs: dict[str, Curves], published: bool) -> "Figure":
    """MPJPE in six bins ordered by how differently the two hands are bent."""
    figure, axes = _axes()
    ticks: dict[int, list[str]] = {}
    for label, style, curves in _having(runs, "pose_bins"):
        values = [np.nan if b["MPJPE"] is None else b["MPJPE"] for b in curves["pose_bins"]]
        places = range(1, len(values) + 1)
        axes.plot(places, values, label=label, marker="o", **style)
        for place, entry in zip(places, curves["pose_bins"], strict=True):
            text = "-" if entry["difference"] is None else f"{entry['difference']:.1f}°"
            ticks.setdefault(place, []).append(text)
    words = "bins of equal count by pose difference of the two hands (mean of the bin)"
    if published:
        for name, values in PUBLISHED["MPJPE"].items():
            _draw_published(axes, range(1, len(values) + 1), values, name)
        for place, difference in enumerate(PUBLISHED["difference"], 1):
            ticks.setdefault(place, []).append(f"({difference})")
        words += "\nin brackets the paper's own bins, which it does not define"
    axes.set_xticks(list(ticks), ["\n".join(dict.fromkeys(texts)) for texts in ticks.values()])
    axes.set(xlabel=words, ylabel="MPJPE, mm", ylim=(0, None))
    _legend(axes, "best", None)
    return figure


def _draw_published(axes: "Axes", x: ArrayLike, y: ArrayLike, name: str, auc: str = "") -> None:
    axes.plot(x, y, "--o", color=PUBLISHED_COLORS[name], label=f"{name}, published{auc}", markersize=3)


def _legend(axes: "Axes", place: str, title: str | None) -> None:
    entries = len(axes.get_legend_handles_labels()[0])
    if not entries:
        return
    where: dict[str, Any] = {"loc": place}
    if entries > MOST_INSIDE:
        where = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)}
    axes.legend(**where, title=title, fontsize=8, title_fontsize=8, framealpha=0.9, handlelength=3)


def joint_figure(
    per_joint: Sequence[Sequence[float | None]],
    verts: Tensor,
    faces: Tensor,
    joints: Tensor,
    bones: Sequence[tuple[int, int]],
) -> "Figure":
    """Mean error of each joint on an open hand seen from the palm, right hand first.

    per_joint (2,21) mm, None where nothing was measured; verts (2,778,3) and joints (2,21,3) of a flat
    hand, metres, any frame; faces (2,F,3), outward.
    """
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    errors = np.array(per_joint, float)  # None becomes NaN
    figure = Figure(figsize=(10, 5.6), dpi=150, layout="constrained")
    top = np.nanmax(errors) if np.isfinite(errors).any() else 1.0
    scale = Normalize(0.0, max(float(top), 1e-6))
    panels = figure.subplots(1, len(HANDS))
    for hand, axes in enumerate(panels):
        view = _palm_view(joints[hand].double().numpy(), hand)
        _draw_hand(axes, verts[hand].double() @ view.T, faces[hand])
        places = (joints[hand].double() @ view.T).numpy()
        discs = _draw_joints(axes, places, bones, errors[hand], scale)
        known = errors[hand][np.isfinite(errors[hand])]
        mean = f"mean {known.mean():.2f} mm" if len(known) else "nothing measured"
        axes.set_title(f"{HANDS[hand]}, palm: {mean}", fontsize=11)
        axes.set_aspect("equal")
        axes.set_axis_off()
    figure.colorbar(discs, ax=list(panels), label="mean error, mm", shrink=0.7, pad=0.01)
    return figure


def _palm_view(joints: NDArray, hand: int) -> Tensor:
    """Rotation (3,3) to x right, y up along the middle finger, z out of the palm; joints (21,3)."""
    index, middle, pinky = (joints[j] - joints[WRIST] for j in (MIDDLE_MCP - 4, MIDDLE_MCP, MIDDLE_MCP + 8))
    up = middle / np.linalg.norm(middle)
    out = np.cross(index, pinky) * {RIGHT: 1.0, LEFT: -1.0}[hand]  # the hands are mirror images
    out -= (out @ up) * up
    out /= np.linalg.norm(out)
    return torch.from_numpy(np.stack([np.cross(up, out), up, out]))


def _draw_hand(axes: "Axes", verts: Tensor, faces: Tensor) -> None:
    """The mesh (V,3), metres, x right, y up, z towards the reader, in grey and in the axes' metres."""
    low, high = verts.amin(0) - PALM_MARGIN, verts.amax(0) + PALM_MARGIN
    width, height = ((high - low)[:2] * PALM_PIXELS).int().tolist()
    camera = verts * verts.new_tensor([1.0, -1.0, -1.0])  # y down, z away from the reader
    corner = torch.stack([low[0], -high[1]])  # of the picture's first pixel
    points = torch.cat([(camera[:, :2] - corner) * PALM_PIXELS, camera[:, 2:]], 1).float()
    white = np.full((height, width, 3), 255, np.uint8)
    picture = draw_meshes(white, points[None], camera[None].float(), faces[None], PALM_GREY, alpha=1.0)
    half = 0.5 / PALM_PIXELS  # an extent reaches from border to border, not from centre to centre
    left, top = low[0] - half, high[1] + half
    extent = (left, left + width / PALM_PIXELS, top - height / PALM_PIXELS, top)
    axes.imshow(picture, extent=[float(side) for side in extent])


def _draw_joints(
    axes: "Axes", joints: NDArray, bones: Sequence[tuple[int, int]], errors: NDArray, scale: Any
) -> Any:
    """Bones, then a disc and a number per joint; the coloured discs are returned for the colour bar."""
    for bone in bones:
        axes.plot(*joints[list(bone), :2].T, color="#7a7a7a", linewidth=1.2, zorder=2)
    known = np.isfinite(errors)
    look = {"s": 430, "edgecolors": "#444444", "linewidths": 0.8, "zorder": 3}
    axes.scatter(*joints[~known, :2].T, color="white", **look)
    discs = axes.scatter(*joints[known, :2].T, c=errors[known], cmap="YlOrRd", norm=scale, **look)
    for place, error in zip(joints, errors, strict=True):
        text = f"{error:.1f}" if np.isfinite(error) else "-"
        color = "white" if scale(error) > 0.65 else "black"
        axes.text(*place[:2], text, ha="center", va="center", fontsize=7, color=color, zorder=4)
    return discs


def save_figure(figure: "Figure", path_without_suffix: Path) -> bytes:
    """Write PATH.png and PATH.pdf, whole or not at all and without dates; return the PNG."""
    nothing = {"png": {"Software": None}, "pdf": dict.fromkeys(("CreationDate", "Creator", "Producer"))}
    content = {}
    for kind, metadata in nothing.items():
        buffer = io.BytesIO()
        figure.savefig(buffer, format=kind, metadata=metadata)
        content[kind] = buffer.getvalue()
        write_bytes(path_without_suffix.with_name(f"{path_without_suffix.name}.{kind}"), content[kind])
    return content["png"]
