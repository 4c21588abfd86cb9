"""EANet's published snapshot -> one that test.py and demo.py take.

python tool/convert_eanet.py snapshot_6.pth.tar main/weights/eanet.pth
"""

import argparse
import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from torch import Tensor

from common.hand.mano import load_mano
from common.nets.mesh_stage import POOLED_SCALE, TOKEN_SCALE
from common.utils.checkpoint import load_tensors, save_snapshot
from common.utils.errors import UserError, run_script
from main.model import build_model
from main.presets import preset

State = dict[str, Tensor]

# Beginning of our name: beginnings of theirs; H is the hand, r or l. Two are stacked (wrist, fingers).
PLACES = {
    "backbone.net.": ("hand_backbone.",),
    "eablock.conv.hands.H.": ("hand_position_net.EABlock.conv_H.",),
    "eablock.out.hands.H.": ("hand_position_net.EABlock.conv_H2.",),
    "eablock.extract.": ("hand_position_net.EABlock.Extract.",),
    "eablock.adapt.hands.H.": ("hand_position_net.EABlock.Adapt_H.",),
    "extractor.heatmap.hands.H.": ("hand_position_net.conv_H2.0.",),
    "extractor.feature.hands.H.": ("hand_rotation_net.Hconv.",),
    "regressor.sjt.hands.H.embedding": ("hand_rotation_net.Transformer_H.pos_embed",),
    "regressor.sjt.hands.H.": ("hand_rotation_net.Transformer_H.blocks.",),
    "regressor.rotation.hands.H.": ("hand_rotation_net.Hroot_pose_out.0.", "hand_rotation_net.Hpose_out.0."),
    "regressor.shape.hands.H.": ("hand_rotation_net.Hshape_out.0.",),
    "regressor.cam.hands.H.": ("hand_rotation_net.Hcam_out.0.",),
    "regressor.rel_trans.": ("hand_rotation_net.root_relative.",),
}
# Parts of a FuseFormer and of the transformer blocks; the first pattern that fits a part counts.
PARTS = {
    r"\bposition\b": "pos_embed",
    r"\bquery_position\b": "CA_T.pos_embed",
    r"\bcontext_position\b": "CA_T.pos_embed2",
    r"\bfc\b": "FC",
    r"\bfc_sim\b": "FC2",
    r"\bfc_out\b": "FC3",
    r"(cross_blocks.*)norm_mlp": r"\1norm3",
    r"\bnorm_x\b": "norm1",
    r"\bnorm_(context|mlp)\b": "norm2",
    r"\bsim_blocks\b": "SA_T",
    r"\bcross_blocks\b": "CA_T.blocks",
    r"\b(qkv|q|k|v)\.": r"attn.\1.",
    r"\bout\.": "attn.proj.",
    r"\bmlp\.0\.": "mlp.fc1.",
    r"\bmlp\.2\.": "mlp.fc2.",
}
# These layers of ours see their input scaled, which keeps training from random weights calm.
SCALES = {
    "regressor.rotation.": TOKEN_SCALE,
    "regressor.shape.": POOLED_SCALE,
    "regressor.cam.": POOLED_SCALE,
    "regressor.rel_trans.0.": POOLED_SCALE,
}
WRIST_AND_FINGERS = (6, 90)  # rows of the two layers that are one of ours


def upstream_names(name: str) -> list[str]:
    """Their names of one of our entries."""
    hand = re.search(r"\.hands\.([01])\.", name)
    letter = "rl"[int(hand[1])] if hand else ""
    of_either = re.sub(r"\.hands\.[01]\.", ".hands.H.", name, count=1)
    start = next(place for place in PLACES if of_either.startswith(place))
    rest = of_either.removeprefix(start)
    if not start.startswith("backbone."):
        for pattern, theirs in PARTS.items():
            rest = re.sub(pattern, theirs, rest)
    return [place.replace("H", letter) + rest for place in PLACES[start]]


def convert(theirs: State, ours: State) -> State:
    """Their state dict under our names; `ours` says names and shapes. UserError on any difference."""
    theirs = {name.removeprefix("module."): value for name, value in theirs.items()}
    theirs = {name: value for name, value in theirs.items() if not name.startswith("mano_layer")}
    names = {name: upstream_names(name) for name in ours}
    wanted = {name for parts in names.values() for name in parts}
    if wanted != theirs.keys():
        raise UserError(
            f"this is not EANet's network: missing {listed(wanted - theirs.keys())}; "
            f"left over {listed(theirs.keys() - wanted)}"
        )
    return {name: _entry(name, [theirs[part] for part in names[name]], ours[name]) for name in ours}


def _entry(name: str, parts: list[Any], like: Tensor) -> Tensor:
    """One entry of ours from theirs: stacked, without the batch axis of an embedding, rescaled."""
    wanted = like.split(WRIST_AND_FINGERS) if len(parts) > 1 else (like,)
    for theirs, part, want in zip(upstream_names(name), parts, wanted, strict=True):
        if not isinstance(part, Tensor) or part.shape not in (want.shape, (1, *want.shape)):
            given = tuple(part.shape) if isinstance(part, Tensor) else type(part).__name__
            raise UserError(f"this is not EANet's network: {theirs} is {given}, not {tuple(want.shape)}")
    shaped = [part.reshape(want.shape) for part, want in zip(parts, wanted, strict=True)]
    value = torch.cat(shaped) if len(shaped) > 1 else shaped[0]
    scale = next((s for start, s in SCALES.items() if name.startswith(start)), 1.0)
    return (value / scale if name.endswith("weight") else value).to(like.dtype)


def listed(names: set[str], most: int = 4) -> str:
    """The first of the names and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(sorted(names)[:most]) or "nothing") + more


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("snapshot", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    snapshot = load_tensors(args.snapshot)
    theirs = snapshot.get("network", snapshot) if isinstance(snapshot, dict) else None
    if not isinstance(theirs, dict):
        raise UserError(f"{args.snapshot} holds no network: give EANet's snapshot_N.pth.tar")
    config = preset("eanet")
    model = build_model(config.model, load_mano())
    network = convert(theirs, model.state_dict())
    about = {"config": config.to_dict(), "hand_model": "MANO"}
    if isinstance(snapshot.get("epoch"), int):
        about["last_epoch"] = snapshot["epoch"]
    save_snapshot({"network": network, **about}, args.out)
    print(f"wrote {args.out}: {len(network)} entries, {args.out.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    run_script(main)
