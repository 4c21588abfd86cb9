"""Batched z-buffer rasteriser in plain torch, on the CPU and on the GPU.

Triangles become rows, rows become pixels, and one `scatter_reduce` over the packed key
(depth, face) keeps the nearest face of every pixel. Only pixels that a triangle really covers are
ever listed, so the work grows with the covered area, not with the picture or the faces' boxes.

Legend: B pictures, V vertices, F faces, H x W pixels, R triangle rows, P (face, pixel) pairs.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

EMPTY = torch.iinfo(torch.int64).max


@dataclass(frozen=True)
class Fragments:
    """What lies behind each pixel centre.

    face: (B,H,W) int64, index of the nearest face, -1 for the background.
    bary: (B,H,W,3) weights of the three corners of that face, 0 for the background.
    depth: (B,H,W) in the unit of the input, inf for the background.
    """

    face: Tensor
    bary: Tensor
    depth: Tensor

    @property
    def mask(self) -> Tensor:
        """(B,H,W) bool: some face covers the pixel."""
        return self.face >= 0


def rasterize(
    points: Tensor, faces: Tensor, size: tuple[int, int], perspective: bool = True, closed: bool = False
) -> Fragments:
    """Find the nearest face of every pixel: of those that contain the pixel's centre.

    points: (B,V,3) u, v in pixels (pixel centres are integers) and depth; faces: (F,3) or (B,F,3);
    size: (H,W). With perspective, faces with a corner at depth <= 0 are dropped and weights are
    perspective-correct; without it, weights and depth are affine in the picture (weak perspective)
    and depth may have any sign. With `closed`, faces seen from behind are skipped: the same result
    in less time for closed meshes with outward winding.
    """
    face = nearest_face(points, faces, size, perspective, closed)
    return _weigh(gather_corners(points.detach().float(), faces), face, perspective)


@torch.no_grad()
def nearest_face(
    points: Tensor, faces: Tensor, size: tuple[int, int], perspective: bool = True, closed: bool = False
) -> Tensor:
    """Only the face (B,H,W) of `rasterize`, or -1. A faster kernel would go here."""
    corners = gather_corners(points.float(), faces)  # (B,F,3,3)
    (batch, count), (height, width) = corners.shape[:2], size
    corners = corners.flatten(0, 1)
    owner, row, left, length = _rows(corners, _drawable(corners, perspective, closed), size)
    pair, column = spans(left, length)  # (P,) index into the rows; (P,) u
    row, owner = row.index_select(0, pair), owner.index_select(0, pair)
    depth = _depth(corners, owner, column, row, perspective)
    picture = owner.div(count, rounding_mode="floor")
    pixel = (picture * height + row) * width + column
    key = _ordered_bits(depth).bitwise_left_shift_(32).bitwise_or_(owner - picture * count)
    buffer = torch.full((batch * height * width,), EMPTY, device=corners.device)
    buffer.scatter_reduce_(0, pixel, key, "amin")
    # The low half of the key, sign-extended, is the face; that of EMPTY is -1.
    return buffer.bitwise_left_shift_(32).bitwise_right_shift_(32).view(batch, height, width)


@torch.no_grad()
def coverage(points: Tensor, faces: Tensor, size: tuple[int, int], perspective: bool = True) -> Tensor:
    """Only the mask (B,H,W) of `rasterize`: spans of rows are counted up and down, no pixel is listed."""
    corners = gather_corners(points.float(), faces)  # (B,F,3,3)
    (batch, count), (height, width) = corners.shape[:2], size
    corners = corners.flatten(0, 1)
    owner, row, left, length = _rows(corners, _drawable(corners, perspective, False), size)
    left = left.clamp(max=width)  # where it is outside, its length is 0
    start = (owner.div(count, rounding_mode="floor") * height + row) * (width + 1) + left
    # small numbers: most of the time goes into memory; no more spans than faces lie over one another
    kind = torch.int16 if count <= torch.iinfo(torch.int16).max else torch.int32
    steps = torch.zeros(batch * height * (width + 1), dtype=kind, device=corners.device)
    one = torch.ones_like(start, dtype=kind)
    steps.scatter_add_(0, start, one).scatter_add_(0, start + length, -one)
    return steps.view(batch, height, width + 1).cumsum(-1, dtype=kind)[..., :width] > 0


def gather_corners(values: Tensor, faces: Tensor) -> Tensor:
    """Values at the corners of faces: values (B,V,C), faces (F,3) or (B,F,3) -> (B,F,3,C)."""
    if faces.dim() == 2:
        return values[:, faces]
    batch = torch.arange(len(values), device=values.device)[:, None, None]
    return values[batch, faces]


def _rows(corners: Tensor, drawn: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Rows that triangles cross: face (R,), v (R,), first column (R,), columns covered (R,).

    Edges always run from their upper to their lower end, so that two faces that share an edge
    compute the same crossing to the bit and leave no hole between them.
    """
    height, width = size
    order = corners[..., 1].argsort(dim=1, stable=True)  # (BF,3)
    u, v = corners[..., 0].gather(1, order), corners[..., 1].gather(1, order)
    top = v[:, 0].ceil().clamp(0, height)
    count = (v[:, 2].floor().clamp(max=height - 1) - top + 1).clamp(min=0)
    owner, row = spans(top.long(), torch.where(drawn, count, 0).long())
    edges = _edges(u, v)  # (3BF,) each
    below = row >= v[:, 1].index_select(0, owner)  # the middle corner: which of two edges is crossed
    one, other = _crossing(edges, owner * 3, row), _crossing(edges, owner * 3 + 1 + below, row)
    left, right = one.minimum(other).ceil().clamp(min=0), one.maximum(other).floor().clamp(max=width - 1)
    return owner, row, left.long(), (right - left + 1).clamp(min=0).long()


