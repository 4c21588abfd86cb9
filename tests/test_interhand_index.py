"""InterHand2.6M's files as arrays in a cache: the same records, made once, by one process, whole or not."""

import json
import multiprocessing
import pickle
import shutil
from pathlib import Path

import filelock
import numpy as np
import pytest

from common.hand.joints import INTERHAND_TO_JOINTS
from common.utils.errors import UserError
from data import cache, json_stream
from data.InterHand26M import index as index_module
from data.InterHand26M.annotations import _rows_of_images
from tests.interhand_set import load, quiet, read

ORDER = np.array([INTERHAND_TO_JOINTS, np.add(INTERHAND_TO_JOINTS, 21)])
ARRAY = {"numbers": np.arange(40_000.0).reshape(-1, 4)}


@pytest.fixture
def copy(interhand, tmp_path):
    ignore = shutil.ignore_patterns("lgnet_cache")
    return Path(shutil.copytree(interhand, tmp_path / "copy", ignore=ignore))


def plain_reading(root, split):
    """One dict per annotation, straight from the files; millimetres, InterHand's order made ours."""
    data, cameras, joints, fits = (
        read(root, split, kind) for kind in ("data", "camera", "joint_3d", "MANO_NeuralAnnot")
    )
    images = {image["id"]: image for image in data["images"]}
    for row in data["annotations"]:
        image = images[row["image_id"]]
        capture, camera, frame = str(image["capture"]), str(image["camera"]), str(image["frame_idx"])
        camera = {key: np.array(table[camera]) for key, table in cameras[capture].items()}
        yield row, image, camera, joints[capture][frame], fits.get(capture, {}).get(frame) or {}


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_records_are_what_the_files_say(interhand, hands, split):
    data = load(interhand, hands, split=split)
    rows = list(plain_reading(interhand, split))
    assert len(data) == len(rows) == 30
    for index, (row, image, camera, joints, fit) in enumerate(rows):
        record = data.record(index)
        assert record["id"] == str(row["id"]) and record["hand_type"] == row["hand_type"]
        assert record["hand_type_valid"] == bool(row["hand_type_valid"])
        assert str(record["image_path"]) == str(interhand / "images" / split / image["file_name"])
        assert list(record["image_size"]) == [image["width"], image["height"]]
        assert np.array_equal(record["in_picture"], np.array(row["joint_valid"], bool).ravel()[ORDER])
        assert np.array_equal(record["joints_valid"], np.array(joints["joint_valid"]).ravel()[ORDER])
        world = np.array(joints["world_coord"])[ORDER]
        valid = record["joints_valid"]
        expected = (world - camera["campos"]) @ camera["camrot"].T / 1000
        assert np.abs(record["joints"] - expected)[valid].max() < 1e-9
        fx, fy, cx, cy = *camera["focal"], *camera["princpt"]
        assert np.array_equal(record["K_orig"], [[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
        for side, hand in enumerate(("right", "left")):
            known = fit.get(hand)
            assert record["pose_valid"][side] == (known is not None and record["present"][side])
            if known is not None:
                assert np.array_equal(record["shape"][side], known["shape"])
                assert np.allclose(record["pose"][side, 1:].ravel(), known["pose"][3:])


def test_a_later_start_reads_no_annotation(copy, hands, monkeypatch):
    first = load(copy, hands, split="test", root_net_output_path=copy / "rootnet_output")
    monkeypatch.setattr(json, "loads", None)  # of every reader but about.json's
    monkeypatch.setattr(cache.json, "loads", lambda text: json.JSONDecoder().decode(text))
    monkeypatch.setattr(json_stream.JsonStream, "rows", None)
    again = load(copy, hands, split="test", root_net_output_path=copy / "rootnet_output")
    for index in range(len(first)):
        one, two = first.record(index), again.record(index)
        assert all(np.array_equal(one[key], two[key]) for key in one)


def test_changed_annotations_are_read_again_and_old_arrays_go(copy, hands):
    load(copy, hands)
    path = copy / "annotations" / "train" / "InterHand2.6M_train_data.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["hand_type"] = "left"
    path.write_text(json.dumps(content))
    assert load(copy, hands).record(0)["hand_type"] == "left"
    folders = [entry for entry in (copy / "annotations" / "lgnet_cache").iterdir() if entry.is_dir()]
    assert len([entry for entry in folders if entry.name.startswith("train_index.")]) == 1


def test_the_index_travels_as_a_path(interhand, hands):
    data = load(interhand, hands)
    again = pickle.loads(pickle.dumps(data))
    assert len(pickle.dumps(data.index)) < 1000
    assert all(np.array_equal(data.record(3)[key], again.record(3)[key]) for key in data.record(3))


def damage_middle(folder):
    content = bytearray((folder / "numbers.npy").read_bytes())
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    (folder / "numbers.npy").write_bytes(content)


DAMAGES = {
    "cut": lambda folder: (folder / "numbers.npy").write_bytes(b"\x93NUMPY"),
    "zeros": damage_middle,
    "missing": lambda folder: (folder / "numbers.npy").unlink(),
    "no list": lambda folder: (folder / "about.json").unlink(),
    "other list": lambda folder: (folder / "about.json").write_text('{"arrays": 3}'),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_cache_is_made_again_and_said(tmp_path, damage):
    lines = []
    made = cache.cached("it", "1", lambda: ARRAY, [tmp_path], lines.append)
    assert not lines
    damage(made.folder)
    again = cache.cached("it", "1", lambda: ARRAY, [tmp_path], lines.append)
    assert np.array_equal(again["numbers"], ARRAY["numbers"]) and "is damaged" in lines[0]
    cache.cached("it", "1", None, [tmp_path], lines.append)
    assert len(lines) == 1


def test_another_version_has_another_key(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"content")
    before = cache.key_of([tmp_path / "file"])
    assert before == cache.key_of([tmp_path / "file"])
    monkeypatch.setattr(cache, "FORMAT", cache.FORMAT + 1)
    assert before != cache.key_of([tmp_path / "file"])


def test_arrays_go_where_they_can_be_written(copy, hands, tmp_path, monkeypatch):
    """As beside a data folder that is read-only; without any such place the sentence says what to set."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    (copy / "annotations" / "lgnet_cache").write_text("a file stands where the folder would be")
    lines = []
    data = load(copy, hands, log=lines.append)
    assert tmp_path / "home" in data.index.folder.parents
    assert any("cannot keep" in line and str(copy) in line for line in lines)
    assert any("kept in" in line and str(tmp_path / "home") in line for line in lines)
    again = []
    load(copy, hands, log=again.append)
    assert not any("reading" in line for line in again)
    monkeypatch.setenv("XDG_CACHE_HOME", str(copy / "annotations" / "lgnet_cache"))
    with pytest.raises(UserError, match="set cache_dir"):
        load(copy, hands)


def test_a_full_disk_is_noticed_before_writing(copy, hands, monkeypatch):
    usage = shutil.disk_usage(copy)
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda place: usage._replace(free=1000))
    with pytest.raises(UserError, match="No space left.*set cache_dir"):
        load(copy, hands, cache_dir=copy / "here")
    assert not [entry for entry in (copy / "here").iterdir() if entry.is_dir()]


def build_slowly(folder, barrier, built):
    def build():
        with built.get_lock():
            built.value += 1
        return ARRAY

    barrier.wait()
    arrays = cache.cached("it", "1", build, [folder], quiet)
    assert np.array_equal(arrays["numbers"], ARRAY["numbers"])


def test_of_processes_that_start_together_one_builds(tmp_path):
    context = multiprocessing.get_context("fork")
    barrier, built = context.Barrier(4), context.Value("i", 0)
    arguments = (tmp_path, barrier, built)
    processes = [context.Process(target=build_slowly, args=arguments) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4 and built.value == 1


def test_who_waits_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "PATIENCE", 0.01)
    lock = filelock.FileLock(tmp_path / "it.lock")
    lock.acquire()
    lines = []

    def give_way(line):
        lines.append(line)
        lock.release()

    cache.cached("it", "1", lambda: ARRAY, [tmp_path], give_way)
    assert len(lines) == 1 and "waiting for another process" in lines[0]


def test_what_cannot_be_read_is_named_not_the_cache(tmp_path):
    def build():
        return {"numbers": np.fromfile(tmp_path / "gone")}

    lines = []
    with pytest.raises(UserError, match="cannot read .*gone"):
        cache.cached("it", "1", build, [tmp_path], lines.append)
    assert not lines


def test_what_a_killed_builder_left_is_removed(tmp_path):
    left = tmp_path / "partial_it.1.99999"
    left.mkdir()
    (left / "numbers.npy").write_bytes(b"half")
    cache.cached("it", "1", lambda: ARRAY, [tmp_path], quiet)
    assert not left.exists()


def test_pictures_that_appear_and_go_are_noticed(copy, hands, monkeypatch):
    """Listed once while nothing changes; a folder whose time of change moves is listed again."""
    monkeypatch.setattr(index_module, "SETTLED", 0)
    assert len(load(copy, hands)) == 30
    listed = []
    real = index_module.os.listdir
    monkeypatch.setattr(index_module.os, "listdir", lambda path: listed.append(path) or real(path))
    assert len(load(copy, hands)) == 30 and not listed
    path = Path(load(copy, hands).record(0)["image_path"])
    content = path.read_bytes()
    path.unlink()
    assert len(load(copy, hands)) == 29 and listed
    path.write_bytes(content)
    assert len(load(copy, hands)) == 30


def test_images_are_joined_by_their_id():
    """Of two images with one id the last counts, as in a table; an unknown one is named."""
    columns = {"id": np.array([7, 8, 9]), "image_id": np.array([5, 3, 5])}
    rows = _rows_of_images(Path("x.json"), columns, np.array([5, 3, 5, 4]))
    assert rows.tolist() == [2, 1, 2]
    columns["image_id"][1] = 6
    with pytest.raises(UserError, match="annotation 8 is malformed: image_id 6"):
        _rows_of_images(Path("x.json"), columns, np.array([5, 3, 5, 4]))


DOCUMENT = {
    "info": {"a": [1, {"b": None}], "text": 'brackets }, {[ " \\ \u00e4\u4e2d'},
    "images": [{"id": 1, "file_name": "a/b.jpg"}, {"id": 2, "nested": {"deep": [[1], [2.5e-3]]}}],
    "empty": [],
    "numbers": [12345, -6.75, True, None, "x"],
}


@pytest.mark.parametrize("piece", [1, 3, 64, 2**22])
@pytest.mark.parametrize("indent", [None, 2])
def test_streamed_rows_are_those_of_the_whole_file(tmp_path, monkeypatch, piece, indent):
    monkeypatch.setattr(json_stream, "PIECE", piece)
    path = tmp_path / "file.json"
    path.write_text(json.dumps(DOCUMENT, indent=indent, ensure_ascii=False), encoding="utf-8")
    lists = {key: rows for key, rows in DOCUMENT.items() if isinstance(rows, list)}
    found = list(json_stream.JsonStream(path, "see").rows())
    assert found == [(key, row) for key, rows in lists.items() for row in rows]


@pytest.mark.parametrize("piece", [5, 2**22])
def test_every_cut_is_found_and_its_place_is_json_s_own(tmp_path, monkeypatch, piece):
    monkeypatch.setattr(json_stream, "PIECE", piece)
    text = json.dumps(DOCUMENT, indent=1)
    path = tmp_path / "file.json"
    for length in range(1, len(text), 3):
        path.write_text(text[:length])
        with pytest.raises(UserError, match="file.json is damaged or cut short") as found:
            list(json_stream.JsonStream(path, "see").rows())
        with pytest.raises(json.JSONDecodeError) as expected:
            json.loads(text[:length])
        line = int(str(found.value).partition(" at line ")[2].split()[0])
        assert abs(line - expected.value.lineno) <= 1, length


def test_damage_in_the_middle_ends_the_reading_there(tmp_path):
    path = tmp_path / "file.json"
    rows = ['{"id": 1}'] * 200_000
    rows[50_000] = '{"id": 1, oh}'
    path.write_text('{"images": [' + ",\n".join(rows) + "]}")
    with pytest.raises(UserError, match="property name.*at line 50001 column 1[01] "):
        list(json_stream.JsonStream(path, "see").rows())
