"""Both hands, the picture and its camera as one HTML file that one can turn; it asks the network for nothing.

The file holds all it needs, three.js (viewer_page/three.min.js) among it, and forbids itself the rest.
"""

import base64
import html
import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from common.hand.joints import HANDS
from common.show.figures import HAND_COLORS
from common.utils.files import write_bytes
from main.result.hand_values import HandValues

PAGE = Path(__file__).parent / "viewer_page"
LARGEST = 1600  # pixels, longer side of the picture in the file
QUALITY = 90  # of its JPEG


def write_viewer(path: Path, hands: HandValues, title: str = "two hands") -> None:
    """The hands that are present where `hands.camera` draws them, about 0.8 MB in all; title: of the window.

    Opens in any browser with WebGL 2, also from the disk; path#side opens another view: front, side or top.
    """
    # "<" in the data would end its script
    scene = json.dumps(_scene(hands), allow_nan=False).replace("<", "\\u003c")
    page = (PAGE / "page.html").read_text(encoding="utf-8")
    parts = {
        "TITLE": html.escape(title),
        "LICENCE": (PAGE / "three.LICENSE.txt").read_text(encoding="utf-8"),
        "SCENE": scene,
        "THREE": (PAGE / "three.min.js").read_text(encoding="utf-8"),
        "SCRIPT": (PAGE / "viewer.js").read_text(encoding="utf-8"),
    }
    page = re.sub("@([A-Z]+)@", lambda mark: parts[mark[1]], page)
    write_bytes(path, page.encode())


def _scene(hands: HandValues) -> dict[str, Any]:
    """What viewer.js reads: camera axes, metres, pixels of the original picture."""
    camera, (width, height) = hands.camera, hands.image_size
    shown = []
    for index, name in enumerate(HANDS):
        if hands.is_present[index]:
            shown.append(
                {
                    "name": name,
                    "color": [float(part) for part in HAND_COLORS[index]],
                    "verts": _base64(hands.verts_cam[index], "<f4"),
                    "faces": _base64(hands.faces[index], "<u2"),
                }
            )
    return {
        "hands": shown,
        "camera": {"fx": camera.fx, "fy": camera.fy, "cx": camera.cx, "cy": camera.cy},
        "width": width,
        "height": height,
        "picture": _jpeg(hands.picture),
        "words": _words(hands),
    }


def _words(hands: HandValues) -> str:
    found = [f"{name} hand" for name, present in zip(HANDS, hands.is_present, strict=True) if present]
    said = " and ".join(found) if found else "no hand found"
    return f"{said}; {hands.hand_model}; sizes and depths are a guess. Drag to turn, wheel to zoom."


def _base64(values: NDArray, kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values, kind).tobytes()).decode()


def _jpeg(picture: NDArray[np.uint8]) -> str:
    """RGB (H,W,3) -> a data address, made smaller where it is larger than a screen."""
    shrink = LARGEST / max(picture.shape[:2])
    if shrink < 1:
        picture = cv2.resize(picture, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    content = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
    return f"data:image/jpeg;base64,{base64.b64encode(content).decode()}"
