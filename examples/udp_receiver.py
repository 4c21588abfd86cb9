"""Prints the hands that `python main/demo.py --udp 9000` sends. Python's own library is enough.

python examples/udp_receiver.py [PORT]
"""

import socket
import struct
import sys

HEADER = struct.Struct("<4sHHIHHd4f")  # docs/udp.md
HAND = struct.Struct("<f3f4f63f48f10f")


def decode(datagram: bytes) -> dict | None:
    """The values of a datagram; None if it is of another kind or version."""
    if len(datagram) != HEADER.size + 2 * HAND.size:
        return None
    magic, version, flags, frame, width, height, time, *camera = HEADER.unpack_from(datagram)
    if (magic, version) != (b"LGN2", 1):
        return None
    result = {"frame": frame, "time": time, "image_size": (width, height)}
    result["camera"], result["metric"] = camera, bool(flags & 4)  # fx, fy, cx, cy
    for index, side in enumerate(("right", "left")):
        numbers = HAND.unpack_from(datagram, HEADER.size + index * HAND.size)
        result[side] = {
            "present": bool(flags & (1 << index)),
            "probability": numbers[0],
            "wrist_position": numbers[1:4],  # metres: x right, y down, z forward from the camera
            "wrist_rotation": numbers[4:8],  # x, y, z, w
            "joints": [numbers[i : i + 3] for i in range(8, 71, 3)],  # 21, wrist first
            "mano_pose": [numbers[i : i + 3] for i in range(71, 119, 3)],
            "mano_shape": numbers[119:129],
        }
    return result


def main() -> None:
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 9000
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", port))
        while True:
            hands = decode(receiver.recv(2048))
            if hands is None:
                continue
            for side in ("right", "left"):
                if hands[side]["present"]:
                    x, y, z = hands[side]["joints"][8]  # the index finger's tip
                    print(f"frame {hands['frame']} {side}: index tip {x:+.3f} {y:+.3f} {z:+.3f} m")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
