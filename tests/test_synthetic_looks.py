"""How synthetic pictures look: reproducible, true to their geometry, made of pictures free of rights."""

import math

import numpy as np
import pytest
import torch

from common.hand.joints import LEFT, RIGHT
from common.utils.image import read_image
from data.Synthetic import SyntheticStream
from data.Synthetic import layers as shapes
from data.Synthetic import sensor as camera
from data.Synthetic.contrast import CONTRAST, draw_contrast, sharpened, tone_curve
from data.Synthetic.draws import Draws
from data.Synthetic.labels import draw_camera
from data.Synthetic.layers import WORK, Layers, owners
from data.Synthetic.light import DEEP, ROUND, crevices
from data.Synthetic.objects import KINDS, Things
from data.Synthetic.photos import ACROSS, ATLAS_FILE, TILE, TILES, Photos
from data.Synthetic.scene import GROUPS, THING
from data.Synthetic.stuff import plain
from tool.synthetic import make_photos

PICTURES = 24


@pytest.fixture(scope="module")
def batch(stream):
    return stream.batch(range(PICTURES))


@pytest.fixture(scope="module")
def scene(stream):
    """Hands, their camera, and a way to draw them: without a thing unless `move` places one."""
    draws = Draws(3, range(6), "scene")
    hands = stream.place(draws)._replace(exists=torch.ones(6, 2))
    return hands, draw_camera(draws, hands)["K"]


def test_colors_are_display_values(batch):
    assert torch.isfinite(batch["img"]).all()
    assert batch["img"].min() >= 0 and batch["img"].max() <= 1
    # neither black nor white nor all alike
    means = batch["img"].mean((1, 2, 3))
    assert 0.15 < means.mean() < 0.6 and means.std() > 0.05


def test_the_same_picture_alone_in_a_batch_and_again(hands, stream, batch):
    again = SyntheticStream(hands, 1, seed=3, samples=100)
    for index in (0, 7, 13, 22):
        difference = (again.batch([index])["img"][0] - batch["img"][index]).abs()
        assert (difference > 2 / 255).float().mean() < 1e-3


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_is_left_out_and_no_hand_moves(hands, stream, batch, group):
    bare = SyntheticStream(hands, 8, seed=3, samples=100, without=frozenset([group])).batch(range(PICTURES))
    for key in ("joints", "pose", "shape", "K", "pivot_cam", "root_depth"):
        assert torch.equal(bare[key], batch[key]), key
    assert not torch.equal(bare["img"], batch["img"])
    if group != "objects":  # only things hide hands
        assert torch.equal(bare["present"], batch["present"])


def test_without_things_nothing_is_held(hands, scene):
    placed, K = scene
    painter = SyntheticStream(hands, 8, 3, 10, without=frozenset(["objects"])).painter
    cover = painter._cover(painter.draw(Draws(3, range(6), "looks"), placed, K))
    assert (cover.body != THING).all()


class Held:
    """Stands in for the painter's things: one ball on the ray to the middle of the right hand."""

    def __init__(self, things, share: float, strength: float = 1.0):
        self.things, self.share, self.strength = things, share, strength
        self.faces, self.count = things.faces, things.count

    def __call__(self, draws, hands, strength):
        thing = self.things(draws, hands, self.strength)
        ball = thing.verts - thing.verts.mean(1, keepdim=True)
        ball = 0.03 * self.share * torch.nn.functional.normalize(ball, dim=-1)
        middle = hands.verts[:, RIGHT].mean(1, keepdim=True) * self.share
        return thing._replace(verts=middle + ball, exists=torch.full_like(thing.exists, self.strength))


def shares(stream, monkeypatch, scene, share: float, strength: float = 1.0):
    hands, K = scene
    painter = stream.painter
    monkeypatch.setattr(painter, "things", Held(Things(K.device), share, strength))
    drawing = painter.draw(Draws(3, range(6), "looks"), hands, K)
    cover = painter._cover(drawing)
    return painter._visible(drawing, cover), cover, drawing


def test_a_thing_in_front_hides_the_hand(stream, monkeypatch, scene):
    free, _, _ = shares(stream, monkeypatch, scene, 0.8, strength=0.0)
    hidden, cover, _ = shares(stream, monkeypatch, scene, 0.8)
    assert (cover.body == THING).any()
    assert (hidden[:, RIGHT] < free[:, RIGHT] - 0.02).all()


