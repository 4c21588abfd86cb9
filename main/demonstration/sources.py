"""What `--input` names: pictures, videos or a camera, and what their results are called.

No torch here: a mistyped path is told at once.
"""

import glob
from dataclasses import dataclass
from pathlib import Path

from common.utils.errors import UserError

PICTURES = {
    *(".jpg", ".jpeg", ".jpe", ".jp2", ".png", ".bmp", ".dib", ".webp", ".avif", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".gif", ".heic", ".heif"),
}
VIDEOS = {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".3gp"}
UNREADABLE = {".heic", ".heif"}  # OpenCV has no decoder for what iPhones write


@dataclass(frozen=True)
class Source:
    """One picture, video or camera."""

    kind: str  # picture, video or camera
    place: Path | int  # a file, or the number of a camera
    stem: str  # its results are <stem>.json, <stem>_overlay.png, ...


def list_sources(text: str) -> list[Source]:
    """A picture, a video, a folder of them, a glob or a camera's number; UserError where there is none."""
    path = Path(text)
    if text.isdecimal() and not path.exists():
        return [Source("camera", int(text), f"camera{text}")]
    if path.is_dir():
        return _named(_of_folder(path))
    if not path.exists() and glob.has_magic(text):
        return _named(_of_glob(text))
    if not path.exists():
        raise UserError(f"cannot read {path}: No such file; {_HELP}")
    if not path.is_file():  # reading a pipe would wait for ever
        raise UserError(f"cannot read the picture {path}: it is no file")
    return _named([path])


_HELP = "--input takes a picture, a folder, a glob, a video or a camera's number"


def _of_folder(folder: Path) -> list[Path]:
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and _is_known(path)]
    if not files:
        raise UserError(f"the folder {folder} holds no picture and no video; {_HELP}")
    return files


def _of_glob(pattern: str) -> list[Path]:
    files = [Path(name) for name in sorted(glob.glob(pattern, recursive=True))]
    files = [path for path in files if path.is_file() and _is_known(path)]
    if not files:
        raise UserError(f"no picture and no video matches {pattern}; {_HELP}")
    return files


def _is_known(path: Path) -> bool:
    return path.suffix.lower() in PICTURES | VIDEOS


def _named(files: list[Path]) -> list[Source]:
    """Results of different files never share a name."""
    sources, taken = [], set()
    for path in files:
        stem = first = _stem(path)
        number = 2
        while stem in taken:  # files of several folders
            stem, number = f"{first}_{number}", number + 1
        taken.add(stem)
        kind = "video" if path.suffix.lower() in VIDEOS else "picture"
        sources.append(Source(kind, path, stem))
    return sources


def _stem(path: Path) -> str:
    """`a` of a.jpg; `a_jpg` where a.png lies beside it, whichever of them is asked for."""
    twins = [other for other in path.parent.glob(f"{glob.escape(path.stem)}.*") if _is_known(other)]
    if len(twins) < 2:
        return path.stem
    return f"{path.stem}_{path.suffix[1:]}"


def require_readable(source: Source) -> None:
    """UserError with the way out for pictures that nobody here can decode."""
    if source.kind == "picture" and source.place.suffix.lower() in UNREADABLE:
        raise UserError(f"cannot read the picture {source.place}: HEIC is not supported, save it as JPEG")
