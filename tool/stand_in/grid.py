"""The stand-in hand's fixed topology: rings round the palm that split into five finger tubes.

One ring of 16 at the wrist widens to 34, splits into a thumb ring (10) and palm rings (28), which
split into four finger rings (10). A finger ring lists its back 0..3 from the index side, the web on
the far side, its front 3..0 and the web on the near side. 778 vertices in all.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import csr_matrix, diags

ACROSS = ("index", "middle", "ring", "pinky")
# top 0..3, far web, bottom 3..0, near web
ANGLES = np.deg2rad(36.0 * np.array([1, 2, 3, 4, 5, 6, 7, 8, 9, 0]))
PALM_RINGS = 4
WEB_ARC = {"index": 17.5, "middle": 17.5, "ring": 16.5, "pinky": 12.0}


@dataclass
class Grid:
    """Quads and triangles over `start` (778,3), and each vertex's finger (MANO order, -1 palm)."""

    start: np.ndarray
    quads: np.ndarray
    triangles: np.ndarray
    owner: np.ndarray
    column: np.ndarray  # place across the palm, 0 index side .. 12 little-finger side; -1 elsewhere
    mobility: np.ndarray
    tips: dict[str, list[int]]

    @cached_property
    def edges(self) -> np.ndarray:
        """Grid lines (E,2), without the diagonals of the quads."""
        pairs = []
        for polygons in (self.quads, self.triangles):
            following = np.roll(polygons, -1, axis=1)
            pairs.append(np.stack([polygons, following], -1).reshape(-1, 2))
        return np.unique(np.sort(np.concatenate(pairs), 1), axis=0)

    @cached_property
    def average(self) -> csr_matrix:
        """(778,778) mean over neighbours along grid lines."""
        a, b = self.edges.T
        count = len(self.start)
        rows, columns = np.concatenate([a, b]), np.concatenate([b, a])
        neighbours = csr_matrix((np.ones(len(rows)), (rows, columns)), (count, count))
        valence = np.asarray(neighbours.sum(1)).ravel()
        return diags(1 / valence) @ neighbours

    def triangulate(self, v: np.ndarray) -> np.ndarray:
        """Faces (1538,3): each quad is cut along its shorter diagonal; 0.1 % settles ties."""
        q = self.quads
        first = np.linalg.norm(v[q[:, 0]] - v[q[:, 2]], axis=1)
        second = np.linalg.norm(v[q[:, 1]] - v[q[:, 3]], axis=1) * 1.001
        a, b, c, d = q.T
        cut = (first <= second)[:, None]
        one = np.where(cut, np.stack([a, b, c], 1), np.stack([a, b, d], 1))
        two = np.where(cut, np.stack([a, c, d], 1), np.stack([b, c, d], 1))
        return np.concatenate([one, two, self.triangles])


class _Builder:
    def __init__(self) -> None:
        self.points: list[np.ndarray] = []
        self.quads: list[list[int]] = []
        self.triangles: list[list[int]] = []
        self.owner: list[int] = []
        self.column: list[float] = []
        self.mobility: list[float] = []

    def add(self, points, owner: int, mobility: float, column=None) -> list[int]:
        base = len(self.points)
        self.points += [np.asarray(p, float) for p in points]
        self.owner += [owner] * len(points)
        self.mobility += [mobility] * len(points)
        self.column += list(column) if column is not None else [-1.0] * len(points)
        return list(range(base, len(self.points)))

    def loft(self, low: list[int], high: list[int]) -> None:
        """Quads between two rings of equal length."""
        for i in range(len(low)):
            following = (i + 1) % len(low)
            touching = low[i] == high[i] or low[following] == high[following]
            if not touching:
                self.quads.append([low[i], low[following], high[following], high[i]])

    def zip(self, low: list[int], high: list[int]) -> None:
        """Triangles between two rings of different lengths that start at the same place."""
        n, m = len(low), len(high)
        i, j = 0, 0
        while i < n or j < m:
            low_is_behind = i < n and (i + 0.5) / n <= (j + 0.5) / m
            if j == m or low_is_behind:
                self.triangles.append([low[i % n], low[(i + 1) % n], high[j % m]])
                i += 1
            else:
                self.triangles.append([low[i % n], high[(j + 1) % m], high[j % m]])
                j += 1


def _wrist_ring(n: int, x: float, centre, radii) -> np.ndarray:
    angle = 2 * np.pi * np.arange(n) / n
    y = centre[0] + radii[0] * np.sin(angle)
    z = centre[1] + radii[1] * np.cos(angle)
    return np.stack([np.full(n, x), y, z], 1)


def _finger_stations(limb, rings: int) -> list[tuple[float, float]]:
    """(arc length, lift) of each ring beyond the base: three at each joint, three at the tip."""
    _, pip, dip, tip = limb.joint_arc
    gap = {"pinky": 3.6, "thumb": 5.4}.get(limb.name, 4.3)
    body = [pip - gap, pip, pip + gap, dip - gap, dip, dip + gap]
    if rings > 9:
        body.insert(3, (pip + dip) / 2)
    if rings > 10:
        base = {"thumb": 8.0}.get(limb.name, WEB_ARC.get(limb.name))
        body.insert(0, 0.5 * (base + pip - gap))
    last = dip + gap
    return [(s, 0.0) for s in body] + [(0.45 * last + 0.55 * tip, 0.0), (tip, 0.12), (tip, 0.85)]


