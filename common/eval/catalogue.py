"""What a metric is: one row each, said once for the averages, the tables, metrics.json and comparisons.

A number is found by its metric, the mesh it judges and the part of the frames or hands it stands for, and
metrics.json nests in this order: protocols -> lgnet -> MPJPE -> final -> overall -> {value, n}.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from common.hand.joints import FINGERS, HANDS

MESHES = ("final", "rough")  # after and before the refinement; what judges no mesh stands under "final"
# All frames that count and both hands; single-hand and interacting frames; one hand; both of one finger.
PARTS = ("overall", "SH", "IH", *HANDS, *FINGERS)


class Key(NamedTuple):
    """Which number: see the head of this file."""

    metric: str
    mesh: str = "final"
    part: str = "overall"


class Score(NamedTuple):
    """One number, in its metric's unit; value is None where nothing was measured, n the frames behind it."""

    value: float | None
    n: int


Scores = dict[Key, Score]

# Why a metric has no number, in words that end "not available: MPVPE (...)".
NO_TRUTH = "no joint of these frames has both a prediction and a ground truth"
NO_FIT = "no hand of these frames has both a prediction and a MANO fit"
NO_WRISTS = "no interacting frame has both true wrists, in the picture if they are annotated"
NO_DEPTHS = "no RootNet depths (root_net_output_path) or no predicted 2-D joints"
NO_PAIR = "no frame has fits and predictions of both hands"
NO_SAMPLE = "no frame with both hands was sampled"
NO_CONTACT = "the true hands touch in none of these frames"
NO_PIXELS = "no 2-D joint is annotated in these frames"
NO_OUTLINE = "no outline of a hand is known in these frames"
NO_TYPE = "no hand type of these frames is valid"
NO_SINGLE = "no frame shows a single hand, or none of their hand types is valid"
NO_CAMERA = "the predictions hold neither cameras nor 2-D joints"
NO_JOINTS = "the predictions hold no 2-D joints"
NO_ROTATIONS = "the predictions hold no rotations"
NO_PRESENCE = "the predictions do not say which hands are present"
OFF = "switched off (test.penetration)"


@dataclass(frozen=True)
class Metric:
    """One row of the catalogue."""

    name: str
    unit: str  # mm, deg, px, %, cm3, or share: a part of 1
    meaning: str
    unlabelled: str  # why it has no value: what the data lack
    without: str = ""  # why it is not there at all: what the predictions lack
    better: Literal["down", "up", "neither"] = "down"
    rank: Literal["headline", "table", "list"] = "table"  # the shortest summary that shows it
    if_scaled: bool = False  # only under protocols that scale the prediction


# Under every protocol, by its choices and over the frames that count in it.
PER_PROTOCOL = (
    # errors of joints and vertices
    Metric("MPJPE", "mm", "mean distance of the 21 joints, roots aligned", NO_TRUTH, rank="headline"),
    Metric("MPVPE", "mm", "the same of the 778 vertices", NO_FIT, rank="headline"),
    Metric("PA_MPJPE", "mm", "joints after the best similarity per hand", NO_TRUTH),
    Metric("PA_MPVPE", "mm", "vertices after the best similarity per hand", NO_FIT, rank="headline"),
    Metric("MPJPE_unscaled", "mm", "MPJPE without scaling to the true bone", NO_TRUTH, if_scaled=True),
    Metric("MPVPE_unscaled", "mm", "MPVPE without scaling to the true bone", NO_FIT, if_scaled=True),
    Metric("AUC", "share", "area under the joints' PCK curve, 0 to 50 mm", NO_TRUTH, "", "up", "headline"),
    # the hands in one frame, never scaled
    Metric("MRRPE", "mm", "left wrist about the right one, own translation", NO_WRISTS, rank="headline"),
    Metric("MRRPE_plane", "mm", "its part across the picture", NO_WRISTS),
    Metric("MRRPE_depth", "mm", "its part along the depth", NO_WRISTS),
    Metric("MRRPE_depth_constant", "mm", "that of always answering their median", NO_WRISTS, "", "neither"),
    Metric("MRRPE_rootnet", "mm", "the same, right wrist at RootNet's depth", NO_DEPTHS),
    Metric("MRRPE_rootnet_both", "mm", "the same, both wrists at RootNet's depths", NO_DEPTHS),
    Metric("RRVE", "mm", "vertices of both hands about the right wrist, own translation", NO_PAIR),
    Metric("RRVE_rootnet", "mm", "the same, placed as MRRPE_rootnet is", NO_DEPTHS),
    Metric("RRVE_rootnet_both", "mm", "the same, placed as MRRPE_rootnet_both is", NO_DEPTHS),
    Metric("RRVE_gt", "mm", "the same, placed by the true translation", NO_PAIR),
    Metric("box_IoU", "share", "overlap of the hands' boxes, 1.2 times enlarged", NO_FIT, NO_CAMERA, "up"),
)

