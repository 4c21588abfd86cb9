"""Rotations, cameras and alignment: round trips and known values."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from common.utils import geometry as G


def random_rotations(count: int = 200) -> np.ndarray:
    return Rotation.random(count, random_state=0).as_rotvec()


def test_axis_angle_equals_scipy():
    vectors = random_rotations()
    ours = G.axis_angle_to_matrix(torch.from_numpy(vectors)).numpy()
    assert np.allclose(ours, Rotation.from_rotvec(vectors).as_matrix(), atol=1e-12)


def test_axis_angle_round_trip():
    vectors = torch.from_numpy(random_rotations())
    assert torch.allclose(G.matrix_to_axis_angle(G.axis_angle_to_matrix(vectors)), vectors, atol=1e-9)


@pytest.mark.parametrize("angle", [0.0, 1e-12, 1e-7, 1e-5, 1e-4, 3.1, math.pi - 1e-6, math.pi])
@pytest.mark.parametrize("axis", [(1, 0, 0), (0, 1, 0), (0, 0, -1), (0.6, 0.0, 0.8)])
def test_axis_angle_at_its_edges(angle, axis):
    vector = (angle * torch.tensor(axis, dtype=torch.float64)).requires_grad_()
    matrix = G.axis_angle_to_matrix(vector)
    expected = Rotation.from_rotvec(vector.detach().numpy()).as_matrix()
    assert np.allclose(matrix.detach().numpy(), expected, atol=1e-9)
    back = G.axis_angle_to_matrix(G.matrix_to_axis_angle(matrix))  # at pi the axis may turn round
    assert torch.allclose(back, matrix, atol=1e-6)
    (weights,) = torch.autograd.grad((matrix * torch.arange(9.0).view(3, 3)).sum(), vector)
    assert torch.isfinite(weights).all()


def test_axis_angle_gradient_is_right_at_zero():
    zero = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    jacobian = torch.autograd.functional.jacobian(G.axis_angle_to_matrix, zero)
    generators = G.skew(torch.eye(3, dtype=torch.float64)).permute(1, 2, 0)
    assert torch.allclose(jacobian, generators)


def test_float32_stays_a_rotation():
    matrix = G.axis_angle_to_matrix(torch.from_numpy(random_rotations()).float())
    eye = torch.eye(3).expand_as(matrix)
    assert torch.allclose(matrix @ matrix.mT, eye, atol=2e-6)


def test_6d_reads_the_first_two_columns():
    matrix = G.axis_angle_to_matrix(torch.from_numpy(random_rotations()))
    numbers = matrix[..., :2].flatten(-2)  # row-major 3x2
    assert torch.allclose(G.rotation_6d_to_matrix(numbers), matrix, atol=1e-12)


def test_6d_of_anything_is_a_rotation():
    numbers = torch.randn(100, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    matrix = G.rotation_6d_to_matrix(numbers)
    assert torch.allclose(matrix @ matrix.mT, torch.eye(3, dtype=torch.float64), atol=1e-9)
    assert torch.allclose(torch.linalg.det(matrix), torch.ones(100, dtype=torch.float64))


@pytest.mark.parametrize("angle", [0.0, 1e-6, 0.3, 2.0, 3.14])
def test_geodesic_angle_is_the_angle_turned(angle):
    start = G.axis_angle_to_matrix(torch.from_numpy(random_rotations(20)))
    step = G.axis_angle_to_matrix(torch.tensor([0.0, angle, 0.0], dtype=torch.float64))
    found = G.geodesic_angle(start, start @ step)
    assert torch.allclose(found, torch.full((20,), angle, dtype=torch.float64), atol=1e-8)


def test_projection_of_a_known_point():
    K = torch.tensor([[1000.0, 0, 160], [0, 900, 120], [0, 0, 1]])
    pixels = G.project(torch.tensor([[0.1, -0.2, 2.0]]), K)
    assert torch.allclose(pixels, torch.tensor([[210.0, 30.0]]))


def test_back_projection_inverts_projection_with_a_full_camera():
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(4, 50, 3, dtype=torch.float64, generator=generator) + torch.tensor([-0.5, -0.5, 0.6])
    K = torch.tensor([[1000.0, 30, 160], [-20, 900, 120], [0, 0, 1]], dtype=torch.float64).expand(4, 3, 3)
    back = G.back_project(G.project(points, K), points[..., 2:], K)
    assert torch.allclose(back, points, atol=1e-12)


def test_weak_perspective():
    points = torch.tensor([[0.1, -0.05, 0.3]])
    assert torch.allclose(
        G.weak_perspective(points, torch.tensor([1000.0, 10, 20])), torch.tensor([[110.0, -30]])
    )


def test_similarity_alignment_undoes_a_similarity():
    generator = torch.Generator().manual_seed(0)
    source = torch.randn(3, 21, 3, dtype=torch.float64, generator=generator)
    turn = G.axis_angle_to_matrix(torch.from_numpy(random_rotations(3)))
    target = 1.7 * G.transform(turn, source) + torch.tensor([1.0, -2, 3])
    assert torch.allclose(G.similarity_align(source, target), target, atol=1e-9)


def test_similarity_alignment_never_reflects():
    generator = torch.Generator().manual_seed(0)
    source = torch.randn(21, 3, dtype=torch.float64, generator=generator)
    target = source * torch.tensor([-1.0, 1, 1])
    assert (G.similarity_align(source, target) - target).norm(dim=-1).mean() > 0.1
