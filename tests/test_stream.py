"""The datagram is what docs/udp.md says, byte by byte, and a lost receiver stops nobody."""

import json
import re
import shutil
import socket
import struct
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from common.utils.camera import Camera
from common.utils.errors import UserError
from common.utils.files import write_picture
from common.utils.udp import UdpSender, parse_address
from examples import udp_receiver
from main import demo
from main.predictor import Predictor
from main.result.stream import DATAGRAM, encode, quaternions
from tests.scripts import run
from tests.test_predictor import Fixed, grey
from tests.test_video import EXAMPLE, make_video

PAGE = Path(__file__).parents[1] / "docs" / "udp.md"
LETTERS = {"char": "s", "uint16": "H", "uint32": "I", "float32": "f", "float64": "d"}


@pytest.fixture(scope="module")
def result(hands):
    return Predictor(Fixed(hands), hands, "cpu")(grey(300, 400), (50, 40, 200, 200))


def table(title):
    """Offset, type, count and name of each row of a table of the page."""
    text = PAGE.read_text(encoding="utf-8").partition(f"## {title}")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\d+) \| (\w+) \| (\d+) \| `(\w+)` \|", text, re.MULTILINE)
    return [(int(offset), kind, int(count), name) for offset, kind, count, name in rows]


def read(rows, content):
    """The values of a table's rows, each read where the page says it is."""
    values = {}
    for offset, kind, count, name in rows:
        values[name] = struct.unpack_from(f"<{count}{LETTERS[kind]}", content, offset)
    return values


def end(rows):
    """The byte behind the last row."""
    offset, kind, count, _ = rows[-1]
    return offset + struct.calcsize(f"<{count}{LETTERS[kind]}")


def hand_blocks(content):
    header, hand = table("Header"), table("Hand")
    start, length = end(header), end(hand)
    assert start + 2 * length == len(content)
    return [read(hand, content[start + i * length : start + (i + 1) * length]) for i in range(2)]


def test_a_datagram_fits_into_every_network():
    assert DATAGRAM.itemsize < 1400
    assert f"{DATAGRAM.itemsize} bytes" in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("title", ["Header", "Hand"])
def test_the_table_leaves_no_byte_out(title):
    names = {"Header": DATAGRAM.names[:-1], "Hand": DATAGRAM["hands"].base.names}[title]
    place = 0
    rows = table(title)
    for offset, kind, count, _ in rows:
        assert offset == place
        place += struct.calcsize(f"<{count}{LETTERS[kind]}")
    assert tuple(row[3] for row in rows) == names


def test_the_page_reads_the_header(result):
    header = read(table("Header"), encode(result, 7, 1234.5))
    assert header["magic"] == (b"LGN2",) and header["version"] == (1,)
    assert header["frame"] == (7,) and header["time"] == (1234.5,) and header["flags"] == (3,)
    assert header["image_width"] == (400,) and header["image_height"] == (300,)
    assert np.allclose(header["camera"], [result.camera.fx, result.camera.fy, 199.5, 149.5])
    given = replace(result, camera=Camera(500, 510, 200, 150, "given"))
    assert read(table("Header"), encode(given, 0, 0.0))["flags"] == (7,)


def test_the_page_reads_the_hands(result):
    header = read(table("Header"), encode(result, 0, 0.0))
    for i, hand in enumerate(hand_blocks(encode(result, 0, 0.0))):
        assert np.allclose(hand["probability"], result.present[i])
        joints = np.reshape(hand["joints"], (21, 3))
        assert np.allclose(joints, result.joints_cam[i], atol=1e-6)
        assert np.allclose(joints[0], hand["wrist_position"], atol=1e-5)
        assert np.array_equal(np.reshape(hand["mano_pose"], (16, 3)), result.pose_cam[i])
        assert np.array_equal(hand["mano_shape"], result.shape[i])
        turn = Rotation.from_quat(hand["wrist_rotation"]).as_matrix()
        assert np.allclose(turn, result.wrist_poses[i, :3, :3], atol=1e-6)
        fx, fy, cx, cy = header["camera"]
        x, y, z = joints.T
        pixels = np.stack([fx * x / z + cx, fy * y / z + cy], -1)
        assert np.allclose(pixels, result.joints_2d[i], atol=1e-2)


