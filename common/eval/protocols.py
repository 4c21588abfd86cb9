"""Evaluation protocols: named, frozen sets of choices. Numbers of two do not compare."""

from dataclasses import dataclass, replace
from typing import Literal

from common.hand.joints import JOINT_NAMES, MIDDLE_MCP, TIP_VERTICES, WRIST
from common.utils.errors import UserError

MIN_BRIGHTNESS = 10.0  # of 255, mean of the picture: darker ones are IntagHand's "black images"


@dataclass(frozen=True)
class Protocol:
    """What a number means: printed beside it and written into metrics.json.

    Vertex errors lay the meshes on each other at `root` as regressed from each mesh, and count where the
    hand has a fit. Joint errors compare joints regressed from the predicted mesh with `truth`.
    """

    name: str
    root: int  # joint at which prediction and ground truth are laid on each other, per hand
    scaled: bool  # the prediction is scaled per hand to the true length of wrist - middle MCP
    truth: Literal["mesh", "annotated"]  # ground-truth joints: of the fit's mesh or annotated
    tips: str  # fingertip set of common/hand/joints.py
    source: str  # where the choices come from
    interacting: bool = False  # only interacting frames with both fits, hand type valid, not black
    human: bool = False  # only human-annotated frames
    # Joints that count: "all" of a hand; "seen": data.json's joint_valid, gated by the wrist;
    # "misplaced": the mistake of the public EANet evaluator (see EANET_UPSTREAM).
    mask: Literal["all", "seen", "misplaced"] = "all"
    # MPJPE is a mean over joints of means over frames. "pooled": of all frames; "groups": the _all
    # number is the mean of the 42 joint means of SH and the 42 of IH.
    joint_average: Literal["pooled", "groups"] = "pooled"
    # MPVPE and all other numbers of a hand. "hands": mean over frames of each hand, then over the two;
    # "entries": each hand of each frame counts once; "samples": a frame counts once, with both hands.
    mesh_average: Literal["hands", "entries", "samples"] = "hands"
    # What must be seen in the picture (data.json's joint_valid, gated by the wrist) to count anywhere.
    # "nothing"; "frame": one joint of the frame, else EANet's reader drops the frame; "hand": two joints of
    # the hand, which span a box, else InterWild's reader drops the hand.
    visible: Literal["nothing", "frame", "hand"] = "nothing"
    # MRRPE. "annotated": against the annotated wrists, where both are seen (InterHand2.6M, InterWild);
    # "fit": against the wrists regressed from the fits' meshes (DIR).
    wrists: Literal["annotated", "fit"] = "annotated"
    # RRVE. "annotated": the true left hand is placed by the annotated wrists (InterWild); "fit": it stays
    # where its fit is.
    placement: Literal["annotated", "fit"] = "fit"
    # Truth of box_IoU, enlarged 1.2 times: the box of the true "mesh" (InterWild on HIC), or of the seen
    # annotated "joints", cut to the picture (InterWild on InterHand2.6M). A data set whose labels are
    # meshes has the first alone.
    box: Literal["mesh", "joints"] = "mesh"

    def choices(self) -> dict[str, str]:
        """The choices in words, for tables and metrics.json."""
        tips = " ".join(map(str, TIP_VERTICES[self.tips]))
        joints = "annotated" if self.truth == "annotated" else "from the mesh"
        masks = {"all": "", "seen": ", joint_valid", "misplaced": ", joint_valid in the wrong order"}
        wrists = {"annotated": "annotated wrists, both seen", "fit": "wrists of the fits"}
        placement = {"annotated": "by the annotated wrists", "fit": "as fitted"}
        boxes = {"mesh": "1.2 x true mesh", "joints": "1.2 x seen joints, in the picture"}
        per_hand = {
            "hands": "frames, then hands",
            "entries": "each hand of each frame",
            "samples": "frames, both hands as one",
        }
        groups = {"pooled": "frames, then joints", "groups": "frames, then the 84 joints of SH and IH"}
        return {
            "root": "middle MCP" if self.root == MIDDLE_MCP else JOINT_NAMES[self.root],
            "scale": "true bone" if self.scaled else "none",
            "joints": joints + masks[self.mask],
            "tips": tips,
            "frames": self._frames(),
            "average": f"MPJPE: {groups[self.joint_average]}; MPVPE: {per_hand[self.mesh_average]}",
            "MRRPE": wrists[self.wrists],
            "RRVE": f"true left hand {placement[self.placement]}",
            "box_IoU": boxes[self.box],
            "source": self.source,
        }

    def _frames(self) -> str:
        if self.interacting:
            return "interacting, both fits, hand type valid, not black"
        frames = "human annotated" if self.human else "all"
        visible = {"nothing": "", "frame": " with a seen joint", "hand": "; hands with two seen joints"}
        return frames + visible[self.visible]


LGNET = Protocol(
    name="lgnet",
    root=WRIST,
    scaled=True,
    truth="mesh",
    tips="intaghand",
    interacting=True,
    wrists="fit",
    source="LGNet's text, the choices of DIR (apps/eval.py: root joint 0, scaled) on IntagHand's frames",
)
INTAGHAND = replace(LGNET, name="intaghand", root=MIDDLE_MCP, source="IntagHand (apps/eval_interhand.py)")
INTERHAND = Protocol(
    name="interhand",
    root=WRIST,
    scaled=False,
    truth="annotated",
    tips="interhand",
    mask="seen",
    mesh_average="entries",
    source="InterHand2.6M (Moon et al. 2020), its public evaluation",
)
INTERWILD = replace(
    INTERHAND,
    name="interwild",
    human=True,
    joint_average="groups",  # as its published 12.75 (SH), 14.55 (IH), 13.65 (all) show
    visible="hand",
    placement="annotated",
    box="joints",
    source="InterWild (Moon 2023): human-annotated test pictures; HIC",
)
EANET = Protocol(
    name="eanet",
    root=MIDDLE_MCP,
    scaled=True,
    truth="mesh",
    tips="intaghand",
    mask="seen",
    joint_average="groups",
    mesh_average="samples",
    visible="frame",
    # its public evaluation has no MRRPE; InterHand2.6M's definition stands in
    source="EANet's public evaluation, its two mistakes mended",
)
# The published EANet numbers were made with the joint mask in InterHand2.6M's order laid on joints in
# wrist-first order, and with zero errors for the valid joints of a hand that has no fit. On request only.
EANET_UPSTREAM = replace(
    EANET,
    name="eanet_upstream",
    mask="misplaced",
    source="EANet's public evaluation with its mistakes: permuted mask, missing hands count as 0 mm",
)

PROTOCOLS = {p.name: p for p in (LGNET, INTAGHAND, INTERHAND, INTERWILD, EANET)}
ON_REQUEST = {EANET_UPSTREAM.name: EANET_UPSTREAM}


def parse_protocols(text: str) -> tuple[Protocol, ...]:
    """ "all" (every one that makes no known mistake) or names with commas between them."""
    if text == "all":
        return tuple(PROTOCOLS.values())
    known = PROTOCOLS | ON_REQUEST
    names = list(dict.fromkeys(name.strip() for name in text.split(",")))
    if unknown := [name for name in names if name not in known]:
        raise UserError(f"--protocol {unknown[0]}: choose all or some of {', '.join(known)}")
    return tuple(known[name] for name in names)
