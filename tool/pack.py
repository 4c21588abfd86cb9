"""Pack the pictures that InterHand2.6M's samples are cut from into a few large files, for slow disks.

    python tool/pack.py OUT [--split train] [--quality 95] [--set key=value]

Of every picture it keeps what augmentation can reach (data/pack.py), cut out and written as a JPEG again, or
the file as it is where that is no larger. Then train with --set interhand_images_path=OUT, and the same
augment settings, or narrower ones. Zip archives, not compressed: Python reads and writes them everywhere
without another package, any zip program opens them, and an entry is read from where it lies. Stopped and
started again, it goes on with the first archive that is missing.
"""

import io
import sys
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import BinaryIO

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from common.hand.mano import load_mano
from common.utils.errors import UserError, run_script
from common.utils.files import write_file
from common.utils.image import decoded, read_content
from data import InterHand26M
from data.augment import AugmentSettings
from data.loader import available_cores
from data.pack import PLACES, archives, parts, reach
from main import build, cli
from main.config import Config, override
from main.presets import preset

CHUNK = 1024  # samples whose pictures are made before they are written
IN_ARCHIVE = 50_000  # pictures
Entry = tuple[str, bytes, list[float]]  # name, content, a row of PLACES


def part_of_picture(name: str, path: str, low: NDArray, high: NDArray, quality: int) -> Entry | str:
    """A JPEG of a part of a picture, or all of it; the sentence to say where it cannot be read."""
    try:
        content = read_content(path)
        image = decoded(content, path)
    except UserError as error:
        return str(error)
    brightness = sum(cv2.mean(image)[:3]) / 3
    (left, top), (right, bottom) = low.tolist(), high.tolist()
    part = np.ascontiguousarray(image[top:bottom, left:right, ::-1])
    made = cv2.imencode(".jpg", part, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
    place = (left, top, right - left, bottom - top)
    if len(made) >= len(content):
        height, width = image.shape[:2]
        made, place = content.tobytes(), (0, 0, width, height)
    return f"{name}.jpg", made, [int(name), *place, brightness]


def entries(data: InterHand26M, samples: range, reached: float, quality: int) -> Iterator[Entry]:
    """The pictures of some samples, made by a thread a core; one that cannot be read is said and left out."""
    with ThreadPoolExecutor(available_cores()) as threads:
        for start in range(samples.start, samples.stop, CHUNK):
            records = data.records(range(start, min(start + CHUNK, samples.stop)))[0]
            low, high = parts(records["box"], records["image_size"], reached)
            columns = (records["id"], records["image_path"], low, high, repeat(quality))
            for found in threads.map(part_of_picture, *columns):
                if isinstance(found, str):
                    tqdm.write(f"left out: {found}")
                else:
                    yield found


def write_archive(path: Path, pictures: Iterator[Entry]) -> None:
    """One archive, whole or not at all."""

    def write(file: BinaryIO) -> None:
        places = []
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name, content, place in pictures:
                archive.writestr(name, content)
                places.append(place)
            table = io.BytesIO()
            np.save(table, np.array(places, np.float64))
            archive.writestr(PLACES, table.getvalue())

    write_file(path, write)


def pack(data: InterHand26M, out: Path, reached: float, quality: int) -> int:
    """Write all archives that are not there yet -> bytes of all."""
    for number, start in enumerate(tqdm(range(0, len(data), IN_ARCHIVE), desc="archives")):
        path = out / f"{data.split}_{number:05d}.zip"
        if not path.exists():
            samples = range(start, min(start + IN_ARCHIVE, len(data)))
            write_archive(path, entries(data, samples, reached, quality))
    return sum(path.stat().st_size for path in archives(out, data.split))


def whole_split(config: Config, split: str) -> InterHand26M:
    """All samples of a split that have a picture, whatever a training would choose of them."""
    if not build.uses_real_data(config):
        raise UserError("set interhand_anno_dir and interhand_images_path: there is nothing to pack")
    paths = config.paths
    return InterHand26M(
        load_mano(paths.smplx_path),
        paths.interhand_anno_dir,
        paths.interhand_images_path,
        paths.root_net_output_path,
        split=split,
        hand_type_valid_only=False,
        use_fits=config.data.use_fits,
        limit=config.data.limit,
        cache_dir=paths.cache_dir,
    )


def main() -> None:
    options = cli.parser(__doc__)
    options.add_argument("out", type=Path)
    options.add_argument("--split", choices=("train", "val", "test"), default="train")
    options.add_argument("--quality", type=int, default=95, help="of JPEGs that are written again, 1 to 100")
    args = options.parse_args()
    if not 1 <= args.quality <= 100:
        raise UserError("--quality is between 1 and 100")
    cv2.setNumThreads(0)  # the threads are ours
    config = override(preset("lgnet"), args.settings)
    data = whole_split(config, args.split)
    settings = AugmentSettings(**vars(config.augment)) if args.split == "train" else None
    size = pack(data, args.out, reach(settings), args.quality)
    print(f"packed {len(data):,} pictures, {size / 1e6:,.0f} MB: --set interhand_images_path={args.out}")


if __name__ == "__main__":
    run_script(main)
