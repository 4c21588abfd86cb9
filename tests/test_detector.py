"""The optional detector: what is made of its points, what is said without it; itself where it is there."""

import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from common.hand.joints import LEFT, RIGHT
from common.hand.mano import load_mano
from common.utils.camera import centred_camera
from common.utils.image import read_image
from main import demo
from main.detector import MediaPipeHands, SeenHand, hints, joint_box, seen_hands
from main.find import Tracker, find_hands, hands_box, overlap, windows
from main.predictor import Predictor
from tests.scripts import run
from tests.test_find import SeesSquares, scene
from tool import find_hands as tool

LEFT_BOX = (-9, 69, 179, 151)  # x, y, w, h of the left hand of the example, as the network sees it


def marked(shares):
    """Points as MediaPipe gives them, in parts of the sides."""
    return SimpleNamespace(landmark=[SimpleNamespace(x=x, y=y) for x, y in shares])


def named(label, score=0.9):
    return SimpleNamespace(classification=[SimpleNamespace(label=label, score=score)])


def spanning(x, y, w, h):
    """21 points whose box is this one."""
    points = np.full((21, 2), [x + w / 2, y + h / 2], np.float64)
    points[:2] = [[x, y], [x + w, y + h]]
    return points


def seen_at(x, y, w, h, hand=RIGHT):
    return SeenHand(spanning(x, y, w, h), hand, 0.9)


@pytest.fixture
def predictor():
    hands = load_mano()
    return Predictor(SeesSquares(hands), hands, "cpu")


# ---- points, boxes, names ----


def test_points_are_pixels_whose_centres_are_integers():
    shares = np.full((21, 2), 0.5)
    shares[0], shares[20] = ([0.25, 0.5], [0.75, 1.0])  # the edges of columns 2 and 6, rows 2 and 4
    (hand,) = seen_hands([marked(shares)], [named("Left", 0.7)], (8, 4))
    assert hand.points[0].tolist() == [1.5, 1.5] and hand.points[20].tolist() == [5.5, 3.5]
    assert hand.points[5].tolist() == [3.5, 1.5] and hand.score == 0.7
    assert joint_box([hand]).tolist() == [1.5, 1.5, 4, 2]


def test_a_selfie_s_left_hand_is_the_right_one_of_a_photograph():
    marks = [marked(np.full((21, 2), 0.5))] * 2
    hands = seen_hands(marks, [named("Left"), named("Right")], (100, 100))
    assert [hand.hand for hand in hands] == [RIGHT, LEFT]


def test_no_hand_and_one_wholly_outside_are_none():
    assert seen_hands(None, None, (100, 100)) == [] and joint_box([]) is None
    outside = np.full((21, 2), [1.2, 0.5])
    assert seen_hands([marked(outside)], [named("Left")], (100, 100)) == []
    outside[0] = [0.9, 0.5]  # a point is enough
    assert len(seen_hands([marked(outside)], [named("Left")], (100, 100))) == 1


def test_one_box_about_both_hands():
    assert joint_box([seen_at(10, 40, 20, 30), seen_at(50, 20, 30, 20)]).tolist() == [10, 20, 70, 50]


# ---- which hand is which ----


def test_a_hand_of_the_other_name_is_told():
    joints = np.stack([spanning(0, 0, 40, 40), spanning(100, 0, 40, 40)])
    both = np.array([True, True])
    agreed = [seen_at(2, 2, 40, 40, RIGHT), seen_at(98, 0, 40, 40, LEFT)]
    assert hints(agreed, joints, both) == ["mediapipe: right hand (0.90), left hand (0.90)"]
    crossed = [seen_at(2, 2, 40, 40, LEFT)]
    _, note = hints(crossed, joints, both)
    assert [note] == ["note: where the right hand is drawn, mediapipe sees a left one"]


def test_hands_elsewhere_absent_or_unseen_do_not_disagree():
    joints = np.stack([spanning(0, 0, 40, 40), spanning(100, 0, 40, 40)])
    one = np.array([True, False])
    assert len(hints([seen_at(100, 0, 40, 40, LEFT)], joints, one)) == 1  # the network has none there
    assert len(hints([seen_at(0, 0, 40, 40, LEFT)], joints, ~one)) == 1
    assert len(hints([seen_at(0, 0, 40, 40, LEFT)], joints, one & ~one)) == 1
    assert hints([], joints, one) == ["mediapipe: no hand"]


# ---- where the network looks ----


def test_the_crop_is_about_the_hands_that_were_seen(predictor):
    picture, box = scene(900, 400, 150)
    two = [seen_at(900, 400, 100, 149), seen_at(950, 420, 99, 100)]  # together 149 x 149
    hands = find_hands(predictor, picture, seen=two)
    side = 1.4 * 149
    assert hands.box == pytest.approx([974.5 - side / 2, 474.5 - side / 2, side, side])
    assert predictor.model.looks == 2 and overlap(hands_box(hands), box) > 0.9