def test_an_absent_hand_is_nought(result):
    lone = replace(result, present=np.array([0.25, 0.75], np.float32), rel_trans=None)
    content = encode(lone, 2**32 + 5, 0.0)
    header = read(table("Header"), content)
    assert header["flags"] == (2,) and header["frame"] == (5,)
    right, left = hand_blocks(content)
    assert right.pop("probability") == (0.25,) and not any(np.any(value) for value in right.values())
    assert np.any(left["joints"])
    assert not udp_receiver.decode(content)["right"]["present"]


def test_the_example_receiver_reads_it(result):
    found = udp_receiver.decode(encode(result, 9, 2.5))
    assert found["frame"] == 9 and found["time"] == 2.5 and found["image_size"] == (400, 300)
    assert np.allclose(found["camera"][:2], [result.camera.fx, result.camera.fy]) and not found["metric"]
    for i, side in enumerate(("right", "left")):
        assert found[side]["present"]
        for key, value in (
            ("joints", result.joints_cam),
            ("mano_pose", result.pose_cam),
            ("mano_shape", result.shape),
            ("wrist_position", result.wrists_cam),
        ):
            assert np.allclose(found[side][key], value[i], rtol=1e-6), key
    assert udp_receiver.decode(b"x" * DATAGRAM.itemsize) is None and udp_receiver.decode(b"") is None


def test_it_arrives(result):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(5)
        with UdpSender(str(receiver.getsockname()[1])) as stream:
            stream.send(encode(result, 3, 4.0))
        content, sender = receiver.recvfrom(2048)
    assert content == encode(result, 3, 4.0) and sender[0] == "127.0.0.1" and stream.sent == 1


def test_nobody_needs_to_listen(result):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    with UdpSender(f"127.0.0.1:{port}") as stream:
        for frame in range(20):
            stream.send(encode(result, frame, 0.0))
        stream.socket.connect(stream.target)  # from now on a refusal is reported at the next sending
        for frame in range(20):
            stream.send(encode(result, frame, 0.0))
    assert stream.sent + stream.lost == 40
    if sys.platform == "linux":
        assert stream.lost > 0


def test_no_route_drops_frames(result, monkeypatch):
    class Broken:
        def sendto(self, content, target):
            raise OSError("network is unreachable")

        def close(self):
            pass

    stream = UdpSender("9000")
    stream.close()
    stream.socket = Broken()
    stream.send(encode(result, 0, 0.0))
    assert (stream.sent, stream.lost) == (0, 1)


def test_this_machine_unless_another_is_named():
    assert parse_address("9000") == (socket.AF_INET, ("127.0.0.1", 9000))
    assert parse_address("192.0.2.7:9000") == (socket.AF_INET, ("192.0.2.7", 9000))


@pytest.mark.parametrize("text", ["", "host", "host:", "127.0.0.1:0", "127.0.0.1:70000", "host:12x", "-5"])
def test_what_is_no_address(text):
    with pytest.raises(UserError, match="--udp .*: give PORT, or HOST:PORT"):
        parse_address(text)


def test_a_host_that_is_not():
    with pytest.raises(UserError, match="there is no host no.such.host.invalid"):
        parse_address("no.such.host.invalid:9000")


@pytest.mark.parametrize("angle", [0.0, 1e-4, 3.0, 3.14159])
def test_rotations_of_any_angle(angle):
    turn = Rotation.from_rotvec([0.6 * angle, 0.0, 0.8 * angle])
    found = quaternions(turn.as_matrix()[None].astype(np.float32))[0]
    assert (Rotation.from_quat(found) * turn.inv()).magnitude() < 1e-3 and found[3] >= 0


