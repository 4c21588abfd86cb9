"""Evaluation protocols: named, frozen sets of choices. Numbers of two do not compare."""

from dataclasses import dataclass

from common.hand.joints import JOINT_NAMES, MIDDLE_MCP, WRIST


@dataclass(frozen=True)
class Protocol:
    """What a number means: printed beside it and written into metrics.json.

    Ground-truth joints are regressed from the ground-truth mesh. Pictures with a mean below 10 (of 255)
    are not seen here: the data set leaves them out of a test split.
    """

    name: str
    root: int  # joint at which prediction and ground truth are laid on each other, per hand
    scale_bone: tuple[int, int] | None  # the prediction is scaled per hand to its true length
    tips: str  # fingertip set of common/hand/joints.py, for predicted and ground-truth joints
    frames: str  # which samples count, by their hand_type: "interacting" or "all"
    both_fits: bool  # only samples in which both hands have a MANO fit
    source: str  # where the choices come from

    def describe(self) -> str:
        """One line for the table's head."""
        scale = "no scale"
        if self.scale_bone is not None:
            start, end = (JOINT_NAMES[joint] for joint in self.scale_bone)
            scale = f"scaled per hand to the true bone {start}-{end}"
        frames = f"{self.frames} frames" + (", both hands fitted" if self.both_fits else "")
        return f"{JOINT_NAMES[self.root]} root, {scale}, joints from the mesh, tips '{self.tips}', {frames}"


LGNET = Protocol(
    name="lgnet",
    root=WRIST,
    scale_bone=(WRIST, MIDDLE_MCP),
    tips="intaghand",
    frames="interacting",
    both_fits=True,
    source="LGNet's text, the choices of IntagHand and DIR (apps/eval.py, root joint 0, scaled)",
)

PROTOCOLS = {protocol.name: protocol for protocol in (LGNET,)}
