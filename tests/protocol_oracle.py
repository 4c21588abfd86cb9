"""A second derivation of the evaluation protocols, one loop at a time, for tests of the batched one.

Written from the protocols' text and the public evaluators' behaviour, not from common/eval; plain numpy,
float64. A sample is one picture, a dict of arrays in metres and crop pixels, hands (right, left), joints
wrist first:
  id, hand_type, hand_type_valid, human_annotated, brightness
  fit (2,), verts (2,778,3) about the own wrist, root (2,3) that wrist in the camera, rotmat (2,16,3,3)
  joints (2,21,3) about the own annotated wrist, annotated and seen (2,21), joint_root (2,3) and
  joint_root_valid (2,), joints_px (2,21,2), joints_px_valid (2,21), root_depth and root_depth_valid (2,), K
  image_size (2,) and affine (2,3) of the original picture: crop pixel = affine @ (u, v, 1), not rotated
  pred_verts (2,778,3) about any root, pred_rel_trans (3,), pred_joints_px (2,21,2), pred_verts_px (2,778,2),
  pred_missing (2,)
"seen" is data.json's joint_valid, gated by the wrist. A protocol maps (samples, MANO's regressor
(2,16,778)) to {key: (value, n)}: mm (AUC and box_IoU: share), value None where n is 0; "pose_bins" is a
list of six (degrees, mm, n).
"""

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from common.hand.mano_file import read_hands

HAND_OF = {"right": (0,), "left": (1,), "interacting": (0, 1)}
TIPS_444, TIPS_445 = (745, 317, 444, 556, 673), (745, 317, 445, 556, 673)  # thumb .. pinky
# Wrist-first joints as rows of [wrist, index, middle, pinky, ring, thumb x 3 | tips thumb .. pinky].
MANO_ROWS = (0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20)
# InterHand's position of each wrist-first joint: fingers from tip to base, the wrist last.
INTERHAND = (20, 3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12, 19, 18, 17, 16)


def lgnet(samples, regressor):
    return _from_meshes(samples, regressor, root=0, curves=True)


def intaghand(samples, regressor):
    return _from_meshes(samples, regressor, root=9)


def interhand(samples, regressor):
    found = _by_kind("MPJPE", samples, lambda s: _annotated_errors(s, regressor), pooled=True)
    return found | _placement(samples, regressor, _seen_wrists, _fitted_wrists)


def interwild(samples, regressor):
    """The reader looks for the box of each hand's seen joints. Where there is none, because no or one joint
    is seen, it takes the hand's labels away; a picture without any box is not read."""

    def boxed(s):
        return [h for h in (0, 1) if s["seen"][h].sum() > 1]

    def joint_errors(s):
        return {key: mm for key, mm in _annotated_errors(s, regressor).items() if key[0] in boxed(s)}

    def each_hand(s):
        hands = [h for h in _fitted(s) if h in boxed(s)]
        errors = {(s["id"], h): _hand(s, h, regressor, TIPS_445, 0, scaled=False) for h in hands}
        return {key: _distance(*hand[2:]) for key, hand in errors.items()}

    frames = [s for s in samples if s["human_annotated"] and boxed(s)]
    found = _by_kind("MPJPE", frames, joint_errors, pooled=False)
    found |= _by_kind("MPVPE", frames, each_hand, pooled=True)
    overlaps = [[_box_overlap(s, h) for h in boxed(s) if not s["pred_missing"][h]] for s in frames]
    found["box_IoU"] = (_mean([iou for frame in overlaps for iou in frame]), sum(map(bool, overlaps)))
    pairs = [s for s in frames if len(boxed(s)) == 2]
    return found | _placement(pairs, regressor, _seen_wrists, _seen_wrists)


