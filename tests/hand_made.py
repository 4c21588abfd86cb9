"""Samples (tests/protocol_oracle.py says what is in one) whose numbers come from pencil and paper.

A case is (title, protocol, samples, {key: (value, n)}). All start from `still`: flat hands 1 m before a
camera of 1000 px focal length whose middle is pixel (0, 0), so that 1 mm is 1 px; wrists 200 mm apart.
"""

import numpy as np
from scipy.spatial.transform import Rotation

from tests.protocol_oracle import eanet, eanet_upstream, intaghand, interhand, interwild, lgnet

REGRESSOR = np.tile(np.eye(778)[:16], (2, 1, 1))  # MANO row k is vertex k: 4 is the middle MCP
PINKY_TIP = 673  # vertex; joint 20
NOTHING = (None, 0)


def still(hand_type="interacting"):
    """All vertices at the wrist but the middle MCP, 100 mm along x, and the pinky's tip, 100 mm along y;
    predicted perfectly, all of both hands annotated, seen and fitted."""
    verts = np.zeros((2, 778, 3))
    verts[:, 4, 0] = verts[:, PINKY_TIP, 1] = 0.1
    joints, root = np.zeros((2, 21, 3)), np.array([[0, 0, 1.0], [0.2, 0, 1.0]])
    joints[:, 9, 0] = joints[:, 20, 1] = 0.1
    px, verts_px = (1000 * (points + root[:, None])[..., :2] for points in (joints, verts))
    return {
        "id": hand_type,
        "hand_type": hand_type,
        "hand_type_valid": True,
        "human_annotated": True,
        "brightness": 80.0,
        "K": np.diag([1000.0, 1000, 1]),
        "affine": np.eye(3)[:2],
        "image_size": np.array([512.0, 512.0]),
        "fit": np.ones(2, bool),
        "verts": verts,
        "root": root,
        "rotmat": np.tile(np.eye(3), (2, 16, 1, 1)),
        "joints": joints,
        "joint_root": root.copy(),
        "joint_root_valid": np.ones(2, bool),
        "annotated": np.ones((2, 21), bool),
        "seen": np.ones((2, 21), bool),
        "joints_px": px,
        "joints_px_valid": np.ones((2, 21), bool),
        "root_depth": np.ones(2),
        "root_depth_valid": np.ones(2, bool),
        "pred_missing": np.zeros(2, bool),
        "pred_verts": verts.copy(),
        "pred_rel_trans": root[1] - root[0],
        "pred_joints_px": px.copy(),
        "pred_verts_px": verts_px,
    }


def apart(millimetres, name="interacting"):
    """`still`, the predicted left wrist so many mm off in depth."""
    sample = still() | {"id": name}
    sample["pred_rel_trans"] = sample["pred_rel_trans"] + [0, 0, millimetres / 1000]
    return sample


def cases():
    """Every case."""
    return [
        *alignment(),
        *upstream_mistakes(),
        *seen_wrists(),
        *rootnet_depths(),
        *what_is_not_seen(),
        *true_left_hand(),
        *true_boxes(),
    ]


def alignment():
    """Both hands in every protocol.

    Right: twice too large and shifted, 60 px beside the truth. Left: thumb1 (vertex 13) off by 25 mm.
    Left wrist (0, 30, 40) mm off. Fingers turned 30 deg the same way about z: 60 deg from mirrored.
    """
    both = still()
    both["pred_verts"][0] = 2 * both["verts"][0] + 0.3
    both["pred_verts"][1, 13, 2] = 0.025
    both["pred_rel_trans"] += [0, 0.03, 0.04]
    both["pred_verts_px"][0, :, 0] += 60
    both["rotmat"][:] = Rotation.from_euler("z", 30, degrees=True).as_matrix()
    # 2 vertices of the right hand 100 mm off; 777 of the left 50 mm, one by (0, 30, 65) mm
    placed = {"MRRPE": (50, 1), "RRVE": ((2 * 100 + 777 * 50 + np.hypot(30, 65)) / 1556, 1)}
    meshes = {"MPJPE_right": (0, 1), "MPJPE_left": (25 / 21, 1), "MPJPE": (12.5 / 21, 1)}
    meshes |= {"MPVPE": (12.5 / 778, 1), "PA_MPJPE_right": (0, 1), "PA_MPVPE_right": (0, 1), **placed}
    bins = [(60, 12.5 / 21, 1)] + 5 * [(None, None, 0)]
    # without a scale the right middle MCP and pinky's tip are 100 mm off
    plain = {"MPJPE": (225 / 42, 1), "MPJPE_IH": (225 / 42, 1), "MPJPE_SH": NOTHING, **placed}
    samples = [both]
    return [
        ("both hands", lgnet, samples, meshes | {"AUC": (41.5 / 42, 1), "pose_bins": bins}),
        ("both hands", intaghand, samples, meshes),
        ("both hands", interhand, samples, plain),
        ("both hands", interwild, samples, plain | {"MPVPE": (112.5 / 778, 1)}),
        ("both hands", eanet, samples, {"MPJPE": (25 / 42, 1), "MPVPE": (12.5 / 778, 1), **placed}),
    ]


