"""The data sets by name, and the loader of the map-style ones."""

from data.Folder import Folder
from data.HIC import HIC
from data.InterHand26M import InterHand26M
from data.loader import build_loader
from data.Synthetic import SyntheticStream

DATASETS = {"InterHand26M": InterHand26M, "HIC": HIC, "Folder": Folder, "Synthetic": SyntheticStream}

__all__ = ["DATASETS", "build_loader"]
