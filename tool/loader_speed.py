"""How many samples a core loads, beside what decoding and warping the same pictures alone allows.

    python tool/loader_speed.py [--pictures 1024] [--bytes 25000] [--rounds 3] [--workers N]

Makes a set in InterHand2.6M's files in a temporary folder, with JPEGs of 512 x 334 pixels of about so many
bytes, and times in turns, several rounds of each: decoding and warping alone, the data set's batches in one
process, and the loader with its workers. A core's rate is samples per second of processor time, which other
programs on the machine disturb less than the time on the wall.
"""

import argparse
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from common.hand.mano import load_mano
from common.utils.errors import UserError, run_script
from common.utils.geometry import IMAGE_SIZE
from data import InterHand26M, augment, build_loader
from data.augment import AugmentSettings
from data.loader import available_cores
from main.config import Augment
from tool.synthetic.true_size import write_true_size

BATCH = 64
KINDS = 16  # different pictures
SIZE = (512, 334)
EPOCHS = 2  # of the loader, in a row


def jpeg_of(size: int, seed: int) -> bytes:
    """A made-up picture as a JPEG of about so many bytes: spots of every scale, at the quality that fits."""
    rng = np.random.default_rng(seed)
    picture = np.full((*SIZE, 3), 128.0)
    for cells in (4, 8, 16, 32, 64, 128):
        spots = rng.normal(0, 120 / cells**0.5, (cells, cells, 3))
        picture += cv2.resize(spots, SIZE[::-1], interpolation=cv2.INTER_CUBIC)
    picture = picture.clip(0, 255).astype(np.uint8)
    tried = [
        cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1] for quality in range(1, 101)
    ]
    return min(tried, key=lambda content: abs(len(content) - size)).tobytes()


def rate_of_limit(data: InterHand26M) -> float:
    """Of no more than what every loader of these pictures has to do: read, decode, warp."""
    everything = list(range(len(data)))
    records = data.records(everything)[0]
    throws = [augment.draw(np.random.default_rng([0, 0, index]), data.augment) for index in everything]
    affine = augment.apply(records, throws)["affine"]
    out = np.empty((BATCH, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
    started = time.process_time()
    for row, path in enumerate(records["image_path"]):
        decode_and_warp(path, affine[row], out[row % BATCH])
    return len(data) / (time.process_time() - started)


def decode_and_warp(path: str, affine: NDArray[np.float64], out: NDArray[np.uint8]) -> None:
    image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    cv2.warpAffine(image, affine, (IMAGE_SIZE, IMAGE_SIZE), dst=out)


def rate_of_batches(data: InterHand26M) -> float:
    """Of the data set's batches, one after the other in this process."""
    started = time.process_time()
    for start in range(0, len(data), BATCH):
        data.batch(range(start, min(start + BATCH, len(data))))
    return len(data) / (time.process_time() - started)


def rates_of_loader(data: InterHand26M, workers: int) -> tuple[float, float]:
    """Of all of the workers' time, their start included, and of the time on the wall."""
    loader = build_loader(data, BATCH, workers, training=True)
    samples = EPOCHS * len(loader) * BATCH
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    for epoch in range(EPOCHS):
        loader.set_epoch(epoch)
        for _ in loader:
            pass
    wall = time.perf_counter() - started
    del loader  # ends the workers, whose time is counted then
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return samples / spent, samples / wall


def measure(data: InterHand26M, workers: int, rounds: int) -> None:
    """Print a table of medians."""
    found: dict[str, list[float]] = {"decode and warp alone": [], "batches, one process": []}
    spread, wall = f"loader, {workers} workers", "  on the wall, together"
    found |= {spread: [], wall: []}
    for _ in range(rounds):
        found["decode and warp alone"].append(rate_of_limit(data))
        found["batches, one process"].append(rate_of_batches(data))
        a_core, together = rates_of_loader(data, workers)
        found[spread].append(a_core)
        found[wall].append(together)
    limit = median(found["decode and warp alone"])
    print(f"{'samples a second and core':<28} {'median':>7} {'least':>7} {'most':>7}  share of the limit")
    for name, rates in found.items():
        middle = median(rates)
        print(f"{name:<28} {middle:7.0f} {min(rates):7.0f} {max(rates):7.0f}  {middle / limit:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, default=1024)
    parser.add_argument("--bytes", type=int, default=25_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=available_cores())
    args = parser.parse_args()
    if args.pictures < BATCH or args.workers < 1 or args.rounds < 1:
        raise UserError(f"--pictures is {BATCH} or more, --workers and --rounds 1 or more")
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    mano = load_mano()
    root = Path(tempfile.mkdtemp(prefix="loader_speed_"))
    try:
        pictures = [jpeg_of(args.bytes, seed) for seed in range(KINDS)]
        print(f"JPEGs of {np.mean([len(content) for content in pictures]):,.0f} bytes")
        write_true_size(root, mano, args.pictures, pictures)
        settings = AugmentSettings(**vars(Augment()))
        folders = (root / "annotations", root / "images")
        data = InterHand26M(
            mano, *folders, hand_type_valid_only=False, augment=settings, log=lambda line: None
        )
        measure(data, min(args.workers, available_cores()), args.rounds)
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    run_script(main)
