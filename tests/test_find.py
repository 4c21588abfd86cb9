"""The search for hands, with a network that sees bright squares for hands."""

import numpy as np
import pytest
import torch
from torch import nn

from common.hand.mano import load_mano
from common.utils.camera import centred_camera
from main.find import (
    LOOKS,
    SEARCH_EVERY,
    Tracker,
    agreed_look,
    fills,
    find_hands,
    hands_box,
    overlap,
    windows,
)
from main.predictor import Predictor
from tests.two_hands import make_batch, perfect


class SeesSquares(nn.Module):
    """A bright square that takes a fair part of the crop is a right hand whose joints span it."""

    def __init__(self, hands):
        super().__init__()
        self.pred = perfect(hands, make_batch(hands, 1))
        spread = torch.rand(21, 2, generator=torch.Generator().manual_seed(0))
        spread[:2] = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
        self.spread, self.looks = spread, 0

    def forward(self, img):
        self.looks += len(img)
        rows = [self.one(picture) for picture in img]
        return {key: torch.cat([row[key] for row in rows]) for key in rows[0]}

    def one(self, picture):
        pred = {key: value.clone() for key, value in self.pred.items()}
        pred["present"] = torch.tensor([[-5.0, -5.0]])
        v, u = (picture.mean(0) > 0.6).nonzero(as_tuple=True)
        if len(u) and 0.15 * 256 <= u.max() - u.min() <= 0.9 * 256:
            low, high = torch.stack([u.min(), v.min()]), torch.stack([u.max(), v.max()])
            pred["present"] = torch.tensor([[5.0, -5.0]])
            pred["joints_img"][0, 0, :, :2] = low + self.spread * (high - low)
            size = float((high - low).max())
            joints = pred["joints"][0, 0, :, :2]
            scale = size / float((joints.amax(0) - joints.amin(0)).max())
            middle = (low + high) / 2 - scale * (joints.amax(0) + joints.amin(0)) / 2
            pred["cam"][0, 0] = torch.tensor([scale, *middle.tolist()])
        return pred


@pytest.fixture(scope="module")
def hands():
    return load_mano()


@pytest.fixture
def predictor(hands):
    return Predictor(SeesSquares(hands), hands, "cpu")


def scene(x, y, side, size=(720, 1280)):
    picture = np.full((*size, 3), 60, np.uint8)
    picture[y : y + side, x : x + side] = 220
    return picture, np.array([x, y, side - 1, side - 1])


@pytest.mark.parametrize("place", [(900, 400, 150), (20, 30, 120), (1100, 560, 120), (500, 200, 300)])
def test_a_small_hand_is_found(predictor, place):
    picture, box = scene(*place)
    found = find_hands(predictor, picture)
    assert overlap(hands_box(found), box) > 0.85
    assert fills(found) and found.box[2] < 2 * place[2]


def test_a_hand_that_fills_the_picture_costs_one_look(predictor):
    picture, box = scene(100, 150, 400, (720, 720))
    found = find_hands(predictor, picture)
    assert predictor.model.looks == 1 and found.box.tolist() == [0, 0, 720, 720]


def test_no_hand_is_no_hand(predictor):
    picture = np.full((720, 1280, 3), 60, np.uint8)
    found = find_hands(predictor, picture)
    assert not found.is_present.any() and hands_box(found) is None
    assert found.box.tolist() == [0, -280, 1280, 1280]


def test_looks_are_counted(predictor):
    picture, _ = scene(900, 400, 150)
    find_hands(predictor, picture)
    assert predictor.model.looks <= 1 + len(windows((1280, 720))) + LOOKS


@pytest.mark.parametrize("size", [(1280, 720), (720, 1280), (500, 500), (3000, 400)])
def test_windows_cover_the_picture(size):
    seen = np.zeros(size[::-1], bool)
    for x, y, w, h in windows(size):
        assert x >= -1e-6 and y >= -1e-6 and x + w <= size[0] + 1e-6 and y + h <= size[1] + 1e-6
        seen[round(y) : round(y + h), round(x) : round(x + w)] = True
    assert seen.all()


def test_what_one_look_alone_sees_is_not_agreed(predictor):
    picture, _ = scene(900, 400, 150)
    look = predictor(picture, (860, 360, 230, 230))
    assert look.is_present[0] and agreed_look([look]) is None
    assert agreed_look([look, look, look]) is look


def test_the_same_place_overlaps_itself():
    one = np.array([10.0, 20, 30, 40])
    assert overlap(one, one) == 1
    assert overlap(one, one + [30, 0, 0, 0]) == 0
    assert overlap(one, one + [15, 0, 0, 0]) == pytest.approx(1 / 3)


def test_a_moving_hand_is_followed_with_one_look_a_frame(predictor):
    camera, track = centred_camera((1280, 720)), Tracker(predictor)
    boxes = []
    for frame in range(30):
        picture, box = scene(300 + 12 * frame, 200, 150)
        hands = track(picture, camera)
        boxes.append(tuple(hands.box))
        assert overlap(hands_box(hands), box) > 0.8, frame
    searches = 1 + (30 - 1) // SEARCH_EVERY  # for the hand that is not there
    assert predictor.model.looks <= 30 + searches * (1 + len(windows((1280, 720))) + LOOKS)
    assert 3 < len(set(boxes)) < 29  # the crop moves, but not with every frame


def test_a_hand_that_leaves_and_comes_back(predictor):
    camera, track = centred_camera((1280, 720)), Tracker(predictor)
    there, box = scene(900, 400, 150)
    empty = np.full_like(there, 60)
    assert track(there, camera).is_present[0]
    assert not any(track(empty, camera).is_present.any() for _ in range(3))
    found = [track(there, camera).is_present[0] for _ in range(SEARCH_EVERY)]
    assert found[-1]


def test_the_first_frame_of_a_video_is_searched(predictor):
    picture, box = scene(500, 200, 200)
    assert predictor(picture).is_present[0]  # in the whole picture, small
    hands = Tracker(predictor)(picture, centred_camera((1280, 720)))
    assert fills(hands) and overlap(hands_box(hands), box) > 0.85