def upstream_mistakes():
    """Only wrist and thumb1 are seen (InterHand's 20 and 3), off by 0 and 6 mm; EANet's evaluator masks
    thumb3 (vertex 15) and the pinky's tip instead, off by 30 and 10 mm, and 2 zeros of the left hand."""
    single, half = still("right"), still()
    for s in (single, half):
        s["seen"][:, 2:] = False
        s["pred_verts"][0, [13, 15, PINKY_TIP], 2] = 0.006, 0.03, 0.01
    single["seen"][1], single["fit"][1], half["fit"][1], half["verts"][1] = False, False, False, 0
    three = {"MPJPE_SH": (3, 1), "MPJPE_IH": (3, 1), "MPJPE_all": (3, 2), "MPVPE_IH": NOTHING}
    upstream = {"MPJPE_SH": (20, 1), "MPJPE_IH": (10, 1), "MPJPE_all": (80 / 6, 2)}
    samples = [single, half]
    return [
        ("two joints seen", eanet, samples, three | {"MPVPE": (46 / 778, 1)}),
        ("two joints seen", eanet_upstream, samples, upstream),
        # per joint, pooled: right wrist 0 and thumb1 6 in both pictures, left 0 and 0 in one
        ("two joints seen", interhand, samples, {"MPJPE_SH": (3, 1), "MPJPE_all": (1.5, 2)}),
    ]


def seen_wrists():
    """MRRPE of annotated wrists counts where both are in the picture.

    First picture: all in it, left wrist 10 mm off. Second: all annotated in 3-D, but the left hand lies
    outside the picture; 50 mm off.
    """
    inside, outside = apart(10, "inside"), apart(50, "outside")
    outside["seen"][1] = False
    samples, first = [inside, outside], {"MRRPE": (10, 1)}
    return [
        ("a wrist outside the picture", interhand, samples, first),
        ("a wrist outside the picture", interwild, samples, first),
        ("a wrist outside the picture", eanet, samples, first),
        # DIR does not ask what is seen, only for fits: (10 + 50) / 2
        ("a wrist outside the picture", lgnet, samples, {"MRRPE": (30, 2)}),
        ("a wrist outside the picture", intaghand, samples, {"MRRPE": (30, 2)}),
    ]


def rootnet_depths():
    """RootNet says 1 m for the right and 1.1 m for the left wrist; the network says 40 mm behind the right.

    The wrists are seen at pixels (0, 0) and (200, 0), so the right one is (0, 0, 1) and the true left one
    (0.2, 0, 1). InterHand2.6M: left at depth 1 + 0.04, (0.208, 0, 1.04), off by (8, 0, 40) mm. Both depths
    RootNet's: 1.1 x (0.2, 0, 1) = (0.22, 0, 1.1), off by (20, 0, 100) mm. All left vertices are off as much
    as the wrist and no right one is, so the RRVE are half of that.
    """
    whole, half, none = (apart(40, name) for name in ("whole", "half", "none"))
    for s in (whole, half):
        s["root_depth"][1] = 1.1
    half["root_depth_valid"][1] = False  # the right depth is enough for InterHand2.6M's
    none["root_depth_valid"][:] = False
    theirs, both = np.hypot(8, 40), np.hypot(20, 100)
    expected = {"MRRPE": (40, 3), "MRRPE_rootnet": (theirs, 2), "MRRPE_rootnet_both": (both, 1)}
    expected |= {"RRVE": (20, 3), "RRVE_rootnet": (theirs / 2, 2), "RRVE_rootnet_both": (both / 2, 1)}
    protocols = (lgnet, intaghand, interhand, interwild, eanet)
    return [("RootNet's depths", p, [whole, half, none], expected) for p in protocols]


