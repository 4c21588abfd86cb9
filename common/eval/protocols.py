"""Evaluation protocols: named, frozen sets of choices. Numbers of two do not compare."""

from dataclasses import dataclass

from common.hand.joints import JOINT_NAMES, MIDDLE_MCP, WRIST

FRAMES = ("interacting", "all")
JOINT_SOURCES = ("mesh",)  # regressed from the ground-truth mesh; annotated joints are not in use yet


@dataclass(frozen=True)
class Protocol:
    """What a number means: printed beside it and written into metrics.json.

    root: joint at which prediction and ground truth are laid on each other, per hand.
    scale_bone: the prediction is scaled per hand to the true length of this bone; None: no scale.
    joints_from: where the ground-truth joints come from, one of JOINT_SOURCES.
    tips: fingertip set of common/hand/joints.py, for predicted and regressed ground-truth joints.
    frames: which samples count, by their hand_type.
    both_fits: only samples in which both hands have a MANO fit. Pictures with a mean below 10 (of
        255) are not seen here: the data set leaves them out of a test split.
    source: where the choices come from.
    """

    name: str
    root: int
    scale_bone: tuple[int, int] | None
    joints_from: str
    tips: str
    frames: str
    both_fits: bool
    source: str

    def __post_init__(self) -> None:
        if self.frames not in FRAMES or self.joints_from not in JOINT_SOURCES:
            raise ValueError(f"{self.name}: frames in {FRAMES}, joints_from in {JOINT_SOURCES}")

    def describe(self) -> str:
        """One line for the table's head."""
        scale = "no scale"
        if self.scale_bone is not None:
            start, end = (JOINT_NAMES[joint] for joint in self.scale_bone)
            scale = f"scaled per hand to the true bone {start}-{end}"
        frames = f"{self.frames} frames" + (", both hands fitted" if self.both_fits else "")
        return (
            f"{JOINT_NAMES[self.root]} root, {scale}, joints from the {self.joints_from}, "
            f"tips '{self.tips}', {frames}"
        )


LGNET = Protocol(
    name="lgnet",
    root=WRIST,
    scale_bone=(WRIST, MIDDLE_MCP),
    joints_from="mesh",
    tips="intaghand",
    frames="interacting",
    both_fits=True,
    source="LGNet's text, the choices of IntagHand and DIR (apps/eval.py, root joint 0, scaled)",
)

PROTOCOLS = {protocol.name: protocol for protocol in (LGNET,)}
