"""A sheet of samples as training sees them, with their labels drawn on.

python tool/show_data.py SHEET.png [--split train] [--count 12] [--columns 4] [--plain] [--set key=value]
"""

import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from torch import Tensor

from common.hand.joints import BONES, HANDS
from common.hand.mano import load_mano
from common.show.figures import HAND_COLORS, truth_overlay
from common.show.vis import Picture, draw_skeleton, side_by_side, stack, to_picture
from common.targets import add_targets
from common.utils.errors import UserError, run_script
from common.utils.files import require_writable, write_picture
from main import build, cli
from main.config import override
from main.presets import preset


def labelled(batch: dict[str, Tensor], index: int, faces: Tensor) -> Picture:
    """The true meshes where there are fits, the annotated joints on top."""
    picture = truth_overlay(to_picture(batch["img"][index]), batch, index, faces)
    for hand in range(len(HANDS)):
        joints = batch["joints_img"][index, hand, :, :2].numpy()
        valid = batch["joints_img_valid"][index, hand, :, 0].numpy()
        picture = draw_skeleton(picture, joints, BONES, HAND_COLORS[hand].tolist(), valid)
    return picture


def main() -> None:
    options = cli.parser(__doc__)
    options.add_argument("sheet", type=Path)
    options.add_argument("--preset", default="lgnet")
    options.add_argument("--split", choices=("train", "test"), default="train")
    options.add_argument("--count", type=int, default=12)
    options.add_argument("--columns", type=int, default=4)
    options.add_argument("--plain", action="store_true", help="pictures alone, without labels")
    args = options.parse_args()
    if min(args.count, args.columns) < 1:
        raise UserError("--count and --columns are 1 or more")
    require_writable(args.sheet)
    start = preset(args.preset)
    if args.split == "test":  # what test.py reads, whatever is trained on
        start = replace(start, data=build.TEST_DATA)
    config = override(start, args.settings)
    mano = load_mano(config.paths.smplx_path)
    data = build.training_data if args.split == "train" else build.test_data
    pictures: list[Picture] = []
    for batch in data(config, mano, print):
        batch = add_targets(batch, mano)
        missing = args.count - len(pictures)
        for index in range(min(missing, len(batch["img"]))):
            picture = to_picture(batch["img"][index])
            if not args.plain:
                picture = side_by_side([picture, labelled(batch, index, mano.faces)])
            pictures.append(picture)
        if len(pictures) == args.count:
            break
    rows = []
    for start in range(0, len(pictures), args.columns):
        rows.append(side_by_side(pictures[start : start + args.columns]))
    write_picture(args.sheet, np.ascontiguousarray(stack(rows)))
    print(f"wrote {args.sheet}")


if __name__ == "__main__":
    run_script(main)
