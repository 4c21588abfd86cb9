"""Penetration and contact against geometry known by formula, a boolean library, embree and SciPy."""

import math

import numpy as np
import pytest
import torch
import trimesh
from scipy.spatial import cKDTree

from common.eval.contact import contact_deviation, penetration, touching_pairs
from common.hand.joints import RIGHT
from common.utils.geometry import axis_angle_to_matrix


def two_meshes(*meshes: trimesh.Trimesh) -> tuple[torch.Tensor, torch.Tensor]:
    """Vertices (1,2,V,3) float64 and faces (2,F,3) of two meshes of equal counts."""
    verts, faces = (np.stack([getattr(m, name) for m in meshes]) for name in ("vertices", "faces"))
    return torch.tensor(verts)[None], torch.tensor(faces)


def box(side: float, centre: tuple[float, float, float] = (0, 0, 0)) -> trimesh.Trimesh:
    return trimesh.creation.box([side] * 3).apply_translation(centre)


def pushed(hands, gap: float, count: int = 2, seed: int = 0) -> torch.Tensor:
    """Nearly flat, turned hands (B,2,778,3) in the camera, their centres `gap` metres apart along y."""
    generator = torch.Generator().manual_seed(seed)
    pose = 0.05 * torch.randn(count, 2, 16, 3, generator=generator)
    pose[:, :, 0] *= 6
    verts, _ = hands(pose, torch.randn(count, 2, 10, generator=generator))
    place = torch.tensor([[0, 0, 0.6], [0.004, gap, 0.603]])
    return verts - verts.mean(2, keepdim=True) + place[:, None]


def solid(verts: torch.Tensor, faces: torch.Tensor) -> trimesh.Trimesh:
    """A hand (778,3) with its wrist closed by a fan: the rim's edges are those that run one way only."""
    edges = {(int(f[i]), int(f[i - 2])) for f in faces for i in range(3)}
    rim = [(b, a, len(verts)) for a, b in edges if (b, a) not in edges]
    centre = verts[[a for a, _, _ in rim]].mean(0, keepdim=True)
    mesh = trimesh.Trimesh(torch.cat((verts, centre)), np.concatenate((faces, rim)), process=False)
    assert mesh.is_watertight and mesh.volume > 0 and len(rim) == 16
    return mesh


def same(a: dict, b: dict, tolerance: float) -> None:
    assert a.keys() == b.keys()
    for key in a:
        torch.testing.assert_close(a[key], b[key], rtol=0, atol=tolerance)


@pytest.mark.parametrize("distance", [0.02, 0.04, 0.055])
def test_spheres(distance):
    """The lens that two spheres share, and its thickness."""
    radius = 0.03
    ball = trimesh.creation.icosphere(subdivisions=4, radius=radius)
    towards = ball.vertices[0] / radius  # so that the deepest point is a vertex
    found = penetration(*two_meshes(ball, ball.copy().apply_translation(distance * towards)))
    lens = math.pi * (4 * radius + distance) * (2 * radius - distance) ** 2 / 12
    assert found["volume"].item() == pytest.approx(1e6 * lens, rel=0.02)  # the meshes are a little smaller
    assert found["depth_max"].item() == pytest.approx(1e3 * min(distance, 2 * radius - distance), abs=0.05)


@pytest.mark.parametrize("wrist", [False, True])
def test_cube_in_cube(wrist):
    """Exact: the inner cube's 8 of 16 vertices are 30 mm from the outer one's sides.

    With one side left out as a wrist the volumes stay, but that side, 10 mm away, is no way out.
    """
    meshes = box(0.04, (0.02 * wrist, 0, 0.5)), box(0.1, (0, 0, 0.5))
    for mesh in meshes:
        mesh.update_faces(mesh.face_normals[:, 0] < (0.5 if wrist else 2))
        assert mesh.is_watertight != wrist
    found = penetration(*two_meshes(*meshes))
    assert [found[key].item() for key in ("volume", "depth_mean", "depth_max")] == pytest.approx([64, 15, 30])


def test_lines_through_edges_and_corners():
    """Lines at 0, +-8, +-16 mm run exactly through corners and edges of an octahedron of 20 mm."""
    inner = trimesh.convex.convex_hull(0.02 * np.concatenate((np.eye(3), -np.eye(3))))
    outer = inner.copy().apply_scale(5)
    at = 8 * np.abs(np.arange(-2, 3))
    lengths = 2 * (20 - at[:, None] - at).clip(0)
    found = penetration(*two_meshes(inner, outer), pitch=0.008)
    assert found["volume"].item() == pytest.approx(lengths.sum() * 8 * 8 / 1e3)
    assert found["depth_mean"].item() == pytest.approx((100 - 20) / math.sqrt(3) / 2)


def test_shifted_cubes_and_swap():
    """A corner of 10 x 20 x 30 mm; one vertex of each is 10 mm deep. Which hand is first changes nothing."""
    meshes = box(0.04), box(0.04, (0.03, 0.02, 0.01))
    found, swapped = (penetration(*two_meshes(*pair)) for pair in (meshes, meshes[::-1]))
    values = [found[key].item() for key in ("volume", "depth_mean", "depth_max")]
    assert values == pytest.approx([6, 2 * 10 / 16, 10])
    same(found, swapped, 1e-9)


