"""Pictures of meshes: attributes at pixels, silhouettes, smooth shading and overlays.

The rasteriser itself is `common.utils.raster`; use it through the names below.

Legend: B pictures, M meshes, V vertices, F faces, H x W pixels, P covered pixels.
"""

import torch
from torch import Tensor
from torch.nn import functional

from common.utils.raster import Fragments, coverage, gather_corners, rasterize


def interpolate(fragments: Fragments, faces: Tensor, attributes: Tensor) -> Tensor:
    """Vertex attributes (B,V,C) at the pixels: (B,H,W,C), 0 for the background."""
    pixel, mixed = at_pixels(fragments, faces, attributes)
    image = mixed.new_zeros(fragments.face.numel(), mixed.shape[1]).index_copy(0, pixel, mixed)
    return image.view(*fragments.face.shape, -1)


def at_pixels(fragments: Fragments, faces: Tensor, attributes: Tensor) -> tuple[Tensor, Tensor]:
    """The same for covered pixels only: their places (P,) among the B H W pixels, values (P,C)."""
    pixel = fragments.mask.view(-1).nonzero().squeeze(1)
    picture = pixel.div(fragments.face[0].numel(), rounding_mode="floor")
    face = fragments.face.view(-1).index_select(0, pixel)
    corner = faces.index_select(0, face) if faces.dim() == 2 else faces[picture, face]  # (P,3)
    corner = corner + (picture * attributes.shape[1])[:, None]
    weights = fragments.bary.view(-1, 3).index_select(0, pixel)
    # A gather and a weighted sum in one kernel: three times faster than in steps.
    return pixel, functional.embedding_bag(
        corner, attributes.flatten(0, 1), per_sample_weights=weights, mode="sum"
    )


def vertex_normals(verts: Tensor, faces: Tensor) -> Tensor:
    """Unit normals (B,V,3): means over the faces around each vertex, weighted by area."""
    first, second, third = gather_corners(verts, faces).unbind(2)  # (B,F,3) each
    normal = torch.linalg.cross(second - first, third - first)
    index = faces.expand(len(verts), -1, -1)
    total = torch.zeros_like(verts)
    for k in range(3):
        total.scatter_add_(1, index[..., k, None].expand_as(normal), normal)
    return functional.normalize(total, dim=-1, eps=1e-20)


def join_meshes(points: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
    """M meshes as one: points (B,M,V,C), faces (M,F,3) -> (B,MV,C), (MF,3); f of m is m F + f."""
    offset = torch.arange(len(faces), device=faces.device) * points.shape[2]
    return points.flatten(1, 2), (faces + offset[:, None, None]).flatten(0, 1)


def visible_masks(face: Tensor, faces_per_mesh: int, meshes: int) -> Tensor:
    """Pixels (B,M,H,W) bool where each mesh of a joined scene is the nearest; face (B,H,W)."""
    owner = face.div(faces_per_mesh, rounding_mode="floor")
    return owner[:, None] == torch.arange(meshes, device=owner.device)[:, None, None]


def silhouettes(points: Tensor, faces: Tensor, size: tuple[int, int], perspective: bool = True) -> Tensor:
    """Mask (B,M,H,W) bool of each mesh drawn alone; points (B,M,V,3) u, v, depth; faces (M,F,3)."""
    batch, meshes = points.shape[:2]
    mask = coverage(points.flatten(0, 1), faces.repeat(batch, 1, 1), size, perspective)
    return mask.view(batch, meshes, *size)


def shade(normals: Tensor, albedo: Tensor, light: Tensor, ambient: float = 0.35) -> Tensor:
    """Two-sided smooth shading seen along +z; (...,3) normals, albedo, directions to the light."""
    normals = functional.normalize(normals, dim=-1, eps=1e-6)
    normals = torch.where(normals[..., 2:] > 0, -normals, normals)
    diffuse = (normals * light).sum(-1, keepdim=True).clamp(min=0)
    return albedo * (ambient + (1 - ambient) * diffuse)


def overlay(
    images: Tensor,
    points: Tensor,
    verts: Tensor,
    faces: Tensor,
    colors: Tensor,
    alpha: float = 0.7,
    perspective: bool = True,
    valid: Tensor | None = None,
) -> Tensor:
    """M coloured meshes drawn over pictures (B,3,H,W) in [0,1].

    points (B,M,V,3): u, v, depth; verts (B,M,V,3): in the camera, for the shading only; faces (M,F,3);
    colors (M,3) RGB in [0,1]; valid (B,M): meshes with 0 are left out.
    """
    if valid is not None:
        points = torch.where(valid[..., None, None] > 0, points, torch.nan)
    joined, triangles = join_meshes(points, faces)
    fragments = rasterize(joined, triangles, tuple(images.shape[-2:]), perspective)
    normals = interpolate(fragments, triangles, vertex_normals(verts.float().flatten(1, 2), triangles))
    owner = fragments.face.clamp(min=0).div(faces.shape[1], rounding_mode="floor")  # (B,H,W)
    light = functional.normalize(images.new_tensor((-0.3, -0.5, -0.8)), dim=0)
    color = shade(normals, colors[owner], light).clamp(0, 1).movedim(-1, 1)
    return torch.where(fragments.mask[:, None], (1 - alpha) * images + alpha * color, images)
