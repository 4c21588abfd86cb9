"""A network in an ONNX file, run by ONNX Runtime on the CPU: it stands in for `Inference`.

tool/export_onnx.py writes the files; what they say of themselves is read here.
"""

import importlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from common.utils.errors import UserError

FORMAT = "lgnet-onnx/1"
INPUT = "img"
NAMES_IN_FILE = {"shape": "betas"}  # an ONNX graph has a `shape` of its own


@dataclass(frozen=True)
class About:
    """What a file says of itself, in the metadata of the ONNX model, each value as JSON."""

    weights: str  # of which snapshot
    hand_model: str  # "MANO" or "stand-in hand", whose numbers are in the file
    outputs: dict[str, str]  # name in the file -> shape, unit and meaning
    joint_names: list[str]
    faces: list  # (2,1538,3) vertex indices from 0, right hand first
    format: str = FORMAT

    def to_metadata(self) -> dict[str, str]:
        return {key: json.dumps(value) for key, value in asdict(self).items()}


def require_package(name: str, install: str) -> ModuleType:
    """One of the packages that only ONNX files need; UserError that says how to get it: pip install ..."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        way_out = f"pip install {install}"
        raise UserError(f"ONNX files need the package {name}, which is not installed: {way_out}") from None


class OnnxNetwork:
    """RGB (B,3,256,256) in [0,1] -> the network's predictions, as `Inference` gives them, on the CPU."""

    half = False  # it computes in float32

    def __init__(self, model: Path | bytes):
        """model: a file or its content; UserError if it is none of ours."""
        name = model.name if isinstance(model, Path) else "the ONNX model"
        runtime = require_package("onnxruntime", "onnxruntime")
        if isinstance(model, Path) and not model.is_file():
            raise UserError(f"no such file: {model}")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()  # by default it takes every core
        # waiting threads would take the cores from what torch and OpenCV do between two forwards
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3  # errors; they become a sentence
        source = str(model) if isinstance(model, Path) else model
        try:
            self.session = runtime.InferenceSession(source, options, ["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's exceptions have no common class of their own
            reason = str(error).strip().splitlines()[0]
            raise UserError(f"{name} is not a readable ONNX file: {reason}") from None
        self.about = _read_about(self.session.get_modelmeta().custom_metadata_map, name)
        self.outputs = [output.name for output in self.session.get_outputs()]
        ours = {theirs: key for key, theirs in NAMES_IN_FILE.items()}
        self.keys = [ours.get(output, output) for output in self.outputs]

    def __call__(self, img: Tensor) -> dict[str, Tensor]:
        values = self.session.run(self.outputs, {INPUT: img.cpu().contiguous().numpy()})
        return {key: torch.from_numpy(value) for key, value in zip(self.keys, values, strict=True)}

    def plain(self, img: Tensor, attention: bool = False) -> dict[str, Tensor]:
        """The same; UserError where attention maps are asked for."""
        if attention:
            raise UserError("an ONNX file gives no attention maps: ask the snapshot it was made of")
        return self(img)


def _read_about(metadata: dict[str, str], name: str) -> About:
    """UserError where the metadata is not as `About.to_metadata` writes it."""
    refusal = f"{name} is not a network of this project: tool/export_onnx.py makes them from snapshots"
    try:
        values: dict[str, Any] = {key: json.loads(metadata[key]) for key in About.__dataclass_fields__}
    except (KeyError, ValueError):
        raise UserError(refusal) from None
    if values["format"] != FORMAT:
        raise UserError(f"{name} is of format {values['format']}, this code reads {FORMAT}: export it again")
    return About(**values)