# No choice of a protocol enters: one number each, over all frames.
SHARED = (
    Metric("root_rotation", "deg", "angle between the wrist rotations", NO_FIT, NO_ROTATIONS),
    Metric("local_rotation", "deg", "mean angle of the 15 finger rotations", NO_FIT, NO_ROTATIONS),
    Metric("joint_px", "px", "joint stage, distance in the crop", NO_PIXELS, NO_JOINTS, rank="headline"),
    Metric("PCK2D_5", "%", "2-D joints within 5 % of the crop", NO_PIXELS, NO_JOINTS, "up", "list"),
    Metric("PCK2D_10", "%", "2-D joints within 10 % of the crop", NO_PIXELS, NO_JOINTS, "up", "list"),
    Metric("PCK2D_15", "%", "2-D joints within 15 % of the crop", NO_PIXELS, NO_JOINTS, "up", "list"),
    Metric("vertex_px", "px", "mesh under its own camera, distance in the crop", NO_FIT, NO_CAMERA),
    Metric("IoU", "share", "overlap of silhouettes, per hand", NO_OUTLINE, NO_CAMERA, "up", "list"),
    Metric(
        "IoU_both", "share", "overlap of silhouettes, both hands", NO_OUTLINE, NO_CAMERA, "up", "headline"
    ),
    Metric("penetration_volume", "cm3", "volume that the two hands share", NO_SAMPLE, OFF),
    Metric("penetration_volume_truth", "cm3", "of the true hands", NO_SAMPLE, OFF, "neither"),
    Metric("penetration_max", "mm", "deepest vertex of one hand inside the other", NO_SAMPLE, OFF),
    Metric("penetration_max_truth", "mm", "of the true hands", NO_SAMPLE, OFF, "neither", "list"),
    Metric("penetration_mean", "mm", "mean over all vertices of both", NO_SAMPLE, OFF, rank="list"),
    Metric("penetration_mean_truth", "mm", "of the true hands", NO_SAMPLE, OFF, "neither", "list"),
    Metric("contact_deviation", "mm", "distance of vertex pairs that touch in the truth", NO_CONTACT, ""),
    Metric("swapped", "%", "two hands, each drawn nearer the other's place", NO_PAIR, NO_CAMERA),
    Metric(
        "presence_accuracy", "%", "hands rightly called present or absent", NO_TYPE, NO_PRESENCE, "up", "list"
    ),
    Metric("presence_pictures", "%", "pictures right of both hands", NO_TYPE, NO_PRESENCE, "up"),
    Metric("presence_single", "%", "of those of a single hand", NO_SINGLE, NO_PRESENCE, "up", "list"),
    Metric("presence_ECE", "share", "expected calibration error of presence", NO_TYPE, NO_PRESENCE),
)

CATALOGUE = {metric.name: metric for metric in (*PER_PROTOCOL, *SHARED)}
HEADLINE = tuple(name for name, metric in CATALOGUE.items() if metric.rank == "headline")
