"""Triangle meshes as files that other programs open: PLY and GLB (OBJ: files.py)."""

import json
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.utils.files import write_bytes

GLTF_FLOAT, GLTF_UINT = 5126, 5125  # component types, buffer targets and chunk types as glTF 2.0 numbers them
GLTF_VERTICES, GLTF_INDICES = 34962, 34963
GLB_MAGIC, GLB_JSON, GLB_BINARY = 0x46546C67, 0x4E4F534A, 0x004E4942
# glTF looks along -z with y up, OpenCV along +z with y down: half a turn about x, column by column
OPENCV_TO_GLTF = [1, 0, 0, 0, 0, -1, 0, 0, 0, 0, -1, 0, 0, 0, 0, 1]


@dataclass(frozen=True)
class Mesh:
    """A mesh in camera axes (x right, y down, z forward), metres."""

    name: str
    verts: NDArray  # (V,3)
    faces: NDArray  # (F,3) counted from 0
    color: tuple[float, float, float]  # RGB, 0 to 1


def write_ply(path: Path, meshes: list[Mesh], comments: tuple[str, ...] = ()) -> None:
    """All meshes in one binary PLY, axes as given, a colour per vertex."""
    vertex = np.concatenate([_ply_vertices(mesh) for mesh in meshes])
    starts = np.cumsum([0, *(len(mesh.verts) for mesh in meshes)])
    faces = np.concatenate([mesh.faces + start for mesh, start in zip(meshes, starts[:-1], strict=True)])
    face = np.zeros(len(faces), [("count", "u1"), ("corners", "<i4", 3)])
    face["count"], face["corners"] = 3, faces
    header = ["ply", "format binary_little_endian 1.0", *(f"comment {comment}" for comment in comments)]
    header += [f"element vertex {len(vertex)}", *(f"property float {axis}" for axis in "xyz")]
    header += [f"property uchar {channel}" for channel in ("red", "green", "blue")]
    header += [f"element face {len(face)}", "property list uchar int vertex_indices", "end_header"]
    write_bytes(
        path, ("\n".join(header) + "\n").encode("ascii", "replace") + vertex.tobytes() + face.tobytes()
    )


def _ply_vertices(mesh: Mesh) -> NDArray:
    vertex = np.zeros(len(mesh.verts), [("place", "<f4", 3), ("color", "u1", 3)])
    vertex["place"], vertex["color"] = mesh.verts, np.round(255 * np.array(mesh.color))
    return vertex


def write_glb(path: Path, meshes: list[Mesh], generator: str = "LGNet") -> None:
    """One binary glTF 2.0 scene: a node per mesh below a root that turns OpenCV's axes to glTF's."""
    buffers: list[bytes] = []
    views, accessors, materials, shapes = [], [], [], []
    nodes = [{"name": "camera", "matrix": OPENCV_TO_GLTF, "children": []}]
    for number, mesh in enumerate(meshes):
        verts, faces = mesh.verts.astype("<f4"), mesh.faces.astype("<u4")
        for values, target in ((verts, GLTF_VERTICES), (faces, GLTF_INDICES)):
            start = sum(len(part) for part in buffers)
            views.append({"buffer": 0, "byteOffset": start, "byteLength": values.nbytes, "target": target})
            buffers.append(values.tobytes())  # of 4-byte numbers, so every start is aligned
        low, high = verts.min(0).tolist(), verts.max(0).tolist()
        place = {"bufferView": 2 * number, "componentType": GLTF_FLOAT, "count": len(verts), "type": "VEC3"}
        corner = {"bufferView": 2 * number + 1, "componentType": GLTF_UINT, "count": faces.size}
        accessors += [{**place, "min": low, "max": high}, {**corner, "type": "SCALAR"}]
        paint = {"baseColorFactor": [*mesh.color, 1.0], "metallicFactor": 0.0, "roughnessFactor": 0.7}
        materials.append({"name": mesh.name, "doubleSided": True, "pbrMetallicRoughness": paint})
        primitive = {"attributes": {"POSITION": 2 * number}, "indices": 2 * number + 1, "material": number}
        shapes.append({"name": mesh.name, "primitives": [primitive]})
        nodes[0]["children"].append(len(nodes))
        nodes.append({"name": mesh.name, "mesh": number})
    binary = b"".join(buffers)
    scene = {
        "asset": {"version": "2.0", "generator": generator},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": nodes,
        "meshes": shapes,
        "materials": materials,
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": len(binary)}],
    }
    write_bytes(path, _glb(scene, binary))


def _glb(scene: dict, binary: bytes) -> bytes:
    text = json.dumps(scene).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<II", len(text), GLB_JSON) + text
    chunks += struct.pack("<II", len(binary), GLB_BINARY) + binary
    return struct.pack("<III", GLB_MAGIC, 2, 12 + len(chunks)) + chunks
