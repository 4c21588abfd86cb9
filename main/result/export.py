"""From two hands to the files that people open: pictures, meshes, numbers."""

import io
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common.hand.joints import HANDS
from common.show.figures import HAND_COLORS, attention_panels
from common.utils.files import write_bytes, write_json, write_obj, write_picture
from common.utils.geometry import IMAGE_SIZE
from common.utils.image import warp
from common.utils.meshes import Mesh, write_glb, write_ply
from main.result import draw
from main.result.describe import FRAMES, METRIC, NOT_METRIC, arrays, to_dict
from main.result.hand_values import HandValues
from main.result.kinds import KINDS, known_kinds

PICTURES = {"skeleton": draw.skeleton, "views": draw.views}  # beside the overlay, where there is a hand


def save(
    hands: HandValues,
    folder: Path,
    stem: str,
    source: str = "",
    synthetic: bool = False,
    kinds: Collection[str] = KINDS,
) -> list[Path]:
    """Write what `kinds` names of KINDS, each as <stem>...; returns the paths.

    <stem>_overlay.png, _skeleton.png, _views.png; <stem>_right.obj and _left.obj, the final meshes, and
    ..._rough.obj, those of the MANO parameters, where the network refines them; <stem>.ply and <stem>.glb,
    both hands in one scene; <stem>.npz; <stem>.json. <stem>_attention.png if the result holds attention.
    Without a hand: the overlay and the JSON, which say so. What an earlier run left under a name that this
    one does not write is removed. source: what the JSON names as the input; synthetic: nobody photographed
    it.
    """
    kinds = known_kinds(kinds)
    paths = []
    if "overlay" in kinds:
        paths.append(folder / f"{stem}_overlay.png")
        write_picture(paths[-1], draw.overlay(hands, synthetic))
    paths += _pictures(hands, folder, stem, kinds)
    final = write_meshes(hands, folder, stem, wanted="obj" in kinds)
    rough = write_meshes(hands, folder, stem, rough=True, wanted="obj" in kinds)
    paths += [folder / name for name in (*final.values(), *rough.values()) if name is not None]
    paths += _scenes(hands, folder, stem, kinds)
    if "json" in kinds:
        about = {"input": source, "synthetic": synthetic, "meshes": final, "meshes_rough": rough}
        paths.append(folder / f"{stem}.json")
        write_json(paths[-1], {**about, **to_dict(hands)})
    return paths


def _pictures(hands: HandValues, folder: Path, stem: str, kinds: Collection[str]) -> list[Path]:
    paths = []
    for kind, paint in PICTURES.items():
        path = folder / f"{stem}_{kind}.png"
        if kind in kinds and hands.is_present.any():
            write_picture(path, paint(hands))
            paths.append(path)
        else:
            path.unlink(missing_ok=True)
    path = folder / f"{stem}_attention.png"
    path.unlink(missing_ok=True)
    if hands.attention is not None:
        maps = {unit: torch.from_numpy(value) for unit, value in hands.attention.items()}
        write_picture(path, attention_panels(warp(hands.picture, hands.affine, IMAGE_SIZE), maps))
        paths.append(path)
    return paths


def write_meshes(
    hands: HandValues, folder: Path, stem: str, rough: bool = False, wanted: bool = True
) -> dict[str, str | None]:
    """An OBJ for each hand that is present; {hand: file name, or None where there is no such mesh}."""
    verts = hands.verts_rough if rough else hands.verts
    words = "rough mesh, of the MANO parameters" if rough else "final mesh"
    names: dict[str, str | None] = {}
    for i, hand in enumerate(HANDS):
        path = folder / (f"{stem}_{hand}_rough.obj" if rough else f"{stem}_{hand}.obj")
        if wanted and verts is not None and hands.is_present[i]:
            write_obj(
                path, hands.in_camera(verts)[i], hands.faces[i], _comments(hands, f"{hand} hand, {words}")
            )
            names[hand] = path.name
        else:
            path.unlink(missing_ok=True)
            names[hand] = None
    return names


def _scenes(hands: HandValues, folder: Path, stem: str, kinds: Collection[str]) -> list[Path]:
    """Both hands in one file of each kind."""
    meshes, verts = [], hands.verts_cam
    for i in np.flatnonzero(hands.is_present):
        meshes.append(Mesh(f"{HANDS[i]} hand", verts[i], hands.faces[i], tuple(HAND_COLORS[i].tolist())))
    paths = []
    for kind in ("ply", "glb", "npz"):
        path = folder / f"{stem}.{kind}"
        if kind not in kinds or not meshes:
            path.unlink(missing_ok=True)
            continue
        if kind == "ply":
            write_ply(path, meshes, _comments(hands, "final meshes"))
        elif kind == "glb":
            write_glb(path, meshes)
        else:
            write_npz(path, arrays(hands) | {"faces": hands.faces})
        paths.append(path)
    return paths


def write_npz(path: Path, values: dict[str, Any]) -> None:
    content = io.BytesIO()
    np.savez_compressed(content, **values)
    write_bytes(path, content.getvalue())


def _comments(hands: HandValues, words: str) -> tuple[str, ...]:
    depth = METRIC if hands.camera.source == "given" else NOT_METRIC
    return (
        f"{words}, {hands.hand_model}, weights {hands.weights}",
        f"metres, {FRAMES['axes']}; origin: the camera's centre; {depth}",
    )