def eanet(samples, regressor):
    """Pictures without a seen joint are not read. MRRPE, which it does not have, is InterHand2.6M's."""
    samples = [s for s in samples if s["seen"].any()]

    def errors(s):
        return _eanet_errors(s, regressor, mask=s["seen"] & s["fit"][:, None])

    def each_picture(s):
        hands = [_hand(s, h, regressor, TIPS_444, 9) for h in _fitted(s)]
        complete = len(hands) == len(HAND_OF[s["hand_type"]])
        return {s["id"]: np.mean([_distance(*hand[2:]) for hand in hands])} if complete else {}

    found = _by_kind("MPJPE", samples, errors, pooled=False)
    found |= _by_kind("MPVPE", samples, each_picture, pooled=True)
    return found | _placement(samples, regressor, _seen_wrists, _fitted_wrists)


def eanet_upstream(samples, regressor):
    """The public evaluator with its two mistakes: position j of the wrist-first joints is masked by
    position j of InterHand's order, and a hand without a fit (true bone 0) has no error at all."""

    def errors(s):
        mask = np.zeros((2, 21), bool)
        for j in range(21):
            mask[:, INTERHAND[j]] = s["seen"][:, j]
        return _eanet_errors(s, regressor, mask)

    return _by_kind("MPJPE", samples, errors, pooled=False)


def _from_meshes(samples, regressor, root, curves=False):
    """Interacting pictures with both fits: mean over pictures per hand, then over the hands."""
    frames = [s for s in samples if s["hand_type"] == "interacting" and s["hand_type_valid"]]
    frames = [s for s in frames if s["fit"].all() and s["brightness"] >= 10]
    errors = {key: ([], []) for key in ("MPJPE", "MPVPE", "PA_MPJPE", "PA_MPVPE")}
    joint_errors, poses, counted = ([], []), [], 0
    for s in frames:
        hands = [h for h in (0, 1) if not s["pred_missing"][h]]
        counted += bool(hands)
        for h in hands:
            pred, true, pred_verts, true_verts = _hand(s, h, regressor, TIPS_444, root)
            joint_errors[h].append([_length(pred[j] - true[j]) for j in range(21)])
            errors["MPJPE"][h].append(np.mean(joint_errors[h][-1]))
            errors["MPVPE"][h].append(_distance(pred_verts, true_verts))
            errors["PA_MPJPE"][h].append(_distance(_procrustes(pred, true), true))
            errors["PA_MPVPE"][h].append(_distance(_procrustes(pred_verts, true_verts), true_verts))
        if len(hands) == 2:
            poses.append((_pose_difference(s["rotmat"]), s["id"], _mean([e[-1] for e in errors["MPJPE"]])))
    found = {}
    for key, (right, left) in errors.items():
        found[f"{key}_right"], found[f"{key}_left"] = (_mean(right), len(right)), (_mean(left), len(left))
        found[key] = (_mean([_mean(hand) for hand in (right, left) if hand]), counted)
    if curves:
        found["AUC"] = (_auc(joint_errors), counted)
        bins = [[sorted(poses)[i] for i in part] for part in np.array_split(np.arange(len(poses)), 6)]
        found["pose_bins"] = [(_mean([p[0] for p in b]), _mean([p[2] for p in b]), len(b)) for b in bins]
    return found | _placement(frames, regressor, _fitted_wrists, _fitted_wrists)


def _by_kind(key, frames, errors, pooled):
    """Means of single hands', interacting hands' and all pictures; `errors` gives {slot: mm} of a picture.
    Each slot is averaged over pictures first, then the slots ever measured. "all": slots over all pictures
    (pooled), or the slots of single and of interacting hands apart (EANet's 84 means)."""
    lists, n = {"SH": {}, "IH": {}, "all": {}}, {"SH": 0, "IH": 0, "all": 0}
    for s in frames:
        kind = "IH" if s["hand_type"] == "interacting" else "SH"
        found = errors(s)
        for slot, error in found.items():
            lists[kind].setdefault(slot, []).append(error)
            lists["all"].setdefault(slot if pooled else (kind, slot), []).append(error)
        n[kind] += bool(found)
        n["all"] += bool(found)
    found = {f"{key}_{kind}": (_mean([np.mean(x) for x in lists[kind].values()]), n[kind]) for kind in n}
    return found | {key: found[f"{key}_all"]}