def test_a_thing_behind_is_hidden_by_the_hand(stream, monkeypatch, scene):
    free, before, _ = shares(stream, monkeypatch, scene, 1.4, strength=0.0)
    behind, after, _ = shares(stream, monkeypatch, scene, 1.4)
    torch.testing.assert_close(behind, free)
    on_hands = torch.isin(after.pixel, before.pixel)
    assert (after.body[on_hands] != THING).all()
    assert (after.body[~on_hands] == THING).all() and (~on_hands).any()


def test_an_absent_hand_leaves_no_pixel(stream, scene):
    hands, K = scene
    for absent, exists in ((LEFT, (1.0, 0.0)), (RIGHT, (0.0, 1.0))):
        alone = hands._replace(exists=torch.tensor(exists).expand(6, 2))
        drawing = stream.painter.draw(Draws(3, range(6), "looks"), alone, K)
        cover = stream.painter._cover(drawing)
        assert (cover.body != absent).all() and (cover.body == 1 - absent).any()
        assert (stream.painter._visible(drawing, cover)[:, absent] == 0).all()


def test_things_are_closed_and_wound_outward(scene):
    hands, _ = scene
    things = Things(torch.device("cpu"))
    edges = torch.cat([things.faces[:, pair] for pair in ([0, 1], [1, 2], [2, 0])])
    ends = things.faces.max() + 1
    inner = (edges >= 16).all(1) & (edges < ends - 16).all(1)  # the first and the last ring are points
    names = {tuple(edge) for edge in edges[inner].tolist()}
    assert len(names) == inner.sum() and all((b, a) in names for a, b in names)
    seen = set()
    for start in range(0, 60, 6):
        thing = things(Draws(9, range(start, start + 6), "looks"), hands, 1.0)
        corner = thing.verts - thing.verts.mean(1, keepdim=True)
        a, b, c = corner[:, things.faces].unbind(2)
        volume = (a * torch.linalg.cross(b, c)).sum((-1, -2)) / 6
        half = (thing.verts.amax(1) - thing.verts.amin(1)).prod(-1)
        assert (volume > 0).all() and (volume < half).all()
        seen |= {round(float(v), 9) for v in volume}
    assert len(seen) == 60 and len(KINDS) > 1


def test_a_held_thing_is_near_its_hand(scene):
    hands, _ = scene
    thing = Things(torch.device("cpu"))(Draws(9, range(6), "looks"), hands, 1.0)
    gap = torch.cdist(thing.verts, hands.verts.flatten(1, 2)).amin((1, 2))
    assert gap.max() < 0.03


def circle(centre: tuple[float, float], half: tuple[float, float], box: bool, shown: float = 1.0) -> Layers:
    color = torch.ones(1, 1, 3)
    place, size, zero = torch.tensor([[centre]]), torch.tensor([[half]]), torch.zeros(1, 1)
    return Layers(place, size, zero, zero, zero + shown, plain(color), (box,))


def test_shapes_cover_their_area():
    """Ellipse pi a b; box with round corners x^4 + y^4 < 1: 4 gamma(5/4)^2 / gamma(3/2) a b."""
    rounded = 4 * math.gamma(1.25) ** 2 / math.gamma(1.5)
    ground = circle((0, 0), (1, 1), True)
    for box, area in ((False, math.pi), (True, rounded)):
        owner, _ = owners(shapes.stack([ground, circle((0.2, -0.1), (0.6, 0.3), box)]))
        share = (owner == 1).float().mean() * (WORK / (WORK - 1)) ** 2
        assert abs(share * 4 / (area * 0.6 * 0.3) - 1) < 0.03


def test_the_last_shape_is_in_front_and_hidden_ones_are_nowhere():
    ground, low, high = circle((0, 0), (1, 1), True), circle((0, 0), (0.5, 0.5), True), None
    high = circle((0.3, 0), (0.5, 0.5), False)
    owner, _ = owners(shapes.stack([ground, low, high, circle((0, 0), (0.9, 0.9), True, shown=0.0)]))
    both = owners(shapes.stack([ground, high]))[0] == 1
    assert (owner[both] == 2).all() and set(owner.unique().tolist()) == {0, 1, 2}


