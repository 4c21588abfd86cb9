"""The data sets, and the loader of the map-style ones; main/build.py chooses among them."""

from data.Folder import Folder
from data.HIC import HIC
from data.InterHand26M import InterHand26M
from data.loader import build_loader
from data.Synthetic import SyntheticStream, SyntheticTestSet

__all__ = ["HIC", "Folder", "InterHand26M", "SyntheticStream", "SyntheticTestSet", "build_loader"]
