"""demo.py on every kind of input, with the shipped weights; other libraries read back what it writes."""

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
from PIL import Image

from common.utils.errors import UserError
from common.utils.image import read_image
from main import cli, demo
from main.demonstration.sources import list_sources
from tests.scripts import run

EXAMPLE = read_image(demo.EXAMPLE)
CPU = ["--gpu", "cpu"]
BRIEF = [*CPU, "--whole", "--save", "overlay,json"]


def larger(zoom):
    return cv2.resize(EXAMPLE, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)


def read_json(path):
    return json.loads(path.read_text())


# ---- what --input names ----


def test_a_folder_a_glob_and_a_camera(tmp_path):
    for name in ("b.PNG", "a.jpg", "c.mp4", "notes.txt", "sub/d.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    named = [(source.kind, source.stem) for source in list_sources(str(tmp_path))]
    assert named == [("picture", "a"), ("picture", "b"), ("video", "c")]
    assert [source.stem for source in list_sources(str(tmp_path / "**" / "*.png"))] == ["d"]
    assert [(s.kind, s.place) for s in list_sources("3")] == [("camera", 3)]


def test_results_of_different_files_have_different_names(tmp_path):
    for name in ("x/a.jpg", "x/a.png", "y/a.png", "z/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [s.stem for s in list_sources(str(tmp_path / "x"))] == ["a_jpg", "a_png"]
    assert list_sources(str(tmp_path / "x" / "a.png"))[0].stem == "a_png"  # alone, too: a.jpg may come later
    assert [s.stem for s in list_sources(str(tmp_path / "[yz]" / "*"))] == ["a", "a_2"]


@pytest.mark.parametrize("name", ["none.png", "*.png", "folder"])
def test_nothing_to_read(tmp_path, name):
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="--input takes a picture, a folder, a glob, a video or a camera"):
        list_sources(str(tmp_path / name))


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        ("No such file", ["--input", "none.png"]),
        ("cannot write", ["--output", f"{__file__}/out"]),
        ("--threshold 2 is no probability", ["--threshold", "2"]),
        ("cannot save stl: there are overlay", ["--save", "obj,stl"]),
        ("give --K or --focal, not both", ["--K", "1", "1", "1", "1", "--focal", "5"]),
        ("a focal length more than 0 of them", ["--focal", "-5"]),
        ("--K and --focal are numbers of pixels", ["--K", "900", "900", "nan", "5"]),
        ("give --bbox or --whole", ["--bbox", "1", "1", "1", "1", "--whole"]),
    ],
)
def test_mistakes_are_told_before_torch_is_imported(words, arguments):
    code = "import sys; from main import demo; from common.utils.errors import run_script\n"
    code += "try:\n    run_script(demo.main)\nfinally:\n    print('torch' in sys.modules)"
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=cli.ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == "False\n", done.stderr
    assert words in done.stderr and done.stderr.count("\n") == 1


# ---- pictures ----


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """The example in every form, and the results of the demo on the whole folder, a broken one in it."""
    folder = tmp_path_factory.mktemp("pictures")
    rotated = Image.fromarray(np.ascontiguousarray(np.rot90(larger(2)[:400])))  # stored lying on its side
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by a quarter to see it upright
    exif.get_ifd(0x8769)[0xA405] = 27
    rotated.save(folder / "rotated.jpg", exif=exif, quality=95)
    Image.fromarray(np.pad(larger(1), ((300, 500), (0, 0), (0, 0)))).save(folder / "tall.png")
    Image.fromarray(np.pad(larger(1), ((0, 0), (700, 500), (0, 0)))).save(folder / "wide.webp", lossless=True)
    Image.fromarray(np.pad(larger(12), ((0, 0), (400, 528), (0, 0)))[:3000]).save(folder / "large.jpg")
    grey = Image.fromarray(EXAMPLE).convert("L")
    grey.save(folder / "grey.png")
    Image.fromarray(EXAMPLE).convert("RGBA").save(folder / "alpha.png")
    Image.fromarray(EXAMPLE).convert("CMYK").save(folder / "cmyk.jpg", quality=95)
    Image.fromarray(np.asarray(grey).astype(np.uint16) * 257).save(folder / "deep.png")
    cv2.imwrite(str(folder / "deep.tiff"), EXAMPLE[..., ::-1].astype(np.uint16) * 257)
    (folder / "broken.jpg").write_bytes((folder / "cmyk.jpg").read_bytes()[:99])
    (folder / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic")
    output = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        heard = []
        patch.setattr(sys.stderr, "write", heard.append)
        code = run(demo, "--input", folder, "--output", output, *BRIEF)
    return code, output, "".join(heard)


SIZES = {
    **{"rotated": (512, 400), "tall": (256, 1056), "wide": (1456, 256), "large": (4000, 3000)},
    **{name: (256, 256) for name in ("grey", "alpha", "cmyk", "deep_png", "deep_tiff")},
}


@pytest.mark.parametrize("stem", SIZES)
def test_pictures_of_every_form(pictures, stem):
    _, output, _ = pictures
    said = read_json(output / f"{stem}.json")
    assert tuple(said["image_size"]) == SIZES[stem]
    drawn = read_image(output / f"{stem}_overlay.png")
    assert drawn.shape[1] == SIZES[stem][0] and drawn.shape[0] > SIZES[stem][1]
    if SIZES[stem] == (256, 256):
        assert said["hands_present"] == ["right", "left"]


def test_a_12_megapixel_picture_has_a_caption_that_can_be_read(pictures):
    bar = read_image(pictures[1] / "large_overlay.png")[3000:]
    rows = np.flatnonzero((bar > 128).any((1, 2)))
    assert np.ptp(rows) > 0.01 * 4000  # the letters' height, in parts of the width


def test_broken_pictures_are_named_and_the_rest_is_done(pictures):
    code, output, heard = pictures
    assert code == 2 and len(list(output.glob("*.json"))) == len(SIZES)
    assert "broken.jpg is damaged or not a picture" in heard and "HEIC is not supported" in heard
    last = heard.splitlines()[-1]
    assert last.startswith("error: 2 of 11 inputs failed: ") and "phone.heic" in last


def test_the_focal_length_of_the_file(pictures):
    camera = read_json(pictures[1] / "rotated.json")["camera"]
    assert camera["source"] == "exif" and camera["fx"] == pytest.approx(27 / 36 * 512)
    assert camera["metric"] is False and camera["cx"] == 255.5 and camera["cy"] == 199.5
    assert read_json(pictures[1] / "tall.json")["camera"]["source"] == "default"


def test_no_hand_is_said(tmp_path, capsys):
    arguments = ["--output", tmp_path, "--threshold", 1, *CPU, "--whole"]
    assert run(demo, *arguments) == 0
    assert "no hand found" in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == {"example.json", "example_overlay.png"}
    assert read_json(tmp_path / "example.json")["threshold"] == 1


def test_the_shipped_weights_say_what_they_are_good_for(tmp_path, capsys):
    assert run(demo, "--output", tmp_path, *BRIEF) == 0
    assert "on photographs expect" in capsys.readouterr().out
    assert run(demo, "--output", tmp_path, *BRIEF, "--checkpoint", demo.WEIGHTS) == 0
    assert "on photographs expect" not in capsys.readouterr().out
