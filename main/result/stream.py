"""Both hands of a frame as one UDP datagram; docs/udp.md describes every byte.

sender = UdpSender("9000")  # or "HOST:PORT"
sender.send(encode(hands, frame=0, seconds=time.time()))
"""

import numpy as np
import torch
from numpy.typing import NDArray

from common.utils.geometry import matrix_to_quaternion
from main.result.hand_values import HandValues

MAGIC, VERSION = b"LGN2", 1
METRIC = 4  # in `flags`, beside 1 for the right and 2 for the left hand

HAND = np.dtype(
    [
        ("probability", "<f4"),
        ("wrist_position", "<f4", 3),
        ("wrist_rotation", "<f4", 4),
        ("joints", "<f4", (21, 3)),
        ("mano_pose", "<f4", (16, 3)),
        ("mano_shape", "<f4", 10),
    ]
)
DATAGRAM = np.dtype(
    [
        ("magic", "S4"),
        ("version", "<u2"),
        ("flags", "<u2"),
        ("frame", "<u4"),
        ("image_width", "<u2"),
        ("image_height", "<u2"),
        ("time", "<f8"),
        ("camera", "<f4", 4),
        ("hands", HAND, 2),
    ]
)


def encode(hands: HandValues, frame: int, seconds: float) -> bytes:
    """A frame's hands as the DATAGRAM.itemsize bytes of docs/udp.md; a hand that is absent is all 0 but for
    its probability. frame: counted from 0; seconds: since 1970."""
    datagram = np.zeros((), DATAGRAM)
    datagram["magic"], datagram["version"] = MAGIC, VERSION
    right, left = (bool(present) for present in hands.is_present)
    camera = hands.camera
    datagram["flags"] = right + 2 * left + METRIC * (camera.source == "given")
    datagram["frame"], datagram["time"] = frame % 2**32, seconds
    datagram["image_width"], datagram["image_height"] = hands.image_size
    datagram["camera"] = camera.fx, camera.fy, camera.cx, camera.cy
    block = datagram["hands"]
    block["probability"] = hands.present
    poses = hands.wrist_poses
    values = {
        "wrist_position": poses[:, :3, 3],
        "wrist_rotation": quaternions(poses[:, :3, :3]),
        "joints": hands.joints_cam,
        "mano_pose": hands.pose_cam,
        "mano_shape": hands.shape,
    }
    for name, value in values.items():
        block[name][hands.is_present] = value[hands.is_present]
    return datagram.tobytes()


def quaternions(rotations: NDArray) -> NDArray[np.float32]:
    """(N,3,3) -> (N,4) x, y, z, w, w not negative."""
    real_first = matrix_to_quaternion(torch.from_numpy(np.ascontiguousarray(rotations)))
    return real_first.roll(-1, -1).numpy()
