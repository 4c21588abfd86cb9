"""What several tests share; CPU only, no licensed file."""

import pytest
import torch

from common.hand.mano import ManoLayer, load_hands
from tool.make_synthetic import make_synthetic

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def hands() -> ManoLayer:
    """Both stand-in hands."""
    return load_hands()


@pytest.fixture(scope="session")
def interhand(tmp_path_factory, hands):
    """A small synthetic set in InterHand2.6M's format, every oddity once per split; read only."""
    return make_synthetic(tmp_path_factory.mktemp("interhand"), hands)
