"""The stand-in hand's skin: bones, a smooth signed distance, and a fixed mesh laid on it.

Right hand, flat and open, in millimetres: fingers to -x, palm to -y, thumb to +z, wrist hole at +x.
Rings cross every joint so that fingers bend cleanly. Only positions depend on arithmetic, the
topology is laid by rule, so the mesh is the same on every machine.
"""

from dataclasses import dataclass

import numpy as np

from tool.stand_in.grid import Grid, build_grid

WRIST = np.array([95.5, 6.0, 6.0])
FINGERS = ("index", "middle", "pinky", "ring", "thumb")  # MANO's joint order: 1-3, 4-6, ... 13-15
# Three joints and the centre of the last ball of each finger.
CHAINS = {
    "index": [(7, 2, 25.5), (-25.5, 5, 29.5), (-47.2, 4, 31.5), (-65.5, 1.8, 32.8)],
    "middle": [(1, 5, 3), (-30.5, 5.5, -3), (-53.3, 4.5, -6), (-72.5, 2.2, -8.2)],
    "pinky": [(25, -4, -36), (10, -3.5, -50.5), (-4, -4.5, -62.0), (-18.0, -6.5, -68.5)],
    "ring": [(13, 1, -18), (-14.5, 4, -27), (-38, 3.5, -34.5), (-57.5, 1.2, -39.8)],
    "thumb": [(70, -10, 31), (49.5, -11, 54), (30, -14, 72.5), (12.5, -16.5, 86.0)],
}
# Radii (mm) at: first joint, mid phalanx, second joint, mid, third joint, pulp, last ball.
RADII = {
    "index": (11.4, 10.1, 10.0, 8.9, 8.9, 8.5, 6.6),
    "middle": (11.6, 10.4, 10.2, 9.1, 9.1, 8.6, 6.7),
    "pinky": (10.2, 8.9, 8.5, 7.6, 7.6, 7.2, 5.6),
    "ring": (11.0, 9.9, 9.7, 8.6, 8.6, 8.2, 6.4),
    "thumb": (14.8, 12.6, 11.8, 10.2, 10.9, 10.7, 7.6),
}
FLAT = {"thumb": 1.12}  # how much wider than thick a finger is; 1.08 for the others


@dataclass(frozen=True)
class Limb:
    """One finger as a bent tube: knots (K,3), radii (K,), arc length at knots, and its frame."""

    name: str
    knots: np.ndarray
    radii: np.ndarray
    arc: np.ndarray
    joint_arc: np.ndarray  # arc length at the three joints and the last ball
    side: np.ndarray  # unit flexion axis: a positive rotation about it closes the finger

    def centre(self, s: float) -> np.ndarray:
        """Point of the centre line at arc length s (mm); straight on behind the first joint."""
        if s < 0:
            return self.knots[0] + s * _unit(self.knots[1] - self.knots[0])
        return np.array([np.interp(s, self.arc, self.knots[:, i]) for i in range(3)])

    def frame(self, s: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Unit (along, side, back) at arc length s; back is the nail's side."""
        ahead = self.centre(min(s + 4, self.arc[-1]))
        behind = self.centre(min(s, self.arc[-1] - 4) - 4)
        along = _unit(ahead - behind)
        side = _unit(self.side - along * (self.side @ along))
        return along, side, np.cross(along, side)


def _unit(v: np.ndarray) -> np.ndarray:
    return v / np.linalg.norm(v, axis=-1, keepdims=True)


def flexion_axis(name: str) -> np.ndarray:
    """Unit axis (3,) about which a positive turn closes the finger, the thumb across the palm."""
    chain = np.array(CHAINS[name], float)
    along = _unit(chain[3] - chain[0])
    if name != "thumb":
        return _unit(np.cross([0, 1, 0], along))
    toward = np.array([-0.55, -0.62, -0.55])
    return _unit(np.cross(along, toward))


def build_limb(name: str) -> Limb:
    """Knots with half-way points and a pulp that hangs a little to the palm side."""
    chain = np.array(CHAINS[name], float)
    mids = (chain[:-1] + chain[1:]) / 2
    knots = np.stack([chain[0], mids[0], chain[1], mids[1], chain[2], mids[2], chain[3]])
    side = flexion_axis(name)
    palmward = np.cross(side, _unit(chain[3] - chain[2]))
    knots[1] += 0.6 * palmward
    knots[3] += 0.6 * palmward
    knots[5] += 0.9 * palmward
    arc = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(knots, axis=0), axis=1))])
    return Limb(name, knots, np.array(RADII[name]), arc, arc[[0, 2, 4, 6]], side)


