"""The signs of the mirror x = 0, by what they must do."""

import numpy as np
import torch

from common.hand.mirror import MIRROR_AXIS_ANGLE, MIRROR_POINT, mirror_camera, mirror_pixels, mirror_rotation
from common.utils.geometry import axis_angle_to_matrix, project

RNG = torch.Generator().manual_seed(0)


def test_turned_and_mirrored_is_mirrored_and_turned():
    """mirror(R x) = mirror(R) mirror(x), with the rotation written either way."""
    angles = torch.randn(5, 3, generator=RNG)
    points = torch.randn(5, 3, 1, generator=RNG)
    flip = torch.from_numpy(MIRROR_POINT)[:, None]
    turned = axis_angle_to_matrix(angles) @ points
    torch.testing.assert_close(mirror_rotation(axis_angle_to_matrix(angles)) @ (flip * points), flip * turned)
    mirrored_angles = angles * torch.from_numpy(MIRROR_AXIS_ANGLE)
    torch.testing.assert_close(axis_angle_to_matrix(mirrored_angles) @ (flip * points), flip * turned)


def test_mirrored_camera_sees_mirrored_points_at_mirrored_pixels():
    K = torch.tensor([[500.0, 3, 120], [1, 510, 90], [0, 0, 1]]).double()
    points = torch.randn(7, 3, generator=RNG).double() + torch.tensor([0, 0, 5])
    mirrored = project(points * torch.from_numpy(MIRROR_POINT), torch.from_numpy(mirror_camera(K, 256)))
    pixels = project(points, K)
    expected = torch.stack([255 - pixels[:, 0], pixels[:, 1]], -1)
    torch.testing.assert_close(mirrored, expected)
    homogeneous = np.append(pixels[0].numpy(), 1)
    assert np.allclose((mirror_pixels(256) @ homogeneous)[:2], expected[0])