def _fitted(s):
    """Hands named by the hand type that have a fit and a prediction."""
    return [h for h in HAND_OF[s["hand_type"]] if s["fit"][h] and not s["pred_missing"][h]]


def _seen_wrists(s):
    """The annotated wrists (2,3), where both are seen in the picture."""
    return s["joint_root"] if s["seen"][:, 0].all() else None


def _fitted_wrists(s):
    """The wrists (2,3) of the fits' meshes, where there are two."""
    return s["root"] if s["fit"].all() else None


def _placement(frames, regressor, wrists, places):
    """Left hand against right hand, no scale. MRRPE: the left wrist about the right one, against true
    `wrists`. RRVE: all vertices about the right wrist, the true left hand at its place of true `places`.
    By the network's own translation, and from its wrist pixels: the right one at RootNet's depth, the left
    one at that depth plus the network's relative depth (_rootnet) or at RootNet's own (_rootnet_both)."""
    guesses = ("", "_rootnet", "_rootnet_both")
    lists = {metric + guess: [] for metric in ("MRRPE", "RRVE") for guess in guesses}
    for s in frames:
        if s["hand_type"] != "interacting" or s["pred_missing"].any():
            continue
        rays = [np.linalg.solve(s["K"], [*s["pred_joints_px"][h, 0], 1.0]) for h in (0, 1)]
        right, left = s["root_depth"]
        between = {"": s["pred_rel_trans"]}
        if s["root_depth_valid"][0]:
            between["_rootnet"] = (right + s["pred_rel_trans"][2]) * rays[1] - right * rays[0]
        if s["root_depth_valid"].all():
            between["_rootnet_both"] = left * rays[1] - right * rays[0]
        for guess, vector in between.items():
            if (wrist := wrists(s)) is not None:
                lists[f"MRRPE{guess}"].append(1000 * _length(vector - (wrist[1] - wrist[0])))
            if s["fit"].all() and (place := places(s)) is not None:
                pred, true = (_about_own_wrists(s[key], regressor) for key in ("pred_verts", "verts"))
                pred[1], true[1] = pred[1] + vector, true[1] + place[1] - place[0]
                lists[f"RRVE{guess}"].append(1000 * _distance(np.concatenate(pred), np.concatenate(true)))
    return {key: (_mean(values), len(values)) for key, values in lists.items()}


def _about_own_wrists(verts, regressor):
    return [verts[h] - regressor[h][0] @ verts[h] for h in (0, 1)]


def _annotated_errors(s, regressor):
    """{(hand, joint): mm}: joints of the predicted meshes against annotated ones, about the wrists."""
    found = {}
    for h in (0, 1):
        pred = _joints(s["pred_verts"][h], regressor[h], TIPS_445)
        for j in range(21):
            if s["seen"][h, j] and not s["pred_missing"][h]:
                found[h, j] = 1000 * _length(pred[j] - pred[0] - s["joints"][h, j])
    return found


def _eanet_errors(s, regressor, mask):
    found = {}
    for h in (0, 1):
        pred, true = _hand(s, h, regressor, TIPS_444, 9)[:2]
        for j in range(21):
            if mask[h, j] and not s["pred_missing"][h]:
                found[h, j] = _length(pred[j] - true[j]) if s["fit"][h] else 0.0
    return found


def _hand(s, h, regressor, tips, root, scaled=True):
    """Predicted and true joints, predicted and true vertices of one hand, mm about the root joint; the
    prediction scaled to the true bone from the wrist to the middle finger's MCP."""
    pred, true = (_joints(s[key][h], regressor[h], tips) for key in ("pred_verts", "verts"))
    factor = _length(true[9] - true[0]) / _length(pred[9] - pred[0]) if scaled else 1.0
    return (
        1000 * factor * (pred - pred[root]),
        1000 * (true - true[root]),
        1000 * factor * (s["pred_verts"][h] - pred[root]),
        1000 * (s["verts"][h] - true[root]),
    )


