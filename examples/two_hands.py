"""From a picture to hands in a Python program: `python examples/two_hands.py [PICTURE [FOLDER]]`."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from main.find import find_hands
from main.predictor import load_predictor

picture = sys.argv[1] if len(sys.argv) > 1 else ROOT / "main" / "example.png"
folder = sys.argv[2] if len(sys.argv) > 2 else ROOT / "output" / "example"

predictor = load_predictor(ROOT / "main" / "weights" / "lgnet_small.pth")  # once: it takes seconds
hands = find_hands(predictor, picture)  # a path, or RGB (H,W,3) uint8
# where the place of the hands is known, x y w h in pixels: predictor(picture, (x, y, w, h))

for side, name in enumerate(("right", "left")):
    if hands.is_present[side]:
        x, y, z = hands.wrists_cam[side]  # metres; x right, y down, z forward
        print(f"{name} wrist at {x:.2f} {y:.2f} {z:.2f} m, probability {hands.present[side]:.2f}")
print(f"mesh {hands.verts_cam.shape}, joints {hands.joints_cam.shape}, MANO pose {hands.pose.shape}")
for path in hands.save(folder, "hands"):
    print(f"wrote {path}")
