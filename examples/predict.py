"""Two hands from a picture, from Python: python examples/predict.py [PICTURE]"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the project is no installed package

from main.predictor import load_predictor

predictor = load_predictor(ROOT / "main" / "weights" / "lgnet_small.pth")
hands = predictor(sys.argv[1] if len(sys.argv) > 1 else ROOT / "main" / "example.png")
for index, name in enumerate(("right", "left")):
    if hands.is_present[index]:
        u, v = hands.joints_2d[index, 0]
        print(f"{name} hand, {hands.present[index]:.0%} sure, wrist at {u:.0f}, {v:.0f}")