def _joints(verts, rows, tips):
    return np.concatenate([rows @ verts, verts[list(tips)]])[list(MANO_ROWS)]


def _procrustes(points, target):
    """`points` under the similarity (proper rotation, scale, shift) that brings them nearest to `target`."""
    a, b = points - points.mean(0), target - target.mean(0)
    u, stretch, vt = np.linalg.svd(b.T @ a)
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    scale = (stretch * signs).sum() / (a**2).sum()
    return scale * a @ (u * signs @ vt).T + target.mean(0)


def _pose_difference(rotmat):
    """Mean angle, degrees, between the right finger rotations and the left ones mirrored in x."""
    mirror = np.diag([-1.0, 1.0, 1.0])
    turns = [rotmat[0, k].T @ mirror @ rotmat[1, k] @ mirror for k in range(1, 16)]
    return float(np.mean([np.degrees(np.arccos(np.clip((np.trace(t) - 1) / 2, -1, 1))) for t in turns]))


def _auc(joint_errors):
    """Mean over joints of the area under the share of errors <= t, t = 0 .. 50 mm, over 50."""
    areas, limits = [], np.linspace(0, 50, 200)
    for errors in joint_errors:
        for one in np.array(errors).T:
            share = np.array([np.mean(one <= t) for t in limits])
            areas.append(np.sum((share[1:] + share[:-1]) / 2 * np.diff(limits)) / 50)
    return _mean(areas)


def _box_overlap(s, h):
    """Intersection over union of two boxes in the original picture: 1.2 x the tight box of the predicted
    vertices, and 1.2 x that of the seen annotated joints, cut to the picture."""
    low, high = _box(_uncropped(s, s["pred_verts_px"][h]))
    truth = _box(_uncropped(s, s["joints_px"][h][s["seen"][h]]))
    true_low, true_high = np.clip(truth, 0, s["image_size"] - 1)
    common = np.prod(np.maximum(np.minimum(high, true_high) - np.maximum(low, true_low), 0))
    return common / (np.prod(high - low) + np.prod(true_high - true_low) - common)


def _uncropped(s, pixels):
    """Crop pixels -> pixels of the original picture; the affine map only zooms and shifts."""
    return (pixels - s["affine"][:, 2]) / np.diag(s["affine"])


def _box(pixels):
    low, high = pixels.min(0), pixels.max(0)
    return low - 0.1 * (high - low), high + 0.1 * (high - low)


def _project(points, K):
    return (points @ K.T)[..., :2] / (points @ K.T)[..., 2:]


def _length(vector):
    return float(np.sqrt((vector**2).sum()))


def _distance(a, b):
    return float(np.sqrt(((a - b) ** 2).sum(-1)).mean())


def _mean(values):
    return float(np.mean(values)) if len(values) else None


def stand_in_regressor():
    """MANO's own rows (2,16,778) of the stand-in hands."""
    return np.stack([np.asarray(hand["J_regressor"], np.float64) for hand in read_hands(None)[0]])


def random_samples(seed, count, hands):
    """`count` samples over the hand layer `hands` with every irregularity; all values exact in float32.
    A hand not predicted is NaN, a pose in five comes twice."""
    rng = np.random.default_rng(seed)
    pose, shape = 0.3 * rng.standard_normal((count, 2, 16, 3)), 0.5 * rng.standard_normal((count, 2, 10))
    pose[1::5] = pose[0::5][: len(pose[1::5])]
    pose, shape = torch.tensor(pose).float(), torch.tensor(shape).float()
    rotmat, verts = hands.rotations(pose).numpy(), hands(pose, shape)[0].numpy().astype(np.float64)
    regressor, names = stand_in_regressor(), rng.permutation(count)
    return [
        _exact({"id": f"seed{seed}_{names[i]}"} | _sample(rng, verts[i], rotmat[i], regressor))
        for i in range(count)
    ]