def what_is_not_seen():
    """EANet does not read a picture without a seen joint, InterWild not a hand whose seen joints span no box.

    In each picture the right thumb1 (vertex 13) is 778 mm off, so MPVPE is 1 mm for the right hand, 0 for
    the left, and the left wrist is 10 mm off, so RRVE is (778 + 778 x 10) / 1556 = 5.5 mm. Seen are: all;
    the whole left hand and of the right one the wrist alone, whose box is empty; nothing.
    """
    whole, wrist, nothing = (apart(10, name) for name in ("whole", "wrist", "nothing"))
    for s in (whole, wrist, nothing):
        s["pred_verts"][0, 13, 2] = 0.778
    wrist["seen"][0, 1:] = False
    nothing["seen"][:] = False
    samples = [whole, wrist, nothing]
    # InterWild: entries 1, 0 of the first picture and 0 of the second
    hands = {"MPVPE": (1 / 3, 2), "MPVPE_IH": (1 / 3, 2), "MRRPE": (10, 1), "RRVE": (5.5, 1)}
    # 41 joints at 0 mm, thumb1 at 778 in the first picture; the lone wrist is not looked at
    hands |= {"MPJPE": (778 / 42, 2)}
    # EANet scales about the middle MCP, which stays: (1 + 0) / 2 in both pictures that are read
    frames = {"MPVPE": (0.5, 2), "MPVPE_IH": (0.5, 2), "MRRPE": (10, 2), "RRVE": (5.5, 2)}
    alone = {"MPVPE": NOTHING, "MRRPE": NOTHING, "RRVE": NOTHING, "MPJPE": NOTHING}
    return [
        ("hands not seen", interwild, samples, hands),
        ("hands not seen", interwild, [nothing], alone),
        ("frames not seen", eanet, samples, frames),
        ("frames not seen", eanet, [nothing], alone),
        # the others read every picture; the wrists are seen in two of them
        ("hands not seen", interhand, samples, {"MRRPE": (10, 2), "RRVE": (5.5, 3)}),
        ("hands not seen", lgnet, samples, {"MPVPE": (0.5, 3), "MRRPE": (10, 3), "RRVE": (5.5, 3)}),
    ]


def true_left_hand():
    """The left wrist is annotated (0, 30, 40) mm beside that of the fit; predicted as the fit has it.

    Second picture: the wrists are annotated nowhere.
    """
    beside, unknown = still() | {"id": "beside"}, still() | {"id": "unknown"}
    beside["joint_root"][1] += [0, 0.03, 0.04]
    unknown["joint_root_valid"] = np.zeros(2, bool)
    unknown["annotated"], unknown["seen"] = np.zeros((2, 21), bool), np.zeros((2, 21), bool)
    unknown["joint_root"] = np.zeros((2, 3))
    samples = [beside, unknown]
    return [
        # InterWild places the true left hand, 778 of 1556 vertices, 50 mm beside the predicted one
        ("annotated beside fitted wrist", interwild, samples, {"MRRPE": (50, 1), "RRVE": (25, 1)}),
        ("annotated beside fitted wrist", interhand, samples, {"MRRPE": (50, 1), "RRVE": (0, 2)}),
        ("annotated beside fitted wrist", eanet, samples, {"MRRPE": (50, 1), "RRVE": (0, 1)}),
        # DIR: the wrists of the fits, on all frames that count, annotated or not
        ("annotated beside fitted wrist", lgnet, samples, {"MRRPE": (0, 2), "RRVE": (0, 2)}),
        ("annotated beside fitted wrist", intaghand, samples, {"MRRPE": (0, 2), "RRVE": (0, 2)}),
    ]


def true_boxes():
    """InterWild's box on InterHand2.6M: 1.2 x the seen joints', cut to the picture of 311 x 111 pixels.

    Right joints span x 0 .. 100, y 0 .. 100: box -10 .. 110, cut to 0 .. 110 in x and in y. The predicted
    vertices lie 60 px beside: 50 .. 170 by -10 .. 110, uncut. Common 60 x 110, together 110 x 110 +
    120 x 120 - 6600. Left: 190 .. 310 by -10 .. 110, cut to 190 .. 310 by 0 .. 110, in the predicted box
    of 120 x 120. In the second picture one joint is seen of the right hand and none of the left: no boxes.
    """
    cut, empty = still() | {"id": "cut"}, still() | {"id": "empty"}
    cut["image_size"] = np.array([311.0, 111.0])
    cut["pred_verts_px"][0, :, 0] += 60
    empty["seen"][0, 1:] = False
    empty["seen"][1] = False
    overlaps = 6600 / (110 * 110 + 120 * 120 - 6600), 120 * 110 / 120**2
    return [("boxes", interwild, [cut, empty], {"box_IoU": (np.mean(overlaps), 1)})]
