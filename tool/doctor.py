"""What this machine has, what is missing, and what to do next; the lines fit into the report of a bug.

python tool/doctor.py [--set key=value]    # settings as for train.py; looks, and changes nothing but caches
"""

import contextlib
import os
import platform
import re
import shutil
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # without the packages these cannot be imported
    from common.hand.mano import ManoLayer
    from main.config import Config

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

INSTALL = "pip install -r requirements.txt"
OTHER_NAMES = {"opencv-python-headless": ("opencv-python", "opencv-contrib-python")}  # do as well
OPTIONAL = {  # packages that one part needs
    "mediapipe": "demo.py --detector mediapipe",
    "onnxruntime": "demo.py --checkpoint X.onnx",
    "onnx": "tool/export_onnx.py",
    "pytest": "the tests",
}
LEAST_FREE = 10e9  # bytes for a run's snapshots


class Doctor:
    """Prints what is found, one line each, and keeps what is to be mended."""

    def __init__(self):
        self.to_do: list[str] = []

    def says(self, topic: str, words: object) -> None:
        print(f"   {topic:<12} {words}", flush=True)

    def complains(self, topic: str, words: object, mend: str = "") -> None:
        """mend: what to do about it, where the words do not say so themselves."""
        print(f"!! {topic:<12} {words}", flush=True)
        self.to_do.append(mend or str(words))


def main() -> None:
    doctor = Doctor()
    try:
        configs = wanted_configs()
    except ImportError as error:  # the packages say why
        configs = {}
        doctor.complains("code", error, INSTALL)
    look_at_packages(doctor)
    if not doctor.to_do:
        look_inside(doctor, configs)
    if doctor.to_do:
        print("\nto do:")
        for number, mend in enumerate(doctor.to_do, 1):
            print(f"{number}. {mend}")
        sys.exit(2)


# ---- before anything is imported ----


def look_at_packages(doctor: Doctor) -> None:
    """Python, and the packages of requirements.txt."""
    doctor.says("python", f"{platform.python_version()} on {platform.platform()}")
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").split()
    for name, least in (line.split(">=") for line in lines):
        found = version_of(name)
        if found is None or numbers(found) < numbers(least):
            words = "not installed" if found is None else f"{found} is too old"
            doctor.complains(name, f"{words}, {least} or newer is needed", INSTALL)
            continue
        doctor.says(name, found)
    for name, use in OPTIONAL.items():
        doctor.says(name, version_of(name) or f"not installed; only {use} needs it")
    doctor.to_do = list(dict.fromkeys(doctor.to_do))


def version_of(package: str) -> str | None:
    """Of the package, or of another that does as well; None where there is none."""
    for name in (package, *OTHER_NAMES.get(package, ())):
        with contextlib.suppress(metadata.PackageNotFoundError):
            return metadata.version(name)
    return None


def numbers(version: str) -> list[int]:
    """2.10.1+cu128 -> [2, 10, 1]."""
    return [int(number) for number in re.findall(r"\d+", version.partition("+")[0])]


# ---- with our own code, which needs the packages ----


def wanted_configs() -> "dict[str, Config]":
    """What train.py and test.py would start from."""
    from dataclasses import replace

    from main import build, cli
    from main.config import override
    from main.presets import preset

    options = cli.parser(__doc__)
    options.add_argument("--preset", default="lgnet")
    args = options.parse_args()
    start = preset(args.preset)
    return {
        "training": override(start, args.settings, prefer="train"),
        "test": override(replace(start, data=build.TEST_DATA), args.settings, prefer="train"),
    }


def look_inside(doctor: Doctor, configs: "dict[str, Config]") -> None:
    """Code, devices, hand model, weights, data, disk."""
    from common.hand.mano import load_mano
    from common.utils.checkpoint import git_commit, load_snapshot
    from common.utils.errors import UserError
    from main import cli

    config = configs["training"]
    doctor.says("code", f"{ROOT}, commit {git_commit(ROOT)}")
    file = cli.local_paths_file()
    doctor.says(
        "paths", f"{file}{'' if file.exists() else ' (not there: all paths are as --set gives them)'}"
    )
    look_at_devices(doctor)
    weights = ROOT / "main" / "weights" / "lgnet_small.pth"
    try:
        load_snapshot(weights)
        doctor.says("weights", f"{weights}, {weights.stat().st_size / 1e6:.1f} MB")
    except UserError as error:
        doctor.complains("weights", error, f"git checkout {weights.relative_to(ROOT)}")
    try:
        mano = load_mano(config.paths.smplx_path)
        doctor.says("hand model", f"{mano.name} (smplx_path = {config.paths.smplx_path or 'not set'})")
    except UserError as error:
        mano = load_mano(None)
        doctor.complains("hand model", error)
    look_at_data(doctor, configs, mano)
    look_at_disks(doctor, config)
    if not doctor.to_do:
        tell_what_next(config)


def look_at_devices(doctor: Doctor) -> None:
    import torch

    from common.training.step import autocast_type
    from data.loader import available_cores

    for number in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(number)
        words = f"{about.name}, {about.total_memory / 2**30:.0f} GiB, compute {about.major}.{about.minor}"
        doctor.says(f"GPU {number}", f"{words}, CUDA {torch.version.cuda}")
    if not torch.cuda.device_count():
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
        doctor.says("GPU", f"none that torch ({built}) sees; everything runs on the CPU")
    kind = autocast_type("auto", torch.device("cpu"))
    doctor.says("CPU", f"{available_cores()} cores, trains in {'float32' if kind is None else kind}")


def look_at_data(doctor: Doctor, configs: "dict[str, Config]", mano: "ManoLayer") -> None:
    """What is trained and tested on: files, annotations, fits and pictures, in counts."""
    from common.utils.errors import UserError
    from main import build

    uses = {
        "training": (build.describe_data, build.training_data),
        "test": (build.describe_test_data, build.test_data),
    }
    for name, (describe, read) in uses.items():
        try:
            doctor.says(name, describe(configs[name]))
            if not build.is_synthetic(configs[name]):  # of which nothing lies on a disk
                read(configs[name], mano, lambda line: doctor.says("", line))
        except UserError as error:
            doctor.complains(name, error)


def look_at_disks(doctor: Doctor, config: "Config") -> None:
    """Where runs and caches are written."""
    places = {"output_dir": ROOT / config.paths.output_dir}
    if config.paths.cache_dir:
        places["cache_dir"] = Path(config.paths.cache_dir).expanduser()
    for key, place in places.items():
        there = next(folder for folder in (place, *place.parents) if folder.exists())
        free = shutil.disk_usage(there).free
        words = f"{place}, {free / 1e9:,.0f} GB free"
        if not os.access(there, os.W_OK):
            doctor.complains("disk", f"{words}, not ours to write", f"--set {key}=FOLDER that can be written")
        elif free < LEAST_FREE:
            doctor.complains("disk", words, f"free some space, or --set {key}=FOLDER elsewhere")
        else:
            doctor.says("disk", words)


def tell_what_next(config: "Config") -> None:
    from main import build

    print("\nnothing is missing; next:")
    if build.uses_real_data(config):
        print("  python main/train.py --gpu 0 --set backbone_weights=imagenet --validate")
        return
    print("  python main/demo.py --input YOUR_PHOTO.jpg")
    print("  python main/train.py --preset quick        # three minutes, synthetic pictures")
    print("  your own data: the four keys in README.md")


if __name__ == "__main__":
    from common.utils.errors import run_script

    run_script(main)