# ---- the demo ----


def test_the_demo_sends_what_it_writes(tmp_path):
    """A picture and the frames of a video; and a page to turn beside the picture's JSON."""
    (tmp_path / "in").mkdir()
    make_video(tmp_path / "in" / "clip.mp4", [EXAMPLE] * 2)
    write_picture(tmp_path / "in" / "a.png", EXAMPLE)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(5)
        options = [
            "--udp",
            receiver.getsockname()[1],
            "--viewer",
            "--save",
            "json",
            "--whole",
            "--gpu",
            "cpu",
        ]
        assert run(demo, "--input", tmp_path / "in", "--output", tmp_path / "out", *options) == 0
        found = [udp_receiver.decode(receiver.recv(2048)) for _ in range(3)]
    assert [hands["frame"] for hands in found] == [0, 0, 1]
    said = json.loads((tmp_path / "out" / "a.json").read_text())
    assert np.allclose(found[0]["left"]["joints"], said["hands"]["left"]["joints_3d"], atol=1e-6)
    assert np.allclose(found[0]["right"]["mano_pose"], said["hands"]["right"]["mano_pose"], atol=1e-5)
    assert abs(found[0]["time"] - time.time()) < 600
    assert "three.js" in (tmp_path / "out" / "a.html").read_text(encoding="utf-8")


def test_the_demo_refuses_an_address_at_once(tmp_path, capsys):
    assert run(demo, "--udp", "host:port", "--output", tmp_path) == 2
    assert "give PORT, or HOST:PORT" in capsys.readouterr().err


# ---- C# ----

PROGRAM = """
using System;
using System.IO;

static class Program
{
    static void Main(string[] names)
    {
        var hands = LGNet.HandDatagram.Read(File.ReadAllBytes(names[0]));
        var c = System.Globalization.CultureInfo.InvariantCulture;
        string time = hands.Time.ToString("R", c);
        Console.WriteLine(hands.Frame + " " + time + " " + hands.ImageWidth + " " + hands.ImageHeight);
        Console.WriteLine(string.Join(" ", Array.ConvertAll(hands.Camera, x => x.ToString("R", c))));
        foreach (var h in new[] { hands.Right, hands.Left })
            foreach (var values in new[] {
                h.WristPosition, h.WristRotation, h.Joints, h.ManoPose, h.ManoShape })
                Console.WriteLine(string.Join(" ", Array.ConvertAll(values, x => x.ToString("R", c))));
    }
}
"""


@pytest.mark.skipif(not (shutil.which("mcs") and shutil.which("mono")), reason="needs mono's C# compiler")
def test_the_unity_reader_reads_it(result, tmp_path):
    (tmp_path / "hands.bin").write_bytes(encode(result, 2**31 + 3, 1700000000.25))
    (tmp_path / "program.cs").write_text(PROGRAM)
    source = PAGE.parents[1] / "examples" / "unity" / "HandDatagram.cs"
    out = tmp_path / "program.exe"
    subprocess.run(["mcs", f"-out:{out}", tmp_path / "program.cs", source], check=True)
    said = subprocess.run(["mono", out, tmp_path / "hands.bin"], check=True, capture_output=True, text=True)
    lines = [[float(word) for word in line.split()] for line in said.stdout.splitlines()]
    assert lines[0] == [2**31 + 3, 1700000000.25, 400, 300]
    expected = udp_receiver.decode(encode(result, 0, 0.0))
    assert np.allclose(lines[1], expected["camera"])
    keys = ("wrist_position", "wrist_rotation", "joints", "mano_pose", "mano_shape")
    for i, side in enumerate(("right", "left")):
        for key, found in zip(keys, lines[2 + 5 * i : 7 + 5 * i], strict=True):
            assert np.allclose(found, np.ravel(expected[side][key]), rtol=1e-6), key
