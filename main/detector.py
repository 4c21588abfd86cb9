"""Hands as another detector sees them: MediaPipe Hands, an optional package; where they are, and which.

detector = MediaPipeHands()
seen = detector(picture)  # RGB (H,W,3) uint8 -> list of SeenHand, for find_hands
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.hand.joints import HANDS, LEFT, RIGHT
from common.utils.errors import UserError
from common.utils.image import tight_box

DETECTORS = ("network", "mediapipe")  # what may look for the hands
# Together with the requirements: alone it would leave an OpenCV behind that wants a newer numpy.
INSTALL = 'pip install -r requirements.txt "mediapipe==0.10.21" (Python up to 3.12, numpy below 2)'
# MediaPipe names hands as if the picture were a mirrored selfie; we take it as a camera does.
OWN_HAND = {"Left": RIGHT, "Right": LEFT}


@dataclass(frozen=True)
class SeenHand:
    """points: (21,2) pixels of the picture, wrist first, in our order of joints, which is MediaPipe's too."""

    points: NDArray[np.float64]
    hand: int  # RIGHT or LEFT, the person's own
    score: float  # how sure it is of that, from 0.5


Detector = Callable[[NDArray[np.uint8]], list[SeenHand]]


def joint_box(seen: Sequence[SeenHand]) -> NDArray[np.float64] | None:
    """x, y, w, h (4,) around the points of all hands; None where there is none."""
    if not seen:
        return None
    points = np.stack([hand.points for hand in seen])
    return tight_box(points, np.ones(points.shape[:2]))


class MediaPipeHands:
    """At most two hands of a picture, each picture for itself.

    UserError where the package is missing, or one without its models.
    """

    def __init__(self):
        self.hands = import_mediapipe().solutions.hands.Hands(static_image_mode=True, max_num_hands=2)

    def __call__(self, picture: NDArray[np.uint8]) -> list[SeenHand]:
        """picture: RGB (H,W,3)."""
        result = self.hands.process(picture)
        return seen_hands(result.multi_hand_landmarks, result.multi_handedness, picture.shape[1::-1])


def import_mediapipe() -> ModuleType:
    """The package with its older interface, for which the models are in the wheel."""
    try:
        import mediapipe
    except ImportError as error:
        raise UserError(f"--detector mediapipe needs a package ({error}): {INSTALL}") from None
    if not hasattr(mediapipe, "solutions"):
        version = getattr(mediapipe, "__version__", "of another version")
        raise UserError(f"--detector mediapipe: mediapipe {version} has no models of its own: {INSTALL}")
    return mediapipe


def seen_hands(
    marks: Sequence[Any] | None, names: Sequence[Any] | None, size: Sequence[int]
) -> list[SeenHand]:
    """MediaPipe's lists, None for no hand -> hands with a point in the picture (width, height).

    marks: points from 0 to 1 from edge to edge; names: which hand, by the score.
    """
    hands = []
    for mark, name in zip(marks or [], names or [], strict=True):
        points = np.array([[point.x, point.y] for point in mark.landmark]) * size - 0.5
        best = name.classification[0]
        if ((points > -0.5) & (points < np.array(size) - 0.5)).all(-1).any():
            hands.append(SeenHand(points, OWN_HAND[best.label], best.score))
    return hands


def hints(seen: Sequence[SeenHand], joints: NDArray, is_present: NDArray) -> list[str]:
    """What to tell of the hands seen, beside those that the network found.

    joints: (2,21,2) pixels, is_present: (2,) of the network's. Where a hand lies on a hand of the other name,
    the two disagree: that is told, and nothing else follows from it.
    """
    names = [f"{HANDS[hand.hand]} hand ({hand.score:.2f})" for hand in seen]
    lines = [f"mediapipe: {', '.join(names) or 'no hand'}"]
    for hand in seen:
        away = np.linalg.norm(joints - hand.points, axis=-1).mean(-1)
        away = np.where(is_present, away, np.inf)
        nearest = int(away.argmin())
        if nearest != hand.hand and away[nearest] < joint_box([hand])[2:].max():
            lines.append(
                f"note: where the {HANDS[nearest]} hand is drawn, mediapipe sees a {HANDS[hand.hand]} one"
            )
    return lines
