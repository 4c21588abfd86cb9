"""A training snapshot -> a small file to ship: weights in half precision, no optimizer.

python tool/ship_weights.py output/lgnet_small/model_dump/snapshot_19.pth main/weights/lgnet_small.pth
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.utils.checkpoint import half_precision, load_snapshot, save_snapshot
from common.utils.errors import run_script

KEPT = ("config", "commit", "hand_model", "last_epoch")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("snapshot", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    snapshot = load_snapshot(args.snapshot)
    shipped = {key: snapshot[key] for key in KEPT if key in snapshot}
    save_snapshot({**shipped, "network": half_precision(snapshot["network"])}, args.out)
    print(f"wrote {args.out}, {args.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    run_script(main)