def test_self_intersection_counts_once():
    """Two cubes that overlap by half are one hand, both inside the other: their union's 96 cm3."""
    first = box(0.04) + box(0.04, (0.02, 0, 0))
    second = box(0.2) + box(0.01, (0, 0.5, 0))
    found = penetration(*two_meshes(first, second))
    assert found["volume"].item() == pytest.approx(96)


@pytest.mark.parametrize("gap", [0.04, 0.03, 0.02])
def test_hands_against_libraries(hands, gap):
    """Volume: manifold3d's boolean. Depth: embree says what is inside, SciPy how far dense points are."""
    verts, faces = pushed(hands, gap, 1), hands.faces
    found = penetration(verts, faces)
    solids = [solid(verts[0, hand].double(), faces[hand]) for hand in range(2)]
    volume = 1e6 * trimesh.boolean.intersection(solids, engine="manifold").volume
    assert volume > 1
    assert found["volume"].item() == pytest.approx(volume, rel=3e-3, abs=0.02)
    assert penetration(verts, faces, 2.5e-4)["volume"].item() == pytest.approx(volume, rel=3e-4)
    weights = torch.tensor([(i, j, 12 - i - j) for i in range(13) for j in range(13 - i)]).double() / 12
    depth = np.zeros((2, 778))
    for hand, other in enumerate(reversed(solids)):
        points = solids[hand].vertices[:778]
        dense = (weights @ torch.tensor(other.triangles[:1538].copy())).flatten(0, 1)  # skin only
        inside = other.contains(points)
        depth[hand, inside] = 1e3 * cKDTree(dense).query(points[inside])[0]
    for key, expected in (("depth_mean", depth.mean()), ("depth_max", depth.max())):
        # points 0.4 mm apart are never nearer than the surface, and little farther
        assert expected - 0.02 < found[key].item() < expected


def test_turning_and_moving_changes_little(hands):
    verts = pushed(hands, 0.05).double()
    found = penetration(verts, hands.faces)
    turn = axis_angle_to_matrix(torch.tensor([0.7, -1.1, 0.4], dtype=torch.float64))
    moved = penetration(verts @ turn.T + torch.tensor([0.1, -0.2, 0.3]), hands.faces)
    assert found["volume"].min() > 1
    torch.testing.assert_close(moved["volume"], found["volume"], rtol=5e-3, atol=0.02)
    for key in ("depth_mean", "depth_max"):  # these are exact
        torch.testing.assert_close(moved[key], found[key])


def test_batch_equals_single_and_apart_is_zero(hands):
    """Hands apart give exactly 0, between others too, and also where only their boxes overlap."""
    corners = torch.tensor([[0.0, 0, 0.5], [0.05, 0.05, 0.55]])
    apart = pushed(hands, 0.5, 1)
    verts = torch.cat([pushed(hands, 0.04, 1), apart, pushed(hands, 0.03, 1, seed=1)])
    found = penetration(verts, hands.faces)
    assert all(value[1] == 0 for value in found.values()) and (found["volume"][[0, 2]] > 1).all()
    for i in range(3):
        same(penetration(verts[i : i + 1], hands.faces), {k: v[i : i + 1] for k, v in found.items()}, 0)
    ball = trimesh.creation.icosphere(subdivisions=2, radius=0.04)
    near = penetration(*two_meshes(*(ball.copy().apply_translation(c) for c in corners)))
    assert all(value.item() == 0 for value in near.values())


def test_contact_deviation(hands):
    """The pairs of a KD-tree; the second sample has none; the truth itself deviates by less than 3 mm."""
    truth = torch.cat([pushed(hands, 0.05, 1), pushed(hands, 0.5, 1), pushed(hands, 0.06, 1, seed=1)])
    verts = truth + 0.01 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    value = contact_deviation(verts, touching_pairs(truth))
    assert torch.isnan(value).tolist() == [False, True, False]
    for i in (0, 2):
        near, partner = cKDTree(truth[i, 1 - RIGHT].double()).query(truth[i, RIGHT].double())
        pairs = verts[i, RIGHT] - verts[i, 1 - RIGHT, partner]
        expected = 1e3 * pairs[near < 0.003].norm(dim=1).mean()
        assert value[i].item() == pytest.approx(expected.item(), rel=1e-5)
    kept = contact_deviation(truth, touching_pairs(truth))
    assert 0 < kept[[0, 2]].max() < 3


def test_contact_threshold():
    """Vertices 0.8 mm apart along each axis, 1.39 mm in all, touch at 3 mm but not at 1 mm."""
    truth, _ = two_meshes(box(0.04), box(0.04, (0.0408, 0.0008, 0.0008)))
    verts = truth + torch.tensor([[0.0, 0, 0], [0.005, 0, 0]]).double()[:, None]
    value = contact_deviation(verts, touching_pairs(truth))
    assert value.item() == pytest.approx(math.hypot(5.8, 0.8, 0.8))
    assert not len(touching_pairs(truth, threshold=0.001).sample)


def test_contact_of_a_hand_without_numbers():
    """A true hand that is not finite touches nothing; a predicted one leaves its sample without a value."""
    pair, _ = two_meshes(box(0.04), box(0.04, (0.0408, 0.0008, 0.0008)))
    truth = pair.repeat(3, 1, 1, 1)
    verts = truth.clone()
    truth[0, 1, 0], verts[2, 0] = torch.nan, torch.nan
    value = contact_deviation(verts, touching_pairs(truth))
    assert torch.isnan(value).tolist() == [True, False, True]
