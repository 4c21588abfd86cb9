"""Joint layouts of other systems against their own lists."""

import numpy as np
from scipy.spatial.transform import Rotation

from common.hand.joints import JOINT_NAMES
from common.hand.layouts import (
    CARPUS,
    OPENXR_JOINTS,
    mediapipe_landmarks,
    mediapipe_world_landmarks,
    openxr_joints,
    unity_positions,
    unity_quaternions,
)

# The values of XrHandJointEXT in OpenXR 1.1, from 0.
OPENXR = """PALM WRIST
THUMB_METACARPAL THUMB_PROXIMAL THUMB_DISTAL THUMB_TIP
INDEX_METACARPAL INDEX_PROXIMAL INDEX_INTERMEDIATE INDEX_DISTAL INDEX_TIP
MIDDLE_METACARPAL MIDDLE_PROXIMAL MIDDLE_INTERMEDIATE MIDDLE_DISTAL MIDDLE_TIP
RING_METACARPAL RING_PROXIMAL RING_INTERMEDIATE RING_DISTAL RING_TIP
LITTLE_METACARPAL LITTLE_PROXIMAL LITTLE_INTERMEDIATE LITTLE_DISTAL LITTLE_TIP""".split()

# mediapipe.solutions.hands.HandLandmark, from 0.
MEDIAPIPE = """WRIST THUMB_CMC THUMB_MCP THUMB_IP THUMB_TIP
INDEX_FINGER_MCP INDEX_FINGER_PIP INDEX_FINGER_DIP INDEX_FINGER_TIP
MIDDLE_FINGER_MCP MIDDLE_FINGER_PIP MIDDLE_FINGER_DIP MIDDLE_FINGER_TIP
RING_FINGER_MCP RING_FINGER_PIP RING_FINGER_DIP RING_FINGER_TIP
PINKY_MCP PINKY_PIP PINKY_DIP PINKY_TIP""".split()

JOINTS = np.random.default_rng(0).normal(0, 0.1, (21, 3)).astype(np.float32)


def ours(name):
    return JOINTS[JOINT_NAMES.index(name)]


def test_openxr_has_its_joints_in_its_order():
    assert list(OPENXR_JOINTS) == OPENXR


def test_openxr_joints_are_the_anatomical_ones():
    places = dict(zip(OPENXR, openxr_joints(JOINTS) * [1, -1, -1], strict=True))
    same = {
        "WRIST": "wrist",
        "THUMB_METACARPAL": "thumb1",
        "THUMB_PROXIMAL": "thumb2",
        "THUMB_DISTAL": "thumb3",
        "THUMB_TIP": "thumb4",
        "INDEX_PROXIMAL": "index1",
        "MIDDLE_INTERMEDIATE": "middle2",
        "RING_DISTAL": "ring3",
        "LITTLE_TIP": "pinky4",
        "LITTLE_PROXIMAL": "pinky1",
    }
    for theirs, name in same.items():
        assert np.allclose(places[theirs], ours(name)), theirs
    for theirs, name in (("INDEX", "index1"), ("RING", "ring1"), ("LITTLE", "pinky1")):
        expected = (1 - CARPUS) * ours("wrist") + CARPUS * ours(name)
        assert np.allclose(places[f"{theirs}_METACARPAL"], expected, atol=1e-7)
    assert np.allclose(
        places["PALM"], (places["MIDDLE_METACARPAL"] + places["MIDDLE_PROXIMAL"]) / 2, atol=1e-7
    )


def test_openxr_looks_along_minus_z_with_y_up():
    right_down_ahead = np.ones((2, 21, 3))
    assert openxr_joints(right_down_ahead).shape == (2, 26, 3)
    assert np.allclose(openxr_joints(right_down_ahead), [1, -1, -1])


def test_mediapipe_has_our_order():
    fingers = {"thumb": "THUMB", "index": "INDEX_FINGER", "middle": "MIDDLE_FINGER", "ring": "RING_FINGER"}
    fingers["pinky"] = "PINKY"
    levels = ("MCP", "PIP", "DIP", "TIP")
    expected = ["WRIST"]
    for name in JOINT_NAMES[1:]:
        finger, level = name[:-1], int(name[-1]) - 1
        words = ("CMC", "MCP", "IP", "TIP") if finger == "thumb" else levels
        expected.append(f"{fingers[finger]}_{words[level]}")
    assert expected == MEDIAPIPE


def test_normalised_landmarks_span_the_picture():
    corners = np.zeros((21, 2))
    corners[1] = [-0.5, -0.5]
    corners[2] = [639.5, 479.5]
    joints = np.zeros((21, 3))
    joints[3] = joints[0] + [0, 0, 0.1]  # 10 cm behind the wrist
    found = mediapipe_landmarks(corners, joints, 800.0, (640, 480))
    assert np.allclose(found[1, :2], 0) and np.allclose(found[2, :2], 1)
    assert np.allclose(found[:, 2], np.eye(21)[3] * 80 / 640)


def test_world_landmarks_keep_every_distance():
    found = mediapipe_world_landmarks(JOINTS)
    assert np.allclose(found - found[0], JOINTS - JOINTS[0], atol=1e-7)
    assert np.allclose(found[[0, 5, 9, 17]].mean(0), 0, atol=1e-7)


def test_unity_is_the_mirror_image():
    """Turning and then mirroring is mirroring and then turning."""
    quaternion = Rotation.from_rotvec([0.3, -0.7, 0.5]).as_quat()
    turned = Rotation.from_quat(quaternion).apply(JOINTS)
    theirs = Rotation.from_quat(unity_quaternions(quaternion)).apply(unity_positions(JOINTS))
    assert np.allclose(theirs, unity_positions(turned), atol=1e-6)
    assert np.allclose(unity_positions(np.array([1.0, 2.0, 3.0])), [1, -2, 3])