def _sample(rng, verts, rotmat, regressor):
    hand_type = str(rng.choice(["interacting", "right", "left"], p=[0.7, 0.15, 0.15]))
    there = np.isin([0, 1], HAND_OF[hand_type])
    fit, wrist = there & (rng.random(2) < 0.92), there & (rng.random(2) < 0.92)
    annotated = wrist[:, None] & (rng.random((2, 21)) < 0.9)
    annotated[:, 0] = wrist
    seen = annotated & (rng.random((2, 21)) < 0.9)
    seen &= seen[:, :1]
    seen[:, 1:] &= rng.random((2, 1)) < 0.9  # at times the wrist alone
    wrists = np.stack([regressor[h][0] @ verts[h] for h in (0, 1)])[:, None]
    verts = verts - wrists
    root = np.array([[-0.05, 0, 0.6], [0.05, 0, 0.6]]) + 0.03 * rng.standard_normal((2, 3))
    turn = Rotation.from_euler("z", rng.uniform(-1, 1)).as_matrix()  # an augmented camera: off-diagonals
    K = np.array([[500.0, 0, 128], [0, 510, 120], [0, 0, 1]]) @ turn.T
    joints = np.stack([_joints(verts[h], regressor[h], TIPS_445) for h in (0, 1)]) + root[:, None]
    joints += 0.004 * rng.standard_normal(joints.shape)
    joints_px = _project(joints, K)
    tilt = [Rotation.from_rotvec(0.2 * rng.standard_normal(3)).as_matrix() for _ in (0, 1)]
    pred = np.stack([verts[h] @ tilt[h].T * rng.uniform(0.8, 1.2) for h in (0, 1)])
    pred += 0.006 * rng.standard_normal(pred.shape) + 0.1 * rng.standard_normal((2, 1, 3))
    missing = rng.random(2) < 0.06
    lost = np.where(missing, np.nan, 0.0)[:, None, None]
    sample = {"hand_type": hand_type, "hand_type_valid": bool(rng.random() < 0.9), "K": K, "rotmat": rotmat}
    sample["human_annotated"] = bool(rng.random() < 0.75)
    sample["brightness"] = float(rng.choice([4.0, 9.75, 10.0, 80.0], p=[0.05, 0.05, 0.1, 0.8]))
    sample |= {"fit": fit, "verts": verts * fit[:, None, None], "root": root * fit[:, None]}
    sample |= {"annotated": annotated, "seen": seen, "joint_root_valid": wrist, "pred_missing": missing}
    sample |= {"joints": (joints - joints[:, :1]) * annotated[..., None]}
    sample["joint_root"] = joints[:, 0] * wrist[:, None]
    sample["joints_px"] = joints_px * annotated[..., None]
    sample["joints_px_valid"] = annotated & ((joints_px >= 0) & (joints_px <= 255)).all(-1)
    zoom = rng.uniform(0.7, 1.4)
    sample["affine"] = np.array([[zoom, 0, rng.uniform(-40, 0)], [0, zoom, rng.uniform(-40, 0)]])
    sample["image_size"] = np.array([rng.integers(180, 300), rng.integers(180, 300)])
    sample["root_depth_valid"] = there & (rng.random(2) < 0.85)
    sample["root_depth"] = (root[:, 2] + 0.01 * rng.standard_normal(2)) * sample["root_depth_valid"]
    sample["pred_verts"] = pred + lost
    sample["pred_rel_trans"] = root[1] - root[0] + 0.02 * rng.standard_normal(3) + lost.sum()
    sample["pred_joints_px"] = joints_px + 4 * rng.standard_normal((2, 21, 2)) + lost
    verts_px = _project(verts + root[:, None], K) + 5 * rng.standard_normal((2, 778, 2))
    return sample | {"pred_verts_px": verts_px + lost}


def _exact(sample):
    """Arrays rounded to what float32 holds, so that both sides start from the same numbers."""
    real = {k for k, v in sample.items() if isinstance(v, np.ndarray) and v.dtype.kind == "f"}
    return {k: v.astype(np.float32).astype(np.float64) if k in real else v for k, v in sample.items()}
