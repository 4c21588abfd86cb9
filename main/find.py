"""Where in a picture the hands are, found by the network itself: it looks, and looks again closer.

A network that was trained on crops judges well whether a crop shows hands, and misplaces them where they are
small in it. So overlapping windows are all looked at, and the place where most of them see hands wins.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from common.utils.camera import Camera
from common.utils.image import square_box, tight_box
from common.utils.pixels import as_picture
from main.detector import Detector, SeenHand, joint_box
from main.predictor import Picture, Predictor, own_camera
from main.result.two_hands import TwoHands

FILLS = 0.5  # share of the look's side that hands take up in a good crop: there is nothing to look for
WINDOW_SIDES = (1.0, 0.6)  # of the windows, in shorter sides of the picture
STEP = 0.5  # of a window's side, at most, to the next one
AROUND = 1.4  # side of a crop, in sides of the box of the joints in it
AROUND_ONE = 2.8  # where a detector saw one hand alone: the other one may be beside it
AT_ONCE = 16  # windows in a batch
LOOKS = 3  # at most, after the windows
SETTLED = 0.8  # overlap of two boxes that are the same
SEARCH_EVERY = 15  # frames of a video
SAME_CROP = 0.75  # overlap of two crops from which on the old one will do: a crop that moves shakes the hands
VOTES = 1.9  # what looks that agree weigh together, at least: a hand that two of them are nearly sure of
AGREE = 0.3  # overlap of two boxes that mean the same hands


def find_hands(
    predictor: Predictor,
    picture: Picture,
    camera: Camera | None = None,
    attention: bool = False,
    seen: Sequence[SeenHand] = (),
) -> TwoHands:
    """The hands of a picture, in the crop in which the network is surest of them.

    Where the hands fill the picture, or no place is agreed upon, it is the look at the whole picture.
    picture, camera, attention: as the predictor takes them.
    seen: hands that a detector saw in it; the network looks there, and searches only if it sees none there.
    """
    pixels = as_picture(picture)
    camera, picture = camera or own_camera(picture, pixels), pixels
    best = predictor(picture, camera=camera)
    if not fills(best):
        there = look_there(predictor, picture, seen, camera) if seen else None
        is_there = there is not None and there.is_present.any()
        best = there if is_there else search(predictor, picture, camera, best)
    if attention:
        return predictor(picture, best.box, True, camera)
    return best


def look_there(
    predictor: Predictor, picture: NDArray[np.uint8], seen: Sequence[SeenHand], camera: Camera
) -> TwoHands:
    """The look at the hands that a detector saw."""
    around = AROUND_ONE if len(seen) == 1 else AROUND
    return predictor(picture, square_box(joint_box(seen), around), camera=camera)


def search(predictor: Predictor, picture: NDArray[np.uint8], camera: Camera, whole: TwoHands) -> TwoHands:
    """A closer look at the place upon which most windows agree, else the look at the whole picture."""
    looks = look_at(predictor, picture, windows(whole.image_size), camera)
    chosen = agreed_look([whole, *looks])
    return whole if chosen is None else settle(predictor, picture, camera, chosen)


def look_at(
    predictor: Predictor, picture: NDArray[np.uint8], boxes: list[NDArray], camera: Camera
) -> list[TwoHands]:
    """A look at each box, a few at once: a panorama has many windows, and memory an end."""
    looks = []
    for start in range(0, len(boxes), AT_ONCE):
        some = boxes[start : start + AT_ONCE]
        looks += predictor.batch([picture] * len(some), some, camera)
    return looks


def settle(predictor: Predictor, picture: NDArray[np.uint8], camera: Camera, look: TwoHands) -> TwoHands:
    """Crop about the joints of a look until their box stays the same; the surest of the closer looks.

    Where none of them shows a hand, it is the look itself.
    """
    box, looks = hands_box(look), []
    for _ in range(LOOKS):
        looks.append(predictor(picture, square_box(box, AROUND), camera=camera))
        new = hands_box(looks[-1])
        if new is None or overlap(new, box) > SETTLED:
            break
        box = new
    surest = max(looks, key=certainty)
    return surest if surest.is_present.any() else look


def certainty(hands: TwoHands) -> float:
    """The probabilities of the hands that are present, together."""
    return float(hands.present[hands.is_present].sum())


def hands_box(hands: TwoHands) -> NDArray | None:
    """x, y, w, h around the joints of the hands that are present, as the heat maps saw them; None without.

    Of a look at a whole picture the heat maps know better than the mesh where hands are.
    """
    return box_of_present(hands, hands.joints_2d_heatmap)


def box_of_present(hands: TwoHands, joints: NDArray) -> NDArray | None:
    """x, y, w, h around the joints (2,21,2) of the hands that are present; None without."""
    return tight_box(joints, np.broadcast_to(hands.is_present[:, None], joints.shape[:2]))


def fills(hands: TwoHands) -> bool:
    """Whether hands were found that take up much of the crop."""
    box = hands_box(hands)
    return box is not None and bool(max(box[2:]) >= FILLS * hands.box[2])


def windows(size: tuple[int, int]) -> list[NDArray]:
    """Overlapping squares x, y, w, h over a picture (width, height), the largest first."""
    boxes = []
    for share in WINDOW_SIDES:
        side = share * min(size)
        across, down = (_starts(length, side) for length in size)
        for x in across:
            boxes += [np.array([x, y, side, side]) for y in down]
    return boxes


def _starts(length: float, side: float) -> NDArray:
    """Where windows begin so that they cover a length."""
    count = 1 + int(np.ceil((length - side) / (STEP * side) - 1e-6))
    return np.linspace(0, length - side, count)


def agreed_look(looks: Sequence[TwoHands]) -> TwoHands | None:
    """The look whose box of joints the others overlap most, each as much as it is sure; None where no two
    agree."""
    looks = [look for look in looks if look.is_present.any()]
    if len(looks) < 2:
        return None
    boxes = [hands_box(look) for look in looks]
    weights = [certainty(look) for look in looks]
    shared = np.array([[overlap(one, other) for other in boxes] for one in boxes])
    votes = shared @ np.array(weights)
    best = int(votes.argmax())
    agreeing = (shared[best] >= AGREE).sum()  # itself among them
    return looks[best] if agreeing >= 2 and votes[best] >= VOTES else None


def overlap(first: NDArray, second: NDArray) -> float:
    """Intersection over union of two boxes x, y, w, h."""
    low = np.maximum(first[:2], second[:2])
    high = np.minimum(first[:2] + first[2:], second[:2] + second[2:])
    common = (high - low).clip(min=0).prod()
    return float(common / max(first[2:].prod() + second[2:].prod() - common, 1e-9))


class Tracker:
    """Frames of a video in order -> hands: it follows them, and searches again when they are gone.

    Every SEARCH_EVERY frames at most it searches for hands that are lost, or small in the crop, and for the
    second one while only one is seen. A detector, where there is one, helps it search.
    """

    def __init__(self, predictor: Predictor, detector: Detector | None = None):
        self.predictor, self.detector = predictor, detector
        self.box: NDArray | None = None  # the crop that followed the hands
        self.wait = 0  # frames until the next search

    def __call__(self, frame: NDArray[np.uint8], camera: Camera) -> TwoHands:
        self.wait -= 1
        hands = self.predictor(frame, self.box, camera=camera)
        if self.wait <= 0 and (hands.is_present.sum() < 2 or not fills(hands)):
            seen = self.detector(frame) if self.detector else []
            found = find_hands(self.predictor, frame, camera, seen=seen)
            if not fills(hands) or certainty(found) > certainty(hands):
                hands = found
            self.wait = SEARCH_EVERY
        self._follow(hands)
        return hands

    def _follow(self, hands: TwoHands) -> None:
        """The next crop: where the mesh is now, or the same one while that is much the same place."""
        if not hands.is_present.any():
            self.box = None  # the whole picture
            return
        joints = box_of_present(hands, hands.joints_2d)
        width, height = hands.image_size
        around = square_box(joints, AROUND)
        inside = (around[:2] < [width, height]).all() and (around[:2] + around[2:] > 0).all()
        if not inside:
            self.box = None
        elif self.box is None or overlap(around, hands.box) < SAME_CROP:
            self.box = around
        else:
            self.box = hands.box
