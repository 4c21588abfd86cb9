"""Both hands of a frame as one UDP datagram; docs/udp.md describes every byte.

stream = UdpStream("9000")  # or "HOST:PORT"
stream.send(hands, frame=0, seconds=time.time())
"""

import socket

import numpy as np
import torch

from common.utils.errors import UserError
from common.utils.geometry import axis_angle_to_matrix, matrix_to_quaternion
from main.predictor import TwoHands

LOOPBACK = "127.0.0.1"
MAGIC, VERSION = b"LGN2", 1
BOTH_PLACED = 4  # in `flags`, beside 1 for the right and 2 for the left hand

HAND = np.dtype(
    [
        ("probability", "<f4"),
        ("wrist_position", "<f4", 3),
        ("wrist_rotation", "<f4", 4),
        ("camera", "<f4", 3),
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
        ("rel_trans", "<f4", 3),
        ("hands", HAND, 2),
    ]
)


def encode(hands: TwoHands, frame: int, seconds: float) -> bytes:
    """A frame's hands as the DATAGRAM.itemsize bytes of docs/udp.md; a hand that is absent is all 0 but for
    its probability. frame: counted from 0; seconds: since 1970, when the picture was taken."""
    datagram = np.zeros((), DATAGRAM)
    datagram["magic"], datagram["version"] = MAGIC, VERSION
    right, left = (bool(present) for present in hands.is_present)
    both = right and left and hands.rel_trans is not None
    datagram["flags"] = right + 2 * left + BOTH_PLACED * both
    datagram["frame"], datagram["time"] = frame % 2**32, seconds
    datagram["image_width"], datagram["image_height"] = hands.image_size
    if both:
        datagram["rel_trans"] = hands.rel_trans
    block = datagram["hands"]
    block["probability"] = hands.present
    values = {
        "wrist_position": hands.wrists,
        "wrist_rotation": wrist_quaternions(hands),
        "camera": hands.cam_in_picture,
        "joints": hands.joints,
        "mano_pose": hands.pose,
        "mano_shape": hands.shape,
    }
    for name, value in values.items():
        block[name][hands.is_present] = value[hands.is_present]
    return datagram.tobytes()


def wrist_quaternions(hands: TwoHands) -> np.ndarray:
    """(2,4) x, y, z, w of the wrists' rotations in camera axes, w not negative."""
    matrices = axis_angle_to_matrix(torch.from_numpy(np.ascontiguousarray(hands.pose[:, 0])))
    return matrix_to_quaternion(matrices).roll(-1, -1).numpy()  # the real part comes first there


class UdpStream:
    """Sends datagrams to one receiver, and never waits or fails for it."""

    def __init__(self, address: str):
        """address: PORT, of this machine, or HOST:PORT; UserError if it is none."""
        self.family, self.target = parse_address(address)
        self.socket = socket.socket(self.family, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.sent, self.lost = (0, 0)  # lost: not even sent

    def send(self, hands: TwoHands, frame: int, seconds: float) -> None:
        """A frame that cannot be sent now is dropped: the next one is worth more."""
        try:
            self.socket.sendto(encode(hands, frame, seconds), self.target)
            self.sent += 1
        except OSError:  # nobody listens, no route, a full buffer
            self.lost += 1

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> "UdpStream":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def parse_address(text: str) -> tuple[socket.AddressFamily, tuple]:
    """PORT, HOST:PORT or [IPv6]:PORT -> address family and socket address; without a host, this machine."""
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise UserError(f"--udp {text}: give PORT, or HOST:PORT, with a port from 1 to 65535")
    host = host.removeprefix("[").removesuffix("]") or LOOPBACK
    try:
        family, _, _, _, target = socket.getaddrinfo(host, int(port), type=socket.SOCK_DGRAM)[0]
    except (OSError, UnicodeError):
        raise UserError(f"--udp {text}: there is no host {host}") from None
    return family, target
