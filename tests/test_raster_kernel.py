"""The Triton kernel gives the plain path's faces: interpreted on a CPU, compiled where there is a GPU."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from common.utils import raster
from common.utils.geometry import project

pytest.importorskip("triton")
from common.utils import raster_kernel  # noqa: E402

SIZE = (40, 48)
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"  # has to be said before triton is imported
runs_here = pytest.mark.skipif(
    not (torch.cuda.is_available() or INTERPRETED), reason="needs a GPU, or triton's interpreter"
)
DEVICE = "cpu" if INTERPRETED else "cuda"


@pytest.mark.skipif(torch.cuda.is_available() or INTERPRETED, reason="the tests below run by themselves")
def test_everything_below_interpreted():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    root = Path(__file__).parents[1]
    done = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]


def triangles(batch=2, count=70):
    """Faces of all sizes, some beyond the border, behind the camera, degenerate or not finite."""
    generator = torch.Generator().manual_seed(0)
    middle = torch.rand(batch, count, 1, 3, generator=generator) * torch.tensor([60.0, 50.0, 2.0])
    spread = torch.tensor([8.0, 8.0, 0.3]) * torch.randn(batch, count, 3, 3, generator=generator)
    corners = middle - torch.tensor([6.0, 5.0, 0.2]) + spread
    corners[0, 0] = torch.nan
    corners[0, 1, 1] = corners[0, 1, 0]
    corners[1, 2, :, 1] = corners[1, 2, 0, 1].round()  # flat, on a row
    faces = torch.arange(3 * count).view(count, 3)
    return corners.flatten(1, 2), faces


@runs_here
@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("perspective", [False, True])
def test_faces_are_those_of_the_plain_path(perspective, closed):
    points, faces = (values.to(DEVICE) for values in triangles())
    expected = raster.nearest_face(points, faces, SIZE, perspective, closed)
    result = raster_kernel.nearest_face(points, faces, SIZE, perspective, closed)
    assert result.dtype == torch.int64 and (expected >= 0).float().mean() > 0.3
    # a compiler may fuse a product and a sum: pixels on an edge may change sides
    assert (result != expected).float().mean() < (1e-3 if DEVICE == "cuda" else 1e-9)


@runs_here
def test_a_hand_in_a_camera(hands):
    eye = torch.eye(3).expand(1, 2, 16, 3, 3)
    verts = hands.skin(eye, torch.zeros(1, 2, 10))[:, 0] + torch.tensor([0.0, 0.0, 0.6])
    K = torch.tensor([[[90.0, 0, 16], [0, 90.0, 20], [0, 0, 1]]])
    points = torch.cat([project(verts, K), verts[..., 2:]], -1).to(DEVICE)
    expected = raster.nearest_face(points, hands.faces[0].to(DEVICE), SIZE)
    result = raster_kernel.nearest_face(points, hands.faces[0].to(DEVICE), SIZE)
    assert (expected >= 0).sum() > 50
    assert (result != expected).float().mean() < 1e-3
