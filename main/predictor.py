"""Picture in, two hands out: the public API, used by demo.py.

predictor = load_predictor("main/weights/lgnet_small.pth")
hands = predictor("photo.jpg")  # or RGB (H,W,3), uint8 -> TwoHands
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from common.hand.joints import LEFT
from common.hand.mano import ManoLayer, load_mano
from common.hand.mano_file import STANDIN_NAME
from common.nets.inference import Inference, wants_half
from common.nets.onnx_network import OnnxNetwork
from common.utils.camera import Camera, centred_camera, file_camera
from common.utils.checkpoint import load_snapshot
from common.utils.errors import UserError
from common.utils.geometry import IMAGE_SIZE
from common.utils.image import apply_affine, crop_affine, square_box, warp
from common.utils.pixels import as_picture
from main.model import model_from_snapshot
from main.result.hand_values import PRESENT
from main.result.two_hands import TwoHands

SMALLEST = 16  # pixels a side; nothing smaller can show a hand
ATTENTION = ("local", "global")
READ = (  # of what a network predicts
    *("present", "verts", "joints", "verts_rough", "joints_rough", "joints_img"),
    *("pose", "shape", "cam", "rel_trans", *ATTENTION),
)

Picture = str | Path | NDArray | Tensor
Box = Sequence[float] | None


@dataclass(frozen=True)
class Crop:
    """The square of a picture that the network sees."""

    pixels: NDArray[np.uint8]  # (256,256,3) RGB
    affine: NDArray  # (2,3), box (4,): as in TwoHands
    box: NDArray
    picture: NDArray[np.uint8]  # (H,W,3) RGB, the whole of it
    camera: Camera  # of the whole picture


class Predictor:
    """A network with its hands, on one device; calls leave no state behind.

    The network is taken over, see common/nets/inference.py. amp: "on", "off" or "auto", float16 on GPUs.
    threshold: probability from which on a hand counts as present.
    """

    def __init__(
        self,
        model: nn.Module | OnnxNetwork,
        mano: ManoLayer,
        device: torch.device | str,
        weights: str = "unnamed",
        amp: str = "auto",
        threshold: float = PRESENT,
    ):
        self.threshold = threshold
        self.device = torch.device(device)
        self.model = model
        is_file = isinstance(model, OnnxNetwork)
        self.inference = model if is_file else Inference(model, self.device, wants_half(amp, self.device))
        self.mano = mano.to(device)
        self.faces = self.mano.faces.cpu().numpy()
        self.weights = weights

    def __call__(
        self, picture: Picture, bbox: Box = None, attention: bool = False, camera: Camera | None = None
    ) -> TwoHands:
        """A picture of any size -> TwoHands.

        picture: a path; or RGB, not BGR as OpenCV reads it, uint8 or floats from 0 to 1, (H,W,3) or (3,H,W),
        numpy or torch; grey (H,W) and RGBA will do.
        Without bbox the whole picture is the crop, padded to a square about its centre; bbox is
        x, y, w, h in pixels, squared about its own centre and never enlarged.
        attention: look where the network looked, too (common/nets/attention_maps.py).
        camera: of the whole picture; None: the file's EXIF focal length, else a default.
        Raises UserError on what is no picture, one too small, a box that is none, or damaged weights.
        """
        return self._predict([read_crop(picture, bbox, camera)], attention)[0]

    def batch(
        self, pictures: Sequence[Picture], bboxes: Sequence[Box] | None = None, camera: Camera | None = None
    ) -> list[TwoHands]:
        """Several pictures, each with its box or None, in one forward: faster on a GPU than one by one."""
        if not len(pictures):
            return []
        bboxes = [None] * len(pictures) if bboxes is None else bboxes
        if len(bboxes) != len(pictures):
            raise UserError(f"{len(bboxes)} boxes for {len(pictures)} pictures: give one each, or None")
        return self._predict([read_crop(*pair, camera) for pair in zip(pictures, bboxes, strict=True)])

    @torch.inference_mode()
    def _predict(self, crops: list[Crop], attention: bool = False) -> list[TwoHands]:
        pixels = torch.from_numpy(np.stack([crop.pixels for crop in crops])).to(self.device)
        img = pixels.permute(0, 3, 1, 2).float() / 255
        pred = self.inference.plain(img, attention=True) if attention else self.inference(img)
        pred["pose"] = self.mano.pose(pred["rotmat"])
        if "present" in pred:
            pred["present"] = pred["present"].sigmoid()
        if attention:
            pred |= pred.pop("attention")
        rows = on_host({key: pred[key] for key in READ if key in pred})
        if not all(np.isfinite(values).all() for values in rows.values()):
            hint = '; amp="off" computes in float32' if self.inference.half else ""
            raise UserError(f"the weights {self.weights} give numbers that are not finite{hint}")
        return [self._collect({key: rows[key][i] for key in rows}, crop) for i, crop in enumerate(crops)]

    def _collect(self, pred: dict[str, NDArray], crop: Crop) -> TwoHands:
        """pred: of one picture, without the batch axis."""
        present = pred.get("present", np.ones(2, np.float32))
        rel_trans = pred["rel_trans"] if (present >= self.threshold).all() else None
        wrists = np.zeros((2, 1, 3), np.float32)
        wrists[LEFT] = 0 if rel_trans is None else rel_trans
        has_rough = "verts_rough" in pred
        maps = {unit: pred[unit] for unit in ATTENTION if unit in pred}
        return TwoHands(
            present=present,
            verts=pred["verts"] + wrists,
            joints=pred["joints"] + wrists,
            verts_rough=pred["verts_rough"] + wrists if has_rough else None,
            joints_rough=pred["joints_rough"] + wrists if has_rough else None,
            joints_2d_heatmap=_to_original(crop.affine, pred["joints_img"][..., :2]),
            pose=pred["pose"],
            shape=pred["shape"],
            cam=pred["cam"],
            rel_trans=rel_trans,
            affine=crop.affine,
            box=crop.box,
            image_size=(crop.picture.shape[1], crop.picture.shape[0]),
            camera=crop.camera,
            picture=crop.picture,
            faces=self.faces,
            threshold=self.threshold,
            hand_model=self.mano.name,
            weights=self.weights,
            attention=maps or None,
        )


def on_host(pred: dict[str, Tensor]) -> dict[str, NDArray[np.float32]]:
    """Tensors (B,...) as arrays, in one copy from the device: each would wait for it anew."""
    flat = torch.cat([value.float().flatten(1) for value in pred.values()], 1).cpu()
    parts = flat.split([value[0].numel() for value in pred.values()], 1)
    return {
        key: part.reshape(value.shape).numpy() for (key, value), part in zip(pred.items(), parts, strict=True)
    }


def read_crop(picture: Picture, bbox: Box, camera: Camera | None = None) -> Crop:
    """What the network is shown of a picture."""
    pixels = as_picture(picture)
    box = crop_box(pixels, bbox)
    affine = crop_affine(box, IMAGE_SIZE)
    camera = camera or own_camera(picture, pixels)
    return Crop(warp(pixels, affine, IMAGE_SIZE), affine, box, pixels, camera)


def own_camera(picture: Picture, pixels: NDArray[np.uint8]) -> Camera:
    """The camera of a file by its EXIF, else the default; pixels (H,W,3): what was read of the picture."""
    size = (pixels.shape[1], pixels.shape[0])
    return file_camera(picture, size) if isinstance(picture, str | Path) else centred_camera(size)


def crop_box(picture: NDArray, bbox: Sequence[float] | None) -> NDArray[np.float64]:
    """The square x, y, w, h (4,) that is cut out: the padded picture, or bbox squared."""
    height, width = picture.shape[:2]
    if min(height, width) < SMALLEST:
        raise UserError(
            f"the picture is {width}x{height} pixels, too small to show a hand (at least {SMALLEST} a side)"
        )
    if bbox is None:
        return square_box((0, 0, width, height), 1.0)
    if len(bbox) != 4:
        raise UserError(f"bbox has {len(bbox)} numbers: give x, y, w, h")
    x, y, w, h = bbox
    inside = x < width and y < height and x + w > 0 and y + h > 0
    if not (np.isfinite([x, y, w, h]).all() and w >= 1 and h >= 1 and inside):
        raise UserError(
            f"bbox {x:g} {y:g} {w:g} {h:g} is no box in a picture of {width}x{height} pixels: "
            "give x y of its upper left corner, then width and height"
        )
    return square_box((x, y, w, h), 1.0)


def _to_original(affine: NDArray, pixels: ArrayLike) -> NDArray[np.float32]:
    """Crop pixels (...,2) -> pixels of the original picture."""
    turn = np.linalg.inv(affine[:, :2])
    back = np.column_stack([turn, -turn @ affine[:, 2]])
    return apply_affine(back, np.asarray(pixels, np.float64)).astype(np.float32)


def load_predictor(
    checkpoint: str | Path,
    device: torch.device | str = "cpu",
    smplx_path: str | None = None,
    amp: str = "auto",
    threshold: float = PRESENT,
) -> Predictor:
    """A predictor from a snapshot, rebuilt with the settings the snapshot carries; or from an ONNX file of
    tool/export_onnx.py, whose network ONNX Runtime runs on the CPU.

    smplx_path: folder with the official MANO files, None for the stand-in hand. amp: float16 "on", "off",
    or "auto": on GPUs. threshold: probability from which on a hand counts as present.
    Raises UserError on a snapshot or hand model that cannot be read.
    """
    if not 0 <= threshold <= 1:
        raise UserError(f"threshold {threshold:g} is no probability: give a number from 0 to 1")
    if Path(checkpoint).suffix == ".onnx":
        return load_onnx_predictor(Path(checkpoint), smplx_path, threshold)
    snapshot = load_snapshot(Path(checkpoint))
    mano = load_mano(smplx_path)
    model = model_from_snapshot(snapshot, mano)
    return Predictor(model, mano, device, describe_weights(Path(checkpoint), snapshot), amp, threshold)


def load_onnx_predictor(path: Path, smplx_path: str | None, threshold: float) -> Predictor:
    """The hands are those that the file was exported with; UserError where these are not here."""
    network = OnnxNetwork(path)
    made_with = network.about.hand_model
    mano = load_mano(None if made_with == STANDIN_NAME else smplx_path)
    if mano.name != made_with:
        raise UserError(f"{path.name} was exported with {made_with}: set smplx_path to its folder")
    return Predictor(network, mano, "cpu", f"{path.name} of {network.about.weights}", threshold=threshold)


def describe_weights(path: Path, snapshot: dict[str, Any]) -> str:
    """File name and what the snapshot says of itself, for logs and results."""
    labels = {"last_epoch": "epoch", "commit": "commit", "hand_model": "trained with the"}
    parts = [f"{words} {snapshot[key]}" for key, words in labels.items() if key in snapshot]
    return f"{path.name} ({', '.join(parts)})" if parts else path.name