def smooth_min(a: np.ndarray, b: np.ndarray, blend: float) -> np.ndarray:
    """Polynomial smooth union of two distances; blend in mm."""
    h = np.clip(0.5 + 0.5 * (b - a) / blend, 0, 1)
    return b + (a - b) * h - blend * h * (1 - h)


def cone(p: np.ndarray, a, b, ra: float, rb: float) -> np.ndarray:
    """Distance (N,) to a capsule whose radius goes from ra to rb."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    t = np.clip((p - a) @ (b - a) / ((b - a) @ (b - a)), 0, 1)
    from_axis = p - a - t[:, None] * (b - a)
    return np.linalg.norm(from_axis, axis=1) - (ra + (rb - ra) * t)


def ellipsoid(p: np.ndarray, centre, radii) -> np.ndarray:
    """Approximate distance (N,) to an axis-aligned ellipsoid."""
    radii = np.asarray(radii, float)
    q = (p - np.asarray(centre, float)) / radii
    n = np.linalg.norm(q, axis=1)
    slope = np.linalg.norm(q / radii, axis=1)
    return n * (n - 1) / np.maximum(slope, 1e-9)


def limb_distance(p: np.ndarray, limb: Limb) -> np.ndarray:
    """Distance (N,) to one finger: cones along its knots, squashed from nail to pulp."""
    back = np.cross(limb.side, _unit(limb.knots[-1] - limb.knots[0]))
    squash = FLAT.get(limb.name, 1.08) - 1

    def flatten(x: np.ndarray) -> np.ndarray:
        return x + squash * np.outer((x - limb.knots[0]) @ back, back)

    q, k = flatten(p), flatten(limb.knots)
    d = cone(q, k[0], k[1], limb.radii[0], limb.radii[1])
    for i in range(1, len(k) - 1):
        d = smooth_min(d, cone(q, k[i], k[i + 1], limb.radii[i], limb.radii[i + 1]), 1.5)
    return d


def _palm_distance(p: np.ndarray) -> np.ndarray:
    starts = {"index": (90, 9, 17), "middle": (90, 10.5, 8), "ring": (90, 9.5, -1), "pinky": (88, 7, -9)}
    parts = []
    for name, start in starts.items():
        head = np.array(CHAINS[name][0], float)
        width = 11.6 if name == "pinky" else 12.6
        parts.append(cone(p, start, head + [0, -1.0, 0], 16.0, width))
    parts.append(cone(p, (84, -2, 17), (51, -9.5, 52), 16.5, 12.0))  # thumb ball
    parts.append(ellipsoid(p, (60, -10.5, 31), (24, 16, 16)))
    parts.append(cone(p, (2, -5, 24), (18, -8.5, -31), 7.5, 7.0))  # pads under the knuckles
    parts.append(cone(p, (82, 0, -12), (38, -6, -31), 15.5, 12.0))  # little-finger ball
    parts.append(cone(p, (44, -4, 36), (14, -1, 27), 8.5, 9.0))  # web of the thumb
    d = parts[0]
    for part in parts[1:]:
        d = smooth_min(d, part, 9.0)
    r = (p[:, 1:] - [10.5, 5.5]) / [20.5, 28.5]
    n = np.linalg.norm(r, axis=1)
    tube = np.maximum((n - 1) * 23.5, 92 - p[:, 0])
    return smooth_min(d, tube, 16.0)


def hand_distance(p: np.ndarray, limbs: dict[str, Limb]) -> np.ndarray:
    """Signed distance-like value (N,) in mm of the whole hand, negative inside."""
    fingers = np.full(len(p), 1e3)
    for limb in limbs.values():
        fingers = smooth_min(fingers, limb_distance(p, limb), 2.0)
    d = smooth_min(_palm_distance(p), fingers, 7.0)
    heads = [CHAINS[n][0] for n in ("index", "middle", "ring", "pinky")]
    for x, y, z in heads:  # knuckles on the back
        d = smooth_min(d, ellipsoid(p, (x + 1, y + 6.0, z), (8.5, 6.5, 6.5)), 4.0)
    webs = [("index", "middle"), ("middle", "ring"), ("ring", "pinky")]
    for a, b in webs:
        ends = [limbs[name].centre(0.42 * limbs[name].joint_arc[1]) for name in (a, b)]
        d = smooth_min(d, cone(p, *ends, 6.0, 6.0), 5.0)
    return d


def _gradient(p: np.ndarray, limbs: dict[str, Limb]) -> np.ndarray:
    g = np.empty_like(p)
    for i in range(3):
        step = np.zeros(3)
        step[i] = 0.05
        g[:, i] = (hand_distance(p + step, limbs) - hand_distance(p - step, limbs)) / 0.1
    return g


def project(p: np.ndarray, limbs: dict[str, Limb], steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Move points (N,3) onto the skin by Newton steps; returns points and outward unit normals."""
    for _ in range(steps):
        g = _gradient(p, limbs)
        distance = np.clip(hand_distance(p, limbs), -6, 6)
        steepness = np.maximum((g * g).sum(1), 0.2)
        p = p - distance[:, None] * g / steepness[:, None]
    return p, _unit(_gradient(p, limbs))


