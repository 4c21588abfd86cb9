"""The stand-in hand's rig: weights, joint regressor, pose and shape blend shapes (in mm here)."""

import numpy as np
from scipy.spatial.transform import Rotation

from tool.stand_in.grid import ACROSS, Grid
from tool.stand_in.shape import CHAINS, FINGERS, WRIST, Limb, flexion_axis

PARENTS = np.array([-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14])
SHAPE_RMS_MM = (3.46, 1.03, 0.91, 0.72, 0.68, 0.59, 0.57, 0.55, 0.46, 0.41)
SOFT_MM = {"thumb": (13.0, 8.0, 7.0), "pinky": (10.0, 5.5, 4.8)}  # half-width of the bend at each joint
SOFT_DEFAULT_MM = (12.0, 6.6, 5.6)


def joint_table() -> np.ndarray:
    """Joints (16,3) in mm, MANO order."""
    return np.concatenate([[WRIST]] + [np.array(CHAINS[n], float)[:3] for n in FINGERS])


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
        best, where = (np.where(near, d, best), np.where(near, arc[i] + t * (arc[i + 1] - arc[i]), where))
        foot = np.where(near[:, None], point, foot)
    return where, foot


def _step(x: np.ndarray) -> np.ndarray:
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def membership(v: np.ndarray, grid: Grid, limbs: dict[str, Limb]) -> np.ndarray:
    """Share (N,5) of a vertex in each finger's chain: whole on its finger, split in the palm."""
    m = np.zeros((len(v), 5))
    palm = (grid.owner < 0) & (grid.column >= 0)
    for i, name in enumerate(ACROSS):
        m[palm, FINGERS.index(name)] = np.clip(
            1 - np.abs(np.clip(grid.column[palm], 1.5, 10.5) - 3 * i - 1.5) / 3, 0, 1
        )
    s, foot = arc_of(v, limbs["thumb"])
    loose = grid.owner < 0
    pull = _step(1.0 - (np.linalg.norm(v - foot, axis=1) - 13.0) / 20.0) * _step(1 - (s - 22) / 20)
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
        c = [_step((s - a + h) / (2 * h)) for a, h in zip(limbs[name].joint_arc, soft, strict=False)]
        chain = np.stack([c[0] * (1 - c[1]), c[0] * c[1] * (1 - c[2]), c[0] * c[1] * c[2]], 1)
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
        own = w[:, j] + (w[:, PARENTS[j]] if j else 0)
        bell = np.exp(-0.5 * ((v - joint) ** 2).sum(1) / (22.0 if j == 0 else 8.0) ** 2) * own**2
        keep = np.argsort(-bell, kind="stable")[: 100 if j == 0 else 60]
        p, b, tilt = v[keep] - joint, bell[keep] + 1e-4 * bell.max(), np.zeros(3)
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
        x, y = [], []
        for turn in _sample_turns(j):
            r = turn.as_matrix()
            arm = v - joints[j]
            target = Rotation.from_rotvec(part[:, None] * turn.as_rotvec()).apply(arm)
            blend = np.eye(3) + part[:, None, None] * (r - np.eye(3))
            lift = np.linalg.solve(blend, (target - np.einsum("nij,nj->ni", blend, arm))[..., None])[..., 0]
            x.append((r - np.eye(3)).ravel())
            y.append(np.where(((part > 0.002) & (part < 0.998))[:, None], lift, 0).ravel())
        x, y = np.array(x), np.array(y)
        fit = np.linalg.solve(x.T @ x + (0.25 if j == 13 else 0.03) * np.eye(9), x.T @ y)
        out[:, :, 9 * (j - 1) : 9 * j] = fit.T.reshape(len(v), 3, 9)
    return out


def _ancestors(j: int) -> set[int]:
    found = set()
    while PARENTS[j] > 0:
        j = PARENTS[j]
        found.add(int(j))
    return found


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
        girth, taper = girth + out, taper + out * (reach - 0.55)[:, None]
    palm = _step((v[:, 0] + 20) / 50)[:, None]
    ahead = np.clip((105 - v[:, 0]) / 105, 0, 1)[:, None]
    thumb = share[:, 4:5] * _step((arc_of(v, limbs["thumb"])[0] + 15) / 40)[:, None]
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
        for _ in range(3):
            field = field + 0.4 * (grid.average @ field - field) if out else field
        field = field - field.mean(0)
        for other in out:
            field = field - other * ((field * other).sum() / (other * other).sum())
        out.append(field * rms / np.sqrt((field**2).sum(1).mean()))
    return np.stack(out, 2)