def test_photos_are_read_where_they_lie():
    atlas = torch.from_numpy(read_image(ATLAS_FILE)).float() / 255
    photos = Photos(torch.device("cpu"))
    for tile in (0, 5, TILES - 1):
        row, column = divmod(tile, ACROSS)
        here = atlas[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]
        u = torch.linspace(1.2, 1.8, 7)  # the mirror begins at 1
        read = photos(torch.full((7,), tile), u, torch.full((7,), 1.5))
        columns = ((u - 1) * TILE).long()
        window = torch.stack(
            [here[TILE // 2 - 4 : TILE // 2 + 4, c - 4 : c + 4].flatten(0, 1) for c in columns]
        )
        assert (read.t() >= window.amin(1) - 1e-3).all() and (read.t() <= window.amax(1) + 1e-3).all()


def test_every_picture_of_the_atlas_is_free_and_named():
    assert read_image(ATLAS_FILE).shape == (ACROSS * TILE, ACROSS * TILE, 3)
    assert ATLAS_FILE.stat().st_size < 1e6
    text = make_photos.LICENCES_FILE.read_text(encoding="utf-8")
    assert text == make_photos.licences()
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line[:2].strip().isdigit()]
    assert [int(number) for number, _ in lines] == list(range(TILES))
    for _, words in lines:
        assert words.startswith(("public domain", "CC0 1.0"))


def test_blocks_are_turned_into_cosines_and_back():
    wave = camera._cosines()
    torch.testing.assert_close(wave @ wave.t(), torch.eye(8), atol=1e-6, rtol=0)
    picture = torch.from_numpy(np.random.default_rng(0).random((2, 3, 256, 256), np.float32))
    parts = camera._of_blocks(picture, wave)
    means = torch.nn.functional.avg_pool2d(picture, 8)
    torch.testing.assert_close(parts[..., ::8, ::8], 8 * means, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(camera._of_blocks(parts, wave.t()), picture, atol=1e-5, rtol=1e-4)


def test_contrast_keeps_black_white_and_the_order_of_tones():
    drawn = draw_contrast(Draws(3, range(256), CONTRAST), 1.0)
    tones = torch.linspace(0, 1, 256).expand(256, 3, 1, -1)
    curved = tone_curve(drawn, tones)
    torch.testing.assert_close(curved[..., [0, -1]], tones[..., [0, -1]])
    assert curved.diff(dim=-1).min() > -1e-6
    steeper = curved.diff(dim=-1)[..., 127] > tones.diff(dim=-1)[..., 127]
    assert 0.7 < steeper.float().mean() < 0.9  # the share that is curved
    even = torch.rand(256, 3, 1, 1).expand(-1, -1, 8, 8)
    torch.testing.assert_close(sharpened(drawn, even), even)


def test_without_contrast_nothing_changes():
    none = draw_contrast(Draws(3, range(4), CONTRAST), 0.0)
    picture = torch.rand(4, 3, 16, 16) * 1.2 - 0.1
    assert torch.equal(sharpened(none, tone_curve(none, picture)), picture)
    assert none.flush.eq(1).all() and none.shadow.eq(1).all()
    assert none.hard.eq(0).all() and none.crevice.eq(0).all()


def test_dark_is_what_lies_just_behind_something():
    """Two sheets side by side, the right one 3 cm deeper; nothing covers the picture's last columns."""
    depth = torch.full((1, 12, 40), 0.5)
    depth[..., 16:] += 0.03
    mask = torch.ones_like(depth, dtype=torch.bool)
    mask[..., 34:] = False
    pixel = mask.view(-1).nonzero().squeeze(1)
    dark = torch.zeros(mask.numel()).index_copy_(0, pixel, crevices(depth[mask], pixel, mask)).view(12, 40)
    assert (dark[:, :16] == 0).all()
    # next to the edge four of nine columns are 3 cm nearer: the mean is 4/9 of 3 cm before them
    torch.testing.assert_close(dark[:, 16], torch.full((12,), 1.0))
    expected = (0.03 / 9 - ROUND) / (DEEP - ROUND)  # one column of nine
    torch.testing.assert_close(dark[:, 19], torch.full((12,), expected), atol=1e-4, rtol=0)
    assert (dark[:, 20:] < 1e-5).all()