def test_about_one_hand_there_is_room_for_the_other(predictor):
    picture, _ = scene(900, 400, 150)
    hands = find_hands(predictor, picture, seen=[seen_at(900, 400, 149, 149)])
    assert hands.box[2:] == pytest.approx([2.8 * 149] * 2)


@pytest.mark.parametrize("seen", [[], [seen_at(100, 100, 150, 150)]])
def test_where_the_network_sees_none_there_it_searches(predictor, seen):
    picture, box = scene(900, 400, 150)
    hands = find_hands(predictor, picture, seen=seen)
    assert overlap(hands_box(hands), box) > 0.85
    assert predictor.model.looks > len(windows((1280, 720)))


def test_a_video_asks_the_detector_where_it_would_search(predictor):
    asked = []

    def detector(frame):
        asked.append(frame.shape)
        return [seen_at(900, 400, 149, 149)]

    picture, box = scene(900, 400, 150)
    track, camera = Tracker(predictor, detector), centred_camera((1280, 720))
    hands = [track(picture, camera) for _ in range(3)]
    assert asked == [(720, 1280, 3)]
    assert all(overlap(hands_box(found), box) > 0.85 for found in hands)
    assert predictor.model.looks == 2 + 3  # the first frame's search: the whole picture, and there


# ---- the demo ----


def test_without_the_package_one_sentence_says_how_to_get_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "mediapipe", None)  # what Python keeps for a module that is not there
    assert run(demo, "--detector", "mediapipe", "--output", tmp_path) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: --detector mediapipe needs a package") and said.count("\n") == 1
    assert 'pip install -r requirements.txt "mediapipe==0.10.21"' in said
    assert "Python up to 3.12, numpy below 2" in said
    assert run(tool, "--detector", "mediapipe") == 2


def test_a_package_without_its_models_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "mediapipe", SimpleNamespace(__version__="1.0.0"))
    assert run(demo, "--detector", "mediapipe", "--output", tmp_path) == 2
    said = capsys.readouterr().err
    assert "mediapipe 1.0.0 has no models" in said and '"mediapipe==0.10.21"' in said


@pytest.mark.parametrize("other", [["--whole"], ["--bbox", "1", "1", "50", "50"]])
def test_a_place_that_is_told_needs_no_detector(other, capsys):
    assert run(demo, "--detector", "mediapipe", *other) == 2
    assert "--detector mediapipe searches, --bbox and --whole do not" in capsys.readouterr().err


@pytest.fixture
def fake(monkeypatch):
    """A package that sees one hand, a left one it says, in the middle of every picture."""
    shares = spanning(0.25, 0.25, 0.5, 0.5)
    result = SimpleNamespace(multi_hand_landmarks=[marked(shares)], multi_handedness=[named("Right")])
    looked = []

    def make(**options):
        assert options == {"static_image_mode": True, "max_num_hands": 2}
        return SimpleNamespace(process=lambda picture: looked.append(picture.shape) or result)

    package = SimpleNamespace(solutions=SimpleNamespace(hands=SimpleNamespace(Hands=make)))
    monkeypatch.setitem(sys.modules, "mediapipe", package)
    return looked


def test_the_demo_says_what_was_seen(tmp_path, fake, capsys):
    arguments = ["--output", tmp_path, "--gpu", "cpu", "--save", "json"]
    assert run(demo, *arguments, "--detector", "mediapipe") == 0
    said = capsys.readouterr().out
    assert "mediapipe: left hand (0.90)" in said and "detector" in said and fake == [(256, 256, 3)]
    assert run(demo, *arguments) == 0
    assert "mediapipe" not in capsys.readouterr().out and len(fake) == 1


def test_a_video_of_the_demo_asks_it(tmp_path, fake):
    writer = cv2.VideoWriter(str(tmp_path / "clip.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 25, (640, 360))
    for _ in range(3):
        writer.write(np.full((360, 640, 3), 90, np.uint8))
    writer.release()
    arguments = ["--input", tmp_path / "clip.mp4", "--output", tmp_path, "--gpu", "cpu", "--save", "json"]
    assert run(demo, *arguments, "--detector", "mediapipe") == 0
    assert fake == [(360, 640, 3)]  # once, then after SEARCH_EVERY frames


def test_the_tool_measures_it_beside_the_search(fake, capsys):
    assert run(tool, "--count", 1, "--detector", "mediapipe") == 0
    for line in capsys.readouterr().out.splitlines():
        assert "after the search " in line and "mediapipe's own " in line
        assert "after a search there " in line


# ---- itself ----


def test_mediapipe_sees_a_left_hand_and_a_right_one_in_the_mirror():
    pytest.importorskip("mediapipe")
    detector, picture = MediaPipeHands(), read_image(demo.EXAMPLE)
    (seen,) = detector(picture)
    assert seen.hand == LEFT and overlap(joint_box([seen]), np.array(LEFT_BOX)) > 0.6
    (mirrored,) = detector(np.ascontiguousarray(picture[:, ::-1]))
    assert mirrored.hand == RIGHT
    assert detector(np.full((300, 400, 3), 90, np.uint8)) == []
