"""A hand's 21 joints as other systems have them: OpenXR's 26, MediaPipe's 21 landmarks, Unity's axes.

Here (joints.py): wrist first, then thumb to pinky from base to tip, camera axes x right, y down, z forward.
"""

import numpy as np
from numpy.typing import NDArray

from common.hand.joints import FINGERS, JOINT_NAMES, WRIST

# XrHandJointEXT of XR_EXT_hand_tracking, in its order, without XR_HAND_JOINT_ and _EXT.
OPENXR_FINGERS = ("THUMB", "INDEX", "MIDDLE", "RING", "LITTLE")
OPENXR_LEVELS = ("PROXIMAL", "INTERMEDIATE", "DISTAL", "TIP")  # of a finger, behind its metacarpal
OPENXR_JOINTS = (
    *("PALM", "WRIST"),
    *(f"THUMB_{level}" for level in ("METACARPAL", "PROXIMAL", "DISTAL", "TIP")),
    *(f"{finger}_{level}" for finger in OPENXR_FINGERS[1:] for level in ("METACARPAL", *OPENXR_LEVELS)),
)
# The carpal bones take about this part of the way from the wrist to a knuckle: there a metacarpal begins.
CARPUS = 0.3

TO_OPENXR_AXES = np.array([1.0, -1.0, -1.0], np.float32)  # x right, y up, z backward; right-handed
TO_UNITY_AXES = np.array([1.0, -1.0, 1.0], np.float32)  # x right, y up, z forward; left-handed


def openxr_joints(joints: NDArray) -> NDArray[np.float32]:
    """Joints (...,21,3) in metres, camera axes -> positions (...,26,3) of OpenXR, in OpenXR's axes.

    Of the 26, 21 are joints of ours. Formed here: the metacarpals of index to little, at CARPUS of the way
    from the wrist to the knuckle; the palm, in the middle of the middle finger's metacarpal, as OpenXR has
    it. Positions only: 21 points do not tell how a bone is turned about itself.
    """
    wrist = joints[..., WRIST, :]

    def metacarpal(finger: str) -> NDArray:
        return wrist + CARPUS * (_joint(joints, f"{finger}1") - wrist)

    places = {"WRIST": wrist, "PALM": (metacarpal("middle") + _joint(joints, "middle1")) / 2}
    for name, finger in zip(OPENXR_FINGERS, FINGERS, strict=True):
        levels = ("METACARPAL", "PROXIMAL", "DISTAL", "TIP") if finger == "thumb" else OPENXR_LEVELS
        if finger != "thumb":
            places[f"{name}_METACARPAL"] = metacarpal(finger)
        for number, level in enumerate(levels, 1):
            places[f"{name}_{level}"] = _joint(joints, f"{finger}{number}")
    return np.stack([places[name] for name in OPENXR_JOINTS], -2).astype(np.float32) * TO_OPENXR_AXES


def _joint(joints: NDArray, name: str) -> NDArray:
    return joints[..., JOINT_NAMES.index(name), :]


def mediapipe_landmarks(
    joints_2d: NDArray, joints: NDArray, scale: float, image_size: tuple[int, int]
) -> NDArray[np.float32]:
    """One hand's joints (21,2) in pixels of the picture and (21,3) in metres -> MediaPipe's normalised
    landmarks (21,3): x and y from 0 to 1 over the picture, z from the wrist in units of the picture's width.

    The order is ours already. scale: of the hand's camera, pixels per metre; image_size: width, height.
    """
    width, height = image_size
    depth = (joints[:, 2] - joints[WRIST, 2]) * scale / width
    # MediaPipe's 0 and 1 are the borders of the picture, half a pixel beyond the outer centres
    return np.column_stack([(joints_2d + 0.5) / [width, height], depth]).astype(np.float32)


def mediapipe_world_landmarks(joints: NDArray) -> NDArray[np.float32]:
    """One hand's joints (21,3) -> MediaPipe's world landmarks (21,3): the same axes and metres, about the
    middle of the hand, here the mean of wrist and knuckles of index, middle and pinky."""
    base = [_joint(joints, name) for name in ("wrist", "index1", "middle1", "pinky1")]
    return (joints - np.mean(base, 0)).astype(np.float32)


def unity_positions(points: NDArray) -> NDArray[np.float32]:
    """Points (...,3) in camera axes -> Unity's."""
    return (points * TO_UNITY_AXES).astype(np.float32)


def unity_quaternions(quaternions: NDArray) -> NDArray[np.float32]:
    """Rotations as x, y, z, w (...,4) in camera axes -> Unity's: a mirrored axis turns the other way."""
    return (quaternions * np.array([-1.0, 1.0, -1.0, 1.0])).astype(np.float32)
