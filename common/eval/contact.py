"""How deep two hands run into each other, and how well a true contact is kept.

All in float64, whatever the input. What is inside a hand, its winding number says, so a hand that runs
into itself (a fist) counts once where it overlaps. Samples go one by one, which is faster on a CPU than
padded batches (measured), and keeps the memory small; hands far from each other cost nothing.

Legend: B samples, V vertices, F faces of a hand whose wrist is closed, Q points, P (face, line or point)
pairs, R (face, row of lines) pairs.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from common.hand.joints import LEFT, RIGHT
from common.utils.raster import spans

MILLIMETRES, CUBIC_CENTIMETRES = 1e3, 1e6
SLACK = 1e-7  # metres; only adds candidates, so that rounding hides none


@torch.no_grad()
def penetration(verts: Tensor, faces: Tensor, pitch: float = 0.001) -> dict[str, Tensor]:
    """How far the hands of each sample run into each other, their wrists closed by a cap.

    verts (B,2,V,3), metres, both hands in one frame; faces (2,F,3), outward, open at most at the wrist;
    pitch, metres: distance of the lines along z whose length inside both hands is summed up.
    Returns float64 (B,): "volume", cm3 that both hands fill; "depth_mean" and "depth_max", mm, over all
    2V vertices, 0 for those outside (IHMR's collision measures): the distance to the other hand's own
    surface, without the cap, as no hand leaves another through its forearm.
    """
    verts = verts.double()
    solid, closed = _close(verts, faces)
    low, high = verts.amin(2).amax(1), verts.amax(2).amin(1)  # (B,3) box that the hands share
    shared = ((low[:, None, None] <= verts) & (verts <= high[:, None, None])).all(3)  # (B,2,V)
    volume, depth = verts.new_zeros(len(verts)), torch.zeros_like(verts[..., 0])
    for i in (low < high).all(1).nonzero().flatten().tolist():
        hands = [corners[face] for corners, face in zip(solid[i], closed, strict=True)]  # (F,3,3) each
        volume[i] = _volume(torch.stack(hands), low[i], high[i], pitch)
        for hand, other in ((RIGHT, hands[LEFT]), (LEFT, hands[RIGHT])):
            points = verts[i, hand, shared[i, hand]]
            inside = _inside(points, other, low[i], high[i])
            surface = _distance(points[inside], other[: faces.shape[1]])
            depth[i, hand, shared[i, hand]] = surface.new_zeros(len(points)).masked_scatter_(inside, surface)
    depth = MILLIMETRES * depth.flatten(1)
    return {"volume": CUBIC_CENTIMETRES * volume, "depth_mean": depth.mean(1), "depth_max": depth.amax(1)}


class Pairs(NamedTuple):
    """Vertices of both hands that touch each other in the truth."""

    sample: Tensor  # (P,) of B
    right: Tensor  # (P,) vertex of the right hand
    left: Tensor  # (P,) its nearest one of the left hand


@torch.no_grad()
def touching_pairs(truth: Tensor, threshold: float = 0.003) -> Pairs:
    """Each vertex of true right hands and the nearest one of the left hand, if closer than threshold.

    truth: (B,2,V,3), metres, both hands in one frame; a sample that is not finite has no pair.
    """
    truth = truth.double()
    low, high = truth.amin(2).amax(1) - threshold, truth.amax(2).amin(1) + threshold
    room = ((low[:, None, None] < truth) & (truth < high[:, None, None])).all(3)  # (B,2,V) can touch
    pairs = []
    for i in room.any(2).all(1).nonzero().flatten().tolist():
        right, left = (room[i, hand].nonzero().squeeze(1) for hand in (RIGHT, LEFT))
        distance, nearest = torch.cdist(truth[i, RIGHT, right], truth[i, LEFT, left]).min(1)
        near = distance < threshold
        right, left = right[near], left[nearest[near]]
        pairs.append(Pairs(torch.full_like(right, i), right, left))
    if not pairs:
        return Pairs(*torch.zeros(3, 0, dtype=torch.long, device=truth.device))
    return Pairs(*map(torch.cat, zip(*pairs, strict=True)))


@torch.no_grad()
def contact_deviation(verts: Tensor, pairs: Pairs) -> Tensor:
    """Mean predicted distance (B,), mm, of vertices that truly touch; NaN where none do. RenderIH's CDev.

    verts: (B,2,V,3), metres, both hands in one frame; pairs: of the true hands, `touching_pairs`.
    """
    verts = verts.double()
    gap = (verts[pairs.sample, RIGHT, pairs.right] - verts[pairs.sample, LEFT, pairs.left]).norm(dim=1)
    total, count = verts.new_zeros(2, len(verts)).unbind()
    total.index_add_(0, pairs.sample, gap)
    count.index_add_(0, pairs.sample, torch.ones_like(gap))
    return MILLIMETRES * total / count


def _close(verts: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
    """Vertices (B,2,V+1,3) and faces (2,F,3) with a fan over the hole about the mean of its rim."""
    size, hand = verts.shape[2], torch.arange(2, device=faces.device)[:, None]
    start, end = faces.flatten(1), faces.roll(-1, 2).flatten(1)
    alone = [~torch.isin(a * size + b, b * size + a) for a, b in zip(start, end, strict=True)]
    rim = torch.stack([torch.stack((b[i], a[i]), 1) for a, b, i in zip(start, end, alone, strict=True)])
    centre = verts[:, hand, rim[..., 0]].sum(2, keepdim=True) / max(rim.shape[1], 1)
    fan = torch.cat((rim, torch.full_like(rim[..., :1], size)), 2)
    return torch.cat((verts, centre), 2), torch.cat((faces, fan), 1)


def _volume(corners: Tensor, low: Tensor, high: Tensor, pitch: float) -> Tensor:
    """Volume (), m3, inside both hands (2,F,3,3) and the box from low to high (3,)."""
    columns, rows = ((high - low)[:2] / pitch).ceil().long().tolist()
    grid = (corners[..., :2] - low[:2]) / pitch - 0.5  # the line (x,y) goes through the point (x,y)
    faces, corners = corners.shape[1], torch.cat((grid, corners[..., 2:]), 3).flatten(0, 1)
    face, x, y, sign = _crossings(corners, columns, rows)
    z = _depth_at(_planes(corners).index_select(0, face), x, y)
    # One sort by line, then depth. A line leaves each hand as often as it enters it, so that running
    # sums over all lines start each line at 0.
    nearest, farthest = corners[..., 2].aminmax()
    order = (y * columns + x + 0.999 * (z - nearest) / (farthest - nearest)).argsort()
    sign, z, second = sign[order], z[order], (face >= faces)[order]
    inside = ((sign * second).cumsum(0) > 0) & ((sign * ~second).cumsum(0) > 0)
    return (z.diff() * inside[:-1]).sum() * pitch**2


def _crossings(corners: Tensor, columns: int, rows: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Where lines along z cross faces (F,3,3): face, x, y and sign (P,), 1 where the line enters.

    A line stands at each integer x < columns, y < rows.
    """
    top = corners[..., 1].amin(1).ceil().clamp(0, rows).long()
    bottom = corners[..., 1].amax(1).ceil().clamp(0, rows).long()
    face, row = spans(top, bottom - top)  # (R,)
    up, down = _outline(_edges(corners).index_select(0, face), row)
    left = up.minimum(down).ceil().clamp(0, columns).long()
    right = up.maximum(down).ceil().clamp(0, columns).long()
    pair, column = spans(left, right - left)
    return face[pair], column, row[pair], torch.where(down > up, 1, -1)[pair]


def _outline(edges: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """x (R,) where the outline of a face, edges (R,3,5), runs up and down through the row y (R,).

    A line along z at up <= x < down enters the face, one at down <= x < up leaves it. Two faces compute a
    shared edge to the same bit and every edge holds its lower end only, so that along any line the signs
    of a closed surface add up to 0.
    """
    x, lower, slope, upper, runs_up = edges.unbind(2)
    y = y[:, None]
    at = torch.where((lower <= y) & (y < upper), x + (y - lower) * slope, 0)
    up = at * runs_up
    return up.sum(1), (at - up).sum(1)


def _edges(corners: Tensor) -> Tensor:
    """(F,3,5) of edges of (F,3,3): x and y of the lower end, dx/dy, y of the upper end, 1 if it runs up."""
    start, end = corners[..., :2], corners.roll(-1, 1)[..., :2]
    up = start[..., 1] < end[..., 1]
    lower, upper = torch.where(up[..., None], start, end), torch.where(up[..., None], end, start)
    slope = (upper[..., 0] - lower[..., 0]) / (upper[..., 1] - lower[..., 1])
    return torch.stack((*lower.unbind(2), slope, upper[..., 1], up), 2)


def _planes(corners: Tensor) -> Tensor:
    """(F,5): z at the origin, dz/dx, dz/dy, lowest and highest z of faces (F,3,3)."""
    first, z = corners[:, 0], corners[..., 2]
    normal = torch.linalg.cross(corners[:, 1] - first, corners[:, 2] - first, dim=1)
    slope = -normal[:, :2] / normal[:, 2:]
    base = first[:, 2] - (first[:, :2] * slope).sum(1)
    return torch.cat((base[:, None], slope, z.amin(1, keepdim=True), z.amax(1, keepdim=True)), 1)


def _depth_at(planes: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """z (P,) of planes (P,5) at x, y (P,)."""
    base, dx, dy, nearest, farthest = planes.unbind(1)
    # Slivers, whose slopes are huge or not finite, stay within their own corners.
    return (base + x * dx + y * dy).fmin(farthest).fmax(nearest)


def _inside(points: Tensor, corners: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """(Q,) bool: the closed surface (F,3,3) winds about the point (Q,3), which is between low and high."""
    floor, roof = corners[..., :2].amin(1) - SLACK, corners[..., :2].amax(1) + SLACK
    met = ((floor <= high[:2]) & (roof >= low[:2])).all(1)
    corners, floor, roof = corners[met], floor[met].T.contiguous(), roof[met].T.contiguous()  # (2,F)
    at = points[:, :2].T[..., None]  # (2,Q,1)
    in_x, in_y = (floor[:, None] <= at) & (at <= roof[:, None])  # (Q,F) each
    query, face = (in_x & in_y).nonzero().unbind(1)
    x, y, z = points[query].unbind(1)
    up, down = _outline(_edges(corners)[face], y)
    sign = (x < down).long() - (x < up).long()
    below = _depth_at(_planes(corners)[face], x, y) < z
    return sign.new_zeros(len(points)).index_add_(0, query, sign * below) > 0


def _distance(points: Tensor, corners: Tensor) -> Tensor:
    """Distance (Q,) of points (Q,3) from the nearest point of faces (F,3,3)."""
    centre = corners.mean(1)
    radius = (corners - centre[:, None]).norm(dim=2).amax(1)
    reach = torch.cdist(points, centre)  # (Q,F)
    # A centre is on the surface, and a face reaches no farther from it than its radius.
    query, face = (reach - radius <= reach.amin(1, keepdim=True) + SLACK).nonzero().unbind(1)
    distance = _to_triangle(points[query], corners[face])
    return points.new_full((len(points),), torch.inf).scatter_reduce_(0, query, distance, "amin")


def _to_triangle(points: Tensor, corners: Tensor) -> Tensor:
    """Distance (P,) of points (P,3) from triangles (P,3,3)."""
    edge, offset = corners.roll(-1, 1) - corners, points[:, None] - corners
    along = ((offset * edge).sum(2) / edge.square().sum(2).clamp(min=1e-30)).clamp(0, 1)
    to_edge = (offset - along[..., None] * edge).norm(dim=2).amin(1)
    normal = torch.linalg.cross(edge[:, 0], edge[:, 1], dim=1)
    to_plane = (offset[:, 0] * normal).sum(1).abs() / normal.norm(dim=1)
    over = ((torch.linalg.cross(edge, offset, dim=2) * normal[:, None]).sum(2) > 0).all(1)
    return torch.where(over, to_plane.minimum(to_edge), to_edge)