def _drawable(corners: Tensor, perspective: bool, closed: bool) -> Tensor:
    """(BF,) bool: finite, not degenerate and, in perspective, wholly in front of the camera."""
    area = _doubled_area(corners)
    good = torch.isfinite(area) & ((area if closed else -area.abs()) < -1e-12)
    return good & (corners[..., 2].amin(1) > 0) if perspective else good


def _doubled_area(corners: Tensor) -> Tensor:
    """Signed doubled area in the picture: (...,3,3) -> (...)."""
    a, b, c = corners[..., :2].unbind(-2)
    first, second = b - a, c - a
    return first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0]


def spans(start: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
    """List length[i] numbers from start[i] on, for each i: owners i (N,) and numbers (N,)."""
    owner = torch.arange(len(start), device=start.device).repeat_interleave(length)
    first = length.cumsum(0) - length  # place of each owner's first entry in the list
    value = torch.arange(len(owner), device=start.device) + (start - first).index_select(0, owner)
    return owner, value


def _edges(u: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Edges 0-2, 0-1, 1-2 of corners sorted from top to bottom, u and v (BF,3) -> their upper ends u, v and
    what they run across and down (not 0), (3BF,) each."""
    across = torch.stack([u[:, 2] - u[:, 0], u[:, 1] - u[:, 0], u[:, 2] - u[:, 1]], 1)
    down = torch.stack([v[:, 2] - v[:, 0], v[:, 1] - v[:, 0], v[:, 2] - v[:, 1]], 1).clamp(min=1e-12)
    upper_u, upper_v = (torch.stack([x[:, 0], x[:, 0], x[:, 1]], 1) for x in (u, v))
    return upper_u.flatten(), upper_v.flatten(), across.flatten(), down.flatten()


def _crossing(edges: tuple[Tensor, ...], edge: Tensor, row: Tensor) -> Tensor:
    """u (R,) where edges (R,) of all edges cross rows (R,); stays on the edge if it is flat."""
    u, v, across, down = (values.index_select(0, edge) for values in edges)
    step = (row - v).div_(down).clamp_(0, 1)
    return step.mul_(across).add_(u)


def _depth(corners: Tensor, face: Tensor, u: Tensor, v: Tensor, perspective: bool) -> Tensor:
    """Depth (P,) of faces (P,) of (BF,3,3) at pixels u, v (P,).

    1/z is affine in the picture under perspective, z itself under weak perspective.
    """
    z = corners[..., 2]
    value = z.reciprocal() if perspective else z  # (BF,3)
    area = _doubled_area(corners)
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    rise1, rise2 = value[:, 1] - value[:, 0], value[:, 2] - value[:, 0]
    slope_u = (rise1 * second[:, 1] - rise2 * first[:, 1]) / area
    slope_v = (rise2 * first[:, 0] - rise1 * second[:, 0]) / area
    origin = (corners[:, 0, 0], corners[:, 0, 1], value[:, 0])
    plane = torch.stack((*origin, slope_u, slope_v, value.amin(1), value.amax(1)), dim=1)
    u0, v0, base, du, dv, low, high = plane.index_select(0, face).unbind(1)
    # Clamping keeps slivers, whose slopes are huge, within their own corners.
    at_pixel = torch.minimum(torch.maximum(base + (u - u0) * du + (v - v0) * dv, low), high)
    return at_pixel.reciprocal() if perspective else at_pixel


def _ordered_bits(depth: Tensor) -> Tensor:
    """int64 numbers in the same order as the floats, negative ones included."""
    bits = depth.float().contiguous().view(torch.int32)
    return (bits ^ ((bits >> 31) & 0x7FFFFFFF)).long()


def _weigh(corners: Tensor, face: Tensor, perspective: bool) -> Fragments:
    """Barycentric weights and depth, derived again from the face of each pixel."""
    batch, height, width = face.shape
    count = corners.shape[1]
    pixel = (face.view(-1) >= 0).nonzero().squeeze(1)  # (P,)
    picture = pixel.div(height * width, rounding_mode="floor")
    row = pixel.div(width, rounding_mode="floor")
    place = torch.stack((pixel - row * width, row - picture * height), 1).to(corners.dtype)  # (P,2)
    owner = picture * count + face.view(-1).index_select(0, pixel)
    corner = corners.flatten(0, 1).flatten(1).index_select(0, owner).view(-1, 3, 3)  # (P,3,3)
    weights, z = _barycentric(corner, place, perspective)
    bary = corners.new_zeros(batch * height * width, 3).index_copy(0, pixel, weights)
    depth = corners.new_full((batch * height * width,), torch.inf).index_copy(0, pixel, z)
    return Fragments(face, bary.view(batch, height, width, 3), depth.view(batch, height, width))


def _barycentric(corner: Tensor, place: Tensor, perspective: bool) -> tuple[Tensor, Tensor]:
    """Weights (P,3) of the corners (P,3,3) at places (P,2), and the depth (P,) there."""
    to_corner = corner[..., :2] - place[:, None]  # (P,3,2)
    x, y = to_corner.unbind(-1)
    (x0, x1, x2), (y0, y1, y2) = x.unbind(1), y.unbind(1)
    area = torch.stack((x1 * y2 - x2 * y1, x2 * y0 - x0 * y2, x0 * y1 - x1 * y0), 1)  # (P,3)
    weights = (area / area.sum(1, keepdim=True)).clamp(min=0)
    if perspective:
        weights = weights / corner[..., 2]
    weights = weights / weights.sum(1, keepdim=True)
    return weights, (weights * corner[..., 2]).sum(1)