def _finger_tube(b: _Builder, limb, owner: int, base: list[int], rings: int, ring_at: Callable) -> list[int]:
    """Rings from the base to the tip and two vertices to close it; returns the tip, end first."""
    low = base
    for s, lift in _finger_stations(limb, rings):
        mobility = 0.0 if s > limb.joint_arc[1] else 0.15
        high = b.add(ring_at(limb, s, lift, ANGLES), owner, mobility)
        b.loft(low, high)
        low = high
    ends = [ring_at(limb, limb.joint_arc[3], 1.28, np.array([a]))[0] for a in (0.0, np.pi)]
    m = b.add(ends, owner, 0.0)
    t, far, u, near = low[:4], low[4], low[5:9][::-1], low[9]
    b.quads += [
        [t[0], t[1], m[0], near],
        [t[1], t[2], m[1], m[0]],
        [t[2], t[3], far, m[1]],
        [near, m[0], u[1], u[0]],
        [m[0], m[1], u[2], u[1]],
        [m[1], far, u[3], u[2]],
    ]
    return m + [u[1], u[2], t[1], t[2]]


def _base_rings(b: _Builder, limbs: dict, ring_at: Callable) -> tuple[list[int], list[list[int]]]:
    """The 28-ring at the finger webs and the middles of the webs; also the four finger rings."""
    rings = [ring_at(limbs[n], WEB_ARC[n], 0.0, ANGLES) for n in ACROSS]
    top, bottom, web = {}, {}, {0: rings[0][9], 4: rings[3][4]}
    for i, r in enumerate(rings):
        for j in range(4):
            top.setdefault(3 * i + j, []).append(r[j])
            bottom.setdefault(3 * i + j, []).append(r[8 - j])
    for i in range(1, 4):
        web[i] = (rings[i - 1][4] + rings[i][9]) / 2
    t = b.add([np.mean(top[c], 0) for c in range(13)], -1, 0.5, range(13))
    far = b.add([web[4]], -1, 0.5, [12.0])
    u = b.add([np.mean(bottom[c], 0) for c in range(12, -1, -1)], -1, 0.5, range(12, -1, -1))
    near = b.add([web[0]], -1, 0.5, [0.0])
    mids = near + b.add([web[i] for i in (1, 2, 3)], -1, 0.5, [3.0, 6.0, 9.0]) + far
    under = u[::-1]
    fingers = []
    for i in range(4):
        back, front = t[3 * i : 3 * i + 4], under[3 * i : 3 * i + 4]
        fingers.append([*back, mids[i + 1], *reversed(front), mids[i]])
    return t + far + u + near, fingers


def _split_ring(b: _Builder, limbs: dict, ring_at: Callable) -> tuple[list[int], list[int], list[int]]:
    """Where the thumb leaves the palm: (ring of 34, thumb ring of 10, palm ring of 28)."""
    thumb = limbs["thumb"]
    outer = ring_at(thumb, 9.0, 0.0, ANGLES)
    valley, edge = np.array([35.0, 0.0, 36.0]), np.array([72.0, 3.0, -24.0])
    line = [valley + (edge - valley) * c / 12 for c in range(13)]
    top = [p + [0, 13.0, 0] for p in line]
    bottom = [p + [0, -13.0, 0] for p in line]
    slant = [np.array([x, 0, 0.0]) for x in (0.0, -5.0, -14.0)]
    tops = b.add([outer[i] + slant[i] for i in range(3)], 4, 0.5)
    t = b.add(top, -1, 0.7, range(13))
    far = b.add([edge + [0, 0, -12.0]], -1, 0.7, [12.0])
    u = b.add(bottom[::-1], -1, 0.7, range(12, -1, -1))
    bots = b.add([outer[8 - i] + slant[i] for i in (2, 1, 0)], 4, 0.5)
    side = b.add([outer[9]], 4, 0.5)
    web = b.add([valley + [-6.0, -7.0, 3.0]], -1, 0.03, [0.0])
    whole = side + tops + t + far + u + bots
    thumb_ring = tops + [t[0]] + web + [u[-1]] + bots + side
    return whole, thumb_ring, t + far + u + web


def build_grid(limbs: dict, ring_at: Callable) -> Grid:
    """Lay the topology at rough starting positions (mm); the skin pulls them into place later."""
    b = _Builder()
    wrist = b.add(_wrist_ring(16, 114.0, (10.5, 5.5), (20.5, 28.5)), -1, 0.3)
    second = b.add(_wrist_ring(16, 100.0, (9.5, 5.5), (20.0, 28.5)), -1, 0.7)
    third = b.add(_wrist_ring(18, 86.0, (7.5, 6.5), (19.0, 31.0)), -1, 0.7)
    whole, thumb_ring, palm = _split_ring(b, limbs, ring_at)
    for low, high in ((wrist, second), (second, third), (third, whole)):
        b.zip(low, high)
    start = [b.points[i] for i in palm]
    base, finger_rings = _base_rings(b, limbs, ring_at)
    for k in range(1, PALM_RINGS + 1):
        t = k / (PALM_RINGS + 1)
        points = [p + (b.points[j] - p) * t for p, j in zip(start, base, strict=True)]
        ring = b.add(points, -1, 0.7, [b.column[j] for j in base])
        b.loft(palm, ring)
        palm = ring
    b.loft(palm, base)
    tips = {}
    for name, ring in zip(ACROSS, finger_rings, strict=True):
        owner = ("index", "middle", "pinky", "ring").index(name)
        tips[name] = _finger_tube(b, limbs[name], owner, ring, 10 if name == "pinky" else 11, ring_at)
    tips["thumb"] = _finger_tube(b, limbs["thumb"], 4, thumb_ring, 11, ring_at)
    arrays = (b.points, b.quads, b.triangles, b.owner, b.column, b.mobility)
    return Grid(*map(np.array, arrays), tips)
