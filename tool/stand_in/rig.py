"""The stand-in hand's rig: weights, joint regressor, pose and shape blend shapes (in mm here)."""

import numpy as np
from scipy.spatial.transform import Rotation

from tool.stand_in.grid import ACROSS, Grid
from tool.stand_in.shape import CHAINS, FINGERS, WRIST, Limb, flexion_axis

PARENTS = np.array([-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14])
THUMB_BASE = 13  # the joint whose fit gets a stronger ridge
SHAPE_RMS_MM = (3.46, 1.03, 0.91, 0.72, 0.68, 0.59, 0.57, 0.55, 0.46, 0.41)
SOFT_MM = {"thumb": (13.0, 8.0, 7.0), "pinky": (10.0, 5.5, 4.8)}  # half-width of the bend at each joint
SOFT_DEFAULT_MM = (12.0, 6.6, 5.6)


def joint_table() -> np.ndarray:
    """Joints (16,3) in mm, MANO order."""
    chains = [np.array(CHAINS[name], float)[:3] for name in FINGERS]
    return np.concatenate([WRIST[None], *chains])


def arc_of(v: np.ndarray, limb: Limb) -> tuple[np.ndarray, np.ndarray]:
    """Nearest centre-line point: arc length (N,), < 0 behind the first joint, and place (N,3)."""
    knots = np.concatenate([[limb.centre(-60.0)], limb.knots])
    arc = np.concatenate([[-60.0], limb.arc])
    best, where, foot = np.full(len(v), np.inf), np.zeros(len(v)), np.zeros_like(v)
    for i in range(len(knots) - 1):
        step = knots[i + 1] - knots[i]
        t = np.clip((v - knots[i]) @ step / (step @ step), 0, 1)
        point = knots[i] + t[:, None] * step
        d = np.linalg.norm(v - point, axis=1)
        near = d < best
        best = np.where(near, d, best)
        where = np.where(near, arc[i] + t * (arc[i + 1] - arc[i]), where)
        foot = np.where(near[:, None], point, foot)
    return where, foot


def _step(x: np.ndarray) -> np.ndarray:
    """Smooth step: 0 below 0, 1 above 1."""
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def membership(v: np.ndarray, grid: Grid, limbs: dict[str, Limb]) -> np.ndarray:
    """Share (N,5) of a vertex in each finger's chain: whole on its finger, split in the palm."""
    m = np.zeros((len(v), 5))
    palm = (grid.owner < 0) & (grid.column >= 0)
    for i, name in enumerate(ACROSS):
        place = np.clip(grid.column[palm], 1.5, 10.5)  # beyond the outer fingers' middles: theirs
        middle = 3 * i + 1.5
        m[palm, FINGERS.index(name)] = np.clip(1 - np.abs(place - middle) / 3, 0, 1)
    s, foot = arc_of(v, limbs["thumb"])
    loose = grid.owner < 0
    away = np.linalg.norm(v - foot, axis=1)
    pull = _step(1.0 - (away - 13.0) / 20.0) * _step(1 - (s - 22) / 20)
    m[loose] *= 1 - pull[loose, None]
    m[loose, 4] = pull[loose]
    m[~loose] = np.eye(5)[grid.owner[~loose]]
    return m


def skin_weights(v: np.ndarray, grid: Grid, limbs: dict[str, Limb]) -> np.ndarray:
    """Weights (N,16), rows sum to 1; no finger's skin follows another finger."""
    share, w = membership(v, grid, limbs), np.zeros((len(v), 16))
    for i, name in enumerate(FINGERS):
        s, _ = arc_of(v, limbs[name])
        soft = SOFT_MM.get(name, SOFT_DEFAULT_MM)
        joint_arc = limbs[name].joint_arc[:3]
        # how far a vertex is past each of the three joints, 0..1
        first, second, third = (
            _step((s - a + half) / (2 * half)) for a, half in zip(joint_arc, soft, strict=True)
        )
        chain = np.stack([first * (1 - second), first * second * (1 - third), first * second * third], 1)
        w[:, 1 + 3 * i : 4 + 3 * i] = share[:, i : i + 1] * chain
    w[:, 0] = 1 - w[:, 1:].sum(1)
    base = (grid.owner == 4) & (arc_of(v, limbs["thumb"])[0] < 24)  # the thumb's web folds: blend it widely
    ease = np.where((grid.owner < 0) | base, 0.5, 0.15)[:, None]
    ease[:16] = 0
    for _ in range(6):
        w = w + ease * (grid.average @ w - w)
    for i in range(5):  # a finger's own skin keeps to its own chain
        others = [j for j in range(1, 16) if not 1 + 3 * i <= j < 4 + 3 * i]
        w[np.ix_(grid.owner == i, others)] = 0
    w[w < 0.004] = 0
    return w / w.sum(1, keepdims=True)


