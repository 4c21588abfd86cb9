"""`nearest_face` of common/utils/raster.py as one Triton kernel, for GPUs.

The plain path lists every covered pixel and waits for the device to know how many there are. Here each
program walks over the rows and pixels of a few faces and keeps the nearest key of every pixel by an atomic
minimum: nothing is listed and nothing waits, so that a CUDA graph can hold it.
"""

import torch
import triton
from torch import Tensor
from triton import language as tl

from common.utils.raster import EMPTY, gather_corners

BLOCK = 32  # faces of one program


@torch.no_grad()
def nearest_face(
    points: Tensor, faces: Tensor, size: tuple[int, int], perspective: bool = True, closed: bool = False
) -> Tensor:
    """As in raster.py: (B,H,W) int64, the nearest face that contains a pixel's centre, or -1."""
    corners = gather_corners(points.float(), faces).contiguous()  # (B,F,3,3)
    (batch, count), (height, width) = corners.shape[:2], size
    keys = torch.full((batch, height, width), EMPTY, device=corners.device)
    programs = (triton.cdiv(count, BLOCK), batch)
    _draw[programs](corners, keys, count, height, width, perspective, closed, BLOCK)
    return keys.bitwise_left_shift_(32).bitwise_right_shift_(32)


@triton.jit
def _load_corner(place, there):
    return tl.load(place, there, 0), tl.load(place + 1, there, 0), tl.load(place + 2, there, 0)


@triton.jit
def _upper_first(u, v, other_u, other_v):
    """Two corners, the one in the upper row first; equal ones keep their order."""
    swap = v > other_v
    first_u, first_v = tl.where(swap, other_u, u), tl.where(swap, other_v, v)
    return first_u, first_v, tl.where(swap, u, other_u), tl.where(swap, v, other_v)


@triton.jit
def _crossing(u, v, to_u, to_v, row):
    """u where the edge from (u, v) down to (to_u, to_v) crosses a row; stays on the edge if it is flat."""
    step = (row - v) / tl.maximum(to_v - v, 1e-12)
    return tl.minimum(tl.maximum(step, 0.0), 1.0) * (to_u - u) + u


@triton.jit
def _keep_nearest(pixel, value, low, high, face, covered, perspective: tl.constexpr):
    """Where covered, lower the key at `pixel` to this face's; value: its depth, or 1 / depth, there."""
    value = tl.minimum(tl.maximum(value, low), high)  # slivers, whose slopes are huge, stay in their corners
    if perspective:
        value = 1 / value
    bits = value.to(tl.int32, bitcast=True)
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)  # integers in the order of the floats
    tl.atomic_min(pixel, (ordered.to(tl.int64) << 32) | face.to(tl.int64), covered)


@triton.jit
def _draw(
    corners, keys, count, height, width, perspective: tl.constexpr, closed: tl.constexpr, block: tl.constexpr
):
    """corners (B,F,3,3) of all faces; keys (B,H,W): depth and face of what is nearest so far."""
    face = tl.program_id(0) * block + tl.arange(0, block)
    picture = tl.program_id(1).to(tl.int64)
    there = face < count
    place = corners + (picture * count + face) * 9
    u0, v0, z0 = _load_corner(place, there)
    u1, v1, z1 = _load_corner(place + 3, there)
    u2, v2, z2 = _load_corner(place + 6, there)
    area = (u1 - u0) * (v2 - v0) - (v1 - v0) * (u2 - u0)
    drawn = there & (tl.abs(area) < float("inf")) & ((area if closed else -tl.abs(area)) < -1e-12)
    if perspective:
        drawn = drawn & (tl.minimum(tl.minimum(z0, z1), z2) > 0)
        z0, z1, z2 = 1 / z0, 1 / z1, 1 / z2  # affine in the picture
    slope_u = ((z1 - z0) * (v2 - v0) - (z2 - z0) * (v1 - v0)) / area
    slope_v = ((z2 - z0) * (u1 - u0) - (z1 - z0) * (u2 - u0)) / area
    low, high = tl.minimum(tl.minimum(z0, z1), z2), tl.maximum(tl.maximum(z0, z1), z2)
    ua, va, ub, vb = _upper_first(u0, v0, u1, v1)
    ub, vb, uc, vc = _upper_first(ub, vb, u2, v2)
    ua, va, ub, vb = _upper_first(ua, va, ub, vb)
    top = tl.minimum(tl.maximum(tl.ceil(va), 0.0), height * 1.0)
    rows = tl.minimum(tl.floor(vc), height - 1.0) - top + 1
    rows = tl.where(drawn, tl.maximum(rows, 0.0), 0.0).to(tl.int32)
    for r in range(0, tl.max(rows)):
        row = top + r
        one = _crossing(ua, va, uc, vc, row)
        other = tl.where(row < vb, _crossing(ua, va, ub, vb, row), _crossing(ub, vb, uc, vc, row))
        left = tl.maximum(tl.ceil(tl.minimum(one, other)), 0.0)
        right = tl.minimum(tl.floor(tl.maximum(one, other)), width - 1.0)
        length = tl.where(r < rows, tl.maximum(right - left + 1, 0.0), 0.0).to(tl.int32)
        start = keys + (picture * height + row.to(tl.int64)) * width + left.to(tl.int64)
        for c in range(0, tl.max(length)):
            value = z0 + (left + c - u0) * slope_u + (row - v0) * slope_v
            _keep_nearest(start + c, value, low, high, face, c < length, perspective)
