"""The rasteriser against known values and against an independent ray caster."""

import numpy as np
import pytest
import torch
import trimesh
from trimesh.ray.ray_pyembree import RayMeshIntersector

from common.hand.mano import load_mano
from common.utils.geometry import axis_angle_to_matrix, project
from common.utils.render import (
    interpolate,
    join_meshes,
    overlay,
    rasterize,
    shade,
    silhouettes,
    vertex_normals,
    visible_masks,
)

SIZE = (128, 128)
K = torch.tensor([[240.0, 0, 64], [0, 240, 63], [0, 0, 1]])


def to_pixels(verts: torch.Tensor) -> torch.Tensor:
    """Camera points (..., V, 3) -> u, v, depth."""
    return torch.cat((project(verts, K), verts[..., 2:]), -1)


def bumpy_spheres(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two overlapping lumpy spheres in front of the camera: (2,V,3), (2,F,3)."""
    ball = trimesh.creation.icosphere(subdivisions=3)
    generator = torch.Generator().manual_seed(seed)
    verts = torch.tensor(np.asarray(ball.vertices), dtype=torch.float32).repeat(2, 1, 1)
    frequency = 3 * torch.randn(2, 3, 3, generator=generator)
    verts = verts * (0.1 + 0.02 * torch.sin(verts @ frequency).sum(-1, keepdim=True))
    turn = axis_angle_to_matrix(torch.randn(2, 3, generator=generator))
    offset = torch.tensor([[-0.05, 0, 0.8], [0.06, 0.02, 0.85]])
    faces = torch.tensor(np.asarray(ball.faces)).repeat(2, 1, 1)
    return verts @ turn.transpose(1, 2) + offset[:, None], faces


def two_hands(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Both hands in random poses, about the size of the picture, touching or overlapping."""
    hands = load_mano()
    generator = torch.Generator().manual_seed(seed)
    pose = 0.4 * torch.randn(1, 2, 16, 3, generator=generator)
    pose[:, :, 0] = 2 * torch.randn(1, 2, 3, generator=generator)
    verts, _ = hands(pose, torch.randn(1, 2, 10, generator=generator))
    offset = torch.tensor([0.0, 0, 0.5]) + 0.03 * torch.randn(2, 3, generator=generator)
    return verts[0] - verts[0].mean(1, keepdim=True) + offset[:, None], hands.faces


@pytest.mark.parametrize("scene", [bumpy_spheres, two_hands])
@pytest.mark.parametrize("seed", range(3))
def test_equals_ray_caster(scene, seed):
    """At least 99.5 % of the face ids equal embree's away from edges."""
    v, u = torch.meshgrid(torch.arange(SIZE[0]), torch.arange(SIZE[1]), indexing="ij")
    rays = torch.stack((u, v, torch.ones_like(u)), -1).float().view(-1, 3) @ torch.linalg.inv(K).T
    verts, faces = scene(seed)
    joined, triangles = join_meshes(verts[None], faces)
    fragments = rasterize(to_pixels(joined), triangles, SIZE)
    mesh = trimesh.Trimesh(joined[0].numpy(), triangles.numpy(), process=False)
    hit = RayMeshIntersector(mesh).intersects_first(np.zeros((len(rays), 3)), rays.numpy())
    face, inner = fragments.face.view(-1), fragments.bary.view(-1, 3).amin(1) > 0.02
    assert inner.sum() > 500
    assert (face == torch.tensor(hit))[inner].float().mean() > 0.995
    assert (fragments.mask.view(-1) == torch.tensor(hit >= 0)).float().mean() > 0.995


def test_pixels_of_a_triangle():
    points = torch.tensor([[[10.0, 10, 1], [20, 10, 1], [10, 20, 1]]])
    fragments = rasterize(points, torch.tensor([[0, 1, 2]]), (32, 32))
    assert fragments.mask.sum() == 11 * 12 // 2  # borders included, as the centres lie on them
    assert fragments.mask[0, 10, 10] and not fragments.mask[0, 21, 10]
    assert torch.isinf(fragments.depth[0, 0, 0]) and fragments.face[0, 0, 0] == -1


def test_halves_of_a_square_leave_no_hole():
    points = torch.tensor([[[3.3, 4.1, 1], [25.2, 3.7, 1], [27.9, 26.6, 2], [2.2, 28.4, 3]]])
    square = rasterize(points, torch.tensor([[0, 1, 2], [0, 2, 3]]), (32, 32)).mask
    other = rasterize(points, torch.tensor([[0, 1, 3], [1, 2, 3]]), (32, 32)).mask
    assert torch.equal(square, other)
    assert square[0, 6:24, 6:24].all()


def test_depth_and_weights_of_a_plane():
    verts = torch.tensor([[[-0.2, -0.2, 0.5], [0.4, -0.2, 1.0], [-0.2, 0.4, 1.0]]])
    faces = torch.tensor([[0, 1, 2]])
    fragments = rasterize(to_pixels(verts), faces, SIZE)
    where = fragments.mask[0].nonzero()
    assert len(where) > 500
    place = interpolate(fragments, faces, verts)[0][fragments.mask[0]]  # 3-D points at the pixels
    torch.testing.assert_close(place[:, 2], fragments.depth[fragments.mask], atol=1e-5, rtol=0)
    pixels = project(place, K)
    torch.testing.assert_close(pixels, where.flip(1).float(), atol=2e-3, rtol=0)


def test_weak_perspective_is_affine():
    points = torch.tensor([[[4.0, 4, -1], [28, 4, 1], [4, 28, 3]]])
    faces = torch.tensor([[0, 1, 2]])
    fragments = rasterize(points, faces, (32, 32), perspective=False)
    torch.testing.assert_close(fragments.depth[0, 4, 16], torch.tensor(0.0), atol=1e-5, rtol=0)
    torch.testing.assert_close(fragments.bary[0, 16, 4], torch.tensor([0.5, 0, 0.5]))


def test_nearest_wins_and_behind_is_dropped():
    square = torch.tensor([[4.0, 4], [28, 4], [4, 28]])
    depth = torch.tensor([2.0, 1.0, -1.0]).repeat_interleave(3)[:, None]
    points = torch.cat((square.repeat(3, 1), depth), 1)[None]
    fragments = rasterize(points, torch.arange(9).view(3, 3), (32, 32))
    assert (fragments.face[fragments.mask] == 1).all()


def test_batch_equals_single_and_empty_scene():
    scenes = [bumpy_spheres(seed) for seed in range(3)]
    faces = scenes[0][1]
    points = to_pixels(torch.stack([verts for verts, _ in scenes]))
    points[2] += 1000
    joined, triangles = join_meshes(points, faces)
    together = rasterize(joined, triangles, SIZE)
    for i in range(3):
        alone = rasterize(joined[i : i + 1], triangles[None], SIZE)
        assert torch.equal(alone.face[0], together.face[i])
        assert torch.equal(alone.bary[0], together.bary[i])
    assert not together.mask[2].any()
    assert (together.bary[2] == 0).all()


def test_closed_meshes_need_no_back_faces():
    verts, faces = bumpy_spheres(2)
    joined, triangles = join_meshes(to_pixels(verts)[None], faces)
    both = rasterize(joined, triangles, SIZE)
    front = rasterize(joined, triangles, SIZE, closed=True)
    assert (both.face == front.face).float().mean() > 0.999
    assert not rasterize(joined, triangles.flip(1), SIZE, closed=True).face.eq(both.face).all()


def test_silhouettes_contain_the_visible_pixels():
    verts, faces = bumpy_spheres(0)
    points = to_pixels(verts)[None]
    joined, triangles = join_meshes(points, faces)
    visible = visible_masks(rasterize(joined, triangles, SIZE).face, faces.shape[1], 2)
    whole = silhouettes(points, faces, SIZE)
    assert (whole | ~visible).all()
    assert torch.equal(whole.any(1), visible.any(1))
    assert whole.sum() > visible.sum()


def test_normals_shading_and_overlay():
    verts, faces = bumpy_spheres(1)
    ball = torch.nn.functional.normalize(verts[:1] - verts[:1].mean(1, keepdim=True), dim=-1)
    assert ((vertex_normals(ball, faces[0]) * ball).sum(-1) > 0.95).all()
    light = torch.tensor([0.0, 0, -1])
    color = shade(torch.tensor([0.0, 0, 1]), torch.ones(3), light, ambient=0.2)
    torch.testing.assert_close(color, torch.ones(3))
    images = torch.rand(1, 3, *SIZE)
    colors = torch.tensor([[1.0, 0, 0], [0, 0, 1]])
    drawn = overlay(images, to_pixels(verts)[None], verts[None], faces, colors, alpha=1.0)
    whole = silhouettes(to_pixels(verts)[None], faces, SIZE).any(1)
    assert torch.equal(drawn.movedim(1, -1)[~whole], images.movedim(1, -1)[~whole])
    assert (drawn.movedim(1, -1)[whole][:, 1] == 0).all()
    only = overlay(
        images, to_pixels(verts)[None], verts[None], faces, colors, 1.0, valid=torch.tensor([[1.0, 0]])
    )
    assert (only != drawn).any()
