from data.Synthetic.stream import SyntheticStream
from data.Synthetic.test_set import SyntheticTestSet

__all__ = ["SyntheticStream", "SyntheticTestSet"]