def regressor(v: np.ndarray, w: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """Rows (16,N) of local averages that give `joints`: a bell round each, tilted to balance."""
    rows = np.zeros((16, len(v)))
    for j, joint in enumerate(joints):
        is_wrist = j == 0
        weight = w[:, j] if is_wrist else w[:, j] + w[:, PARENTS[j]]
        width, count = (22.0, 100) if is_wrist else (8.0, 60)  # mm, vertices
        bell = np.exp(-0.5 * ((v - joint) ** 2).sum(1) / width**2) * weight**2
        keep = np.argsort(-bell, kind="stable")[:count]
        p = v[keep] - joint
        b = bell[keep] + 1e-4 * bell.max()
        tilt = np.zeros(3)
        for _ in range(60):
            r = b * np.exp(p @ tilt)
            r /= r.sum()
            mean = r @ p
            cov = (p - mean).T @ ((p - mean) * r[:, None])
            tilt -= 0.7 * np.linalg.solve(cov + 1e-9 * np.eye(3), mean)
        rows[j, keep] = r
    return rows


def _sample_turns(j: int) -> list[Rotation]:
    """Turns of joint j that the pose shapes must serve: flexion, and flexion with some spread."""
    name = FINGERS[(j - 1) // 3]
    axis = flexion_axis(name)
    turns = [Rotation.from_rotvec(np.deg2rad(a) * axis) for a in range(-30, 106, 15)]
    for side in (-20, 20):
        sway = Rotation.from_rotvec(np.deg2rad(side) * np.array([0.0, 1.0, 0.0]))
        turns += [sway * Rotation.from_rotvec(np.deg2rad(a) * axis) for a in (0, 30, 60, 90)]
    return turns


def pose_shapes(v: np.ndarray, w: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """Blend shapes (N,3,135) on R - I that keep a bend round, by a ridge fit to an even turn.

    Linear blending moves a half-weighted vertex along the chord and thins the joint; the target
    turns it by half the angle at its full distance from the joint. Fitted before skinning, in the
    rest frame.
    """
    out = np.zeros((len(v), 3, 135))
    for j in range(1, 16):
        family = [k for k in range(1, 16) if k == j or j in _ancestors(k)]
        part = w[:, family].sum(1)
        bending = (part > 0.002) & (part < 0.998)
        arm = v - joints[j]
        inputs, lifts = [], []
        for turn in _sample_turns(j):
            change = turn.as_matrix() - np.eye(3)
            lift = _lift(arm, part, turn.as_rotvec(), change)
            inputs.append(change.ravel())
            lifts.append(np.where(bending[:, None], lift, 0).ravel())
        x, y = np.array(inputs), np.array(lifts)
        ridge = 0.25 if j == THUMB_BASE else 0.03
        fit = np.linalg.solve(x.T @ x + ridge * np.eye(9), x.T @ y)
        out[:, :, 9 * (j - 1) : 9 * j] = fit.T.reshape(len(v), 3, 9)
    return out


def _lift(arm: np.ndarray, part: np.ndarray, rotvec: np.ndarray, change: np.ndarray) -> np.ndarray:
    """What to add (N,3) in the rest frame so that blending, which turns `part` (N,) of the way along the
    chord, brings `arm` (N,3) where an even turn would; change (3,3) is R - I."""
    target = Rotation.from_rotvec(part[:, None] * rotvec).apply(arm)
    blend = np.eye(3) + part[:, None, None] * change
    missing = target - np.einsum("nij,nj->ni", blend, arm)
    return np.linalg.solve(blend, missing[..., None])[..., 0]


def _ancestors(j: int) -> set[int]:
    """Joints that carry joint j, the wrist left out."""
    ancestors = set()
    while PARENTS[j] > 0:
        j = PARENTS[j]
        ancestors.add(int(j))
    return ancestors


def _shape_fields(v: np.ndarray, grid: Grid, limbs: dict[str, Limb]) -> list[np.ndarray]:
    """Ten displacement fields (N,3) with a meaning each; their size is set later."""
    share = membership(v, grid, limbs)
    stretch, girth, taper = [], np.zeros_like(v), np.zeros_like(v)
    for i, name in enumerate(FINGERS):
        limb = limbs[name]
        s, foot = arc_of(v, limb)
        reach = np.maximum(s, 0) / limb.joint_arc[3]
        move = np.array([limb.centre(a) for a in np.maximum(s, 0)]) - limb.knots[0]
        stretch.append(share[:, i : i + 1] * move)
        out = (v - foot) * (share[:, i] * _step((s + 10) / 25))[:, None]
        girth = girth + out
        taper = taper + out * (reach - 0.55)[:, None]
    palm = _step((v[:, 0] + 20) / 50)[:, None]
    ahead = np.clip((105 - v[:, 0]) / 105, 0, 1)[:, None]
    thumb_arc, _ = arc_of(v, limbs["thumb"])
    thumb = share[:, 4:5] * _step((thumb_arc + 15) / 40)[:, None]
    swing = Rotation.from_rotvec([0, 1.0, 0]).apply(v - WRIST) - (v - WRIST)
    length = sum(stretch[:4])
    return [
        -v,  # smaller
        length + 0.5 * stretch[4],  # longer fingers
        girth + palm * (v - [0, 2, 0]) * [0, 0.8, 0],  # thicker
        (v - WRIST) * [0, 0, 1.0],  # broader
        stretch[4] + 0.15 * thumb * swing,  # longer, wider-set thumb
        ahead * [-100.0, 0, 0],  # longer palm
        taper,  # blunter fingers
        stretch[2] + 0.4 * stretch[3] - 0.3 * stretch[0],  # longer little finger
        _step((v[:, :1] - 30) / 70) * (v - WRIST) * [0, 1, 1],  # stouter wrist
        palm * [0, 1.0, 0] * ((v[:, 2:] + 5) / 30) ** 2,  # hollower palm
    ]


def shape_dirs(v: np.ndarray, grid: Grid, limbs: dict[str, Limb]) -> np.ndarray:
    """Shape directions (N,3,10) in mm: smoothed, made orthogonal in order, scaled by the table."""
    out: list[np.ndarray] = []
    for field, rms in zip(_shape_fields(v, grid, limbs), SHAPE_RMS_MM, strict=True):
        if out:  # the first only scales the hand: nothing to smooth
            for _ in range(3):
                field = field + 0.4 * (grid.average @ field - field)
        field = field - field.mean(0)
        for other in out:
            field = field - other * ((field * other).sum() / (other * other).sum())
        out.append(field * rms / np.sqrt((field**2).sum(1).mean()))
    return np.stack(out, 2)
