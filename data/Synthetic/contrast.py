"""What makes hands strong in contrast in photographs: ruddy skin, red shadows, a tone curve, sharpening.

By eye, until brightness within hands varied about as much as in photographs. The fixed test sets are older
and leave it out.

Legend: B samples, H x W pixels.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from data.Synthetic.draws import Draws

CONTRAST = "contrast"  # its name among the groups of looks and the purposes of numbers
CURVED, SHARPENED = 0.8, 0.4  # shares of the pictures
RUDDY = (-0.04, 0.18, 0.06)  # what the reddest skin lacks of each colour
# Of the light that a shadow takes, by colour: skin lights its neighbours red.
RED_SHADOW = (0.85, 1.06, 1.1)


class Contrast(NamedTuple):
    """Drawn once a picture."""

    flush: Tensor  # (B,1,3) factors of the skin's display colours
    shadow: Tensor  # (B,1,3) factors of the light that shadows on hands take
    hard: Tensor  # (B,1,1) share of the sky's light that comes from the lamp instead
    crevice: Tensor  # (B,) share of the light that is missing beside what lies nearer
    bright: Tensor  # (B,1,1,1) how far the tone curve lifts the middle tones
    steep: Tensor  # (B,1,1,1) and draws them apart
    sharp: Tensor  # (B,1,1,1) how much sharpening


def draw_contrast(draws: Draws, strength: float) -> Contrast:
    """strength 0 leaves everything as it is."""
    ruddy = draws.uniform(1, 1) * draws.tensor(RUDDY)
    deep = draws.uniform(1, 1, low=0.9, high=1.6) * draws.tensor(RED_SHADOW)
    hard = draws.uniform(1, 1, high=0.6)
    crevice = draws.uniform(low=0.1, high=0.7)
    bright = draws.normal(1, 1, 1, std=0.15, limit=2)
    # the curve nowhere falls
    steep = draws.chance(CURVED, 1, 1, 1) * draws.uniform(1, 1, 1, low=0.2) * (1 - bright.abs())
    sharp = draws.chance(SHARPENED, 1, 1, 1) * draws.uniform(1, 1, 1, low=0.2, high=1.5)
    return Contrast(
        flush=1 - strength * ruddy,
        shadow=1 + strength * (deep - 1),
        hard=strength * hard,
        crevice=strength * crevice,
        bright=strength * bright,
        steep=strength * steep,
        sharp=strength * sharp,
    )


def tone_curve(contrast: Contrast, picture: Tensor) -> Tensor:
    """Display values (B,3,H,W) through a cubic that keeps black and white, and what is beyond them."""
    inside = picture.clamp(0, 1)
    bend = contrast.bright + contrast.steep * (2 * inside - 1)
    return torch.addcmul(picture, inside * (1 - inside), bend)


def sharpened(contrast: Contrast, picture: Tensor) -> Tensor:
    """What differs from the neighbours' mean, enlarged: (B,3,H,W), over the range too."""
    mean = avg_pool2d(picture, 3, stride=1, padding=1, count_include_pad=False)
    return torch.addcmul(picture, picture - mean, contrast.sharp)
