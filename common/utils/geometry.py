"""Rotations, cameras and rigid alignment, batched over any leading axes. No hand, no net.

Frames are OpenCV's (x right, y down, z forward); pixel centres are integers; metres and radians.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

IMAGE_SIZE = 256  # pixels, side of the square crop that the network sees


def axis_angle_to_matrix(axis_angle: Tensor) -> Tensor:
    """(..., 3) radians -> (..., 3, 3), Rodrigues' formula; exact and differentiable at zero."""
    square = axis_angle.square().sum(-1)[..., None, None]
    small = square < 1e-8
    safe = torch.where(small, torch.ones_like(square), square)
    angle = safe.sqrt()
    # Taylor series near zero keep value and gradient finite.
    sine = torch.where(small, 1 - square / 6, angle.sin() / angle)
    cosine = torch.where(small, 0.5 - square / 24, (1 - angle.cos()) / safe)
    cross = skew(axis_angle)
    eye = torch.eye(3, dtype=axis_angle.dtype, device=axis_angle.device)
    return eye + sine * cross + cosine * (cross @ cross)


def skew(vector: Tensor) -> Tensor:
    """(..., 3) -> (..., 3, 3) with skew(a) @ b = a x b."""
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))


def matrix_to_axis_angle(matrix: Tensor) -> Tensor:
    """(..., 3, 3) rotations -> (..., 3) radians, angle in [0, pi]; stable at 0 and at pi.

    Goes through the quaternion with the largest component (Shepperd's method).
    """
    quaternion = matrix_to_quaternion(matrix)
    real, imaginary = quaternion[..., :1], quaternion[..., 1:]
    norm = imaginary.norm(dim=-1, keepdim=True)
    angle = 2 * torch.atan2(norm, real)
    # angle / sin(angle / 2) tends to 2 at zero
    scale = torch.where(norm > 1e-7, angle / norm.clamp_min(1e-7), torch.full_like(norm, 2.0))
    return imaginary * scale


def matrix_to_quaternion(matrix: Tensor) -> Tensor:
    """(..., 3, 3) rotations -> (..., 4) unit quaternions, real part first and not negative."""
    m = matrix
    xx, yy, zz = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    squares = torch.stack([1 + xx + yy + zz, 1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz], -1)
    wx, wy, wz = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    xy, xz, yz = m[..., 1, 0] + m[..., 0, 1], m[..., 0, 2] + m[..., 2, 0], m[..., 2, 1] + m[..., 1, 2]
    ww, xx, yy, zz = squares.unbind(-1)
    rows = [ww, wx, wy, wz, wx, xx, xy, xz, wy, xy, yy, yz, wz, xz, yz, zz]
    candidates = torch.stack(rows, -1).unflatten(-1, (4, 4))  # row i is 4 q_i q
    best = squares.argmax(-1)[..., None, None].expand(*squares.shape[:-1], 1, 4)
    quaternion = F.normalize(candidates.gather(-2, best).squeeze(-2), dim=-1)
    return torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)


def rotation_6d_to_matrix(numbers: Tensor) -> Tensor:
    """(..., 6) -> (..., 3, 3) by Gram-Schmidt (Zhou et al., CVPR 2019).

    The six numbers are read as a row-major 3x2 matrix whose columns are the two vectors, as in EANet.
    """
    first, second = numbers.unflatten(-1, (3, 2)).unbind(-1)
    x = F.normalize(first, dim=-1)
    y = F.normalize(second - (x * second).sum(-1, keepdim=True) * x, dim=-1)
    return torch.stack([x, y, torch.linalg.cross(x, y, dim=-1)], -1)


def geodesic_angle(a: Tensor, b: Tensor) -> Tensor:
    """Angle in radians between rotations (..., 3, 3); stable for small angles."""
    chord = (a - b).flatten(-2).norm(dim=-1)  # = 2 sqrt(2) sin(angle / 2)
    return 2 * torch.asin((chord / 8**0.5).clamp(max=1))


def transform(matrix: Tensor, points: Tensor) -> Tensor:
    """Apply (..., 3, 3) to points (..., N, 3)."""
    return points @ matrix.transpose(-1, -2)


def project(points: Tensor, K: Tensor) -> Tensor:
    """Pinhole projection of camera-frame points (..., N, 3) with full K (..., 3, 3) -> (..., N, 2)."""
    image = transform(K, points)
    return image[..., :2] / image[..., 2:]


def inside_crop(pixels: Tensor) -> Tensor:
    """Which pixels (..., 2) lie in the network's crop: (..., 1) float 0 or 1."""
    return ((pixels >= 0) & (pixels <= IMAGE_SIZE - 1)).all(-1, keepdim=True).float()


def back_project(pixels: Tensor, depth: Tensor, K: Tensor) -> Tensor:
    """Pixels (..., N, 2) at depth (..., N, 1) metres -> camera-frame points (..., N, 3)."""
    ones = torch.ones_like(pixels[..., :1])
    rays = transform(torch.linalg.inv(K), torch.cat([pixels, ones], -1))
    return rays / rays[..., 2:] * depth


def weak_perspective(points: Tensor, cam: Tensor) -> Tensor:
    """(..., N, 3) wrist-relative metres with cam (..., 3) = s, tx, ty -> (..., N, 2) crop pixels."""
    return cam[..., None, :1] * points[..., :2] + cam[..., None, 1:]


def crop_to_unit(pixels: Tensor) -> Tensor:
    """Crop pixels (...) -> -1 to 1 from border to border of the crop."""
    return (2 * pixels + 1) / IMAGE_SIZE - 1


def fit_weak_perspective(points: Tensor, pixels: Tensor) -> Tensor:
    """Least-squares camera (..., 3) = s, tx, ty that draws points (..., N, 3) at pixels (..., N, 2)."""
    flat = points[..., :2]
    a, b = flat - flat.mean(-2, keepdim=True), pixels - pixels.mean(-2, keepdim=True)
    scale = (a * b).sum((-2, -1)) / a.square().sum((-2, -1)).clamp_min(1e-12)
    return torch.cat([scale[..., None], pixels.mean(-2) - scale[..., None] * flat.mean(-2)], -1)


def similarity_align(source: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Best similarity transform of source (..., N, 3) onto target, applied to source (Procrustes).

    weight (..., N) of the points in the fit; none: all alike.
    """
    weight = source.new_ones(()).expand(source.shape[:-1]) if weight is None else weight
    weight = (weight / weight.sum(-1, keepdim=True).clamp_min(1e-12))[..., None]
    source_mean, target_mean = ((weight * p).sum(-2, keepdim=True) for p in (source, target))
    a, b = source - source_mean, target - target_mean
    u, s, vh = torch.linalg.svd((weight * a).transpose(-1, -2) @ b)
    flip = torch.ones_like(s)
    flip[..., -1] = torch.linalg.det(u @ vh).sign()  # a reflection is not a rotation
    rotation = (u * flip[..., None, :]) @ vh
    scale = (s * flip).sum(-1) / (weight * a.square()).sum((-2, -1)).clamp_min(1e-12)
    return scale[..., None, None] * (a @ rotation) + target_mean
