from data.Synthetic.stream import SyntheticStream

__all__ = ["SyntheticStream"]