def _ray_radius(limb: Limb, start: np.ndarray, ray: np.ndarray) -> np.ndarray:
    """Length (A,) of unit rays (A,3) from inside a finger to its skin, by bisection."""
    low, high = np.zeros(len(ray)), np.full(len(ray), 30.0)
    for _ in range(30):
        mid = (low + high) / 2
        inside = limb_distance(start + mid[:, None] * ray, limb) < 0
        low = np.where(inside, mid, low)
        high = np.where(inside, high, mid)
    return low


def limb_ring(limb: Limb, s: float, lift: float, angles: np.ndarray) -> np.ndarray:
    """Ring points (A,3) around a finger: arc length s, rays lifted toward the tip by `lift` rad."""
    along, side, back = limb.frame(s)
    around = np.cos(angles)[:, None] * side + np.sin(angles)[:, None] * back
    ray = np.cos(lift) * around + np.sin(lift) * along
    return limb.centre(s) + _ray_radius(limb, limb.centre(s), ray)[:, None] * ray


def build_skin(rounds: int = 60) -> tuple[np.ndarray, np.ndarray, Grid, dict[str, Limb]]:
    """The finished skin: vertices (778,3) in mm, faces (1538,3), the grid, and the fingers."""
    limbs = {name: build_limb(name) for name in FINGERS}
    grid = build_grid(limbs, limb_ring)
    v = grid.start.copy()
    v, n = project(v, limbs, 8)
    v[:16, 0] = grid.start[:16, 0]
    for _ in range(rounds):
        move = (grid.average @ v - v) * grid.mobility[:, None]
        v = v + move - n * (move * n).sum(1, keepdims=True)
        v, n = project(v, limbs, 2)
        v[:16, 0] = grid.start[:16, 0]
    return v, grid.triangulate(v), grid, limbs
