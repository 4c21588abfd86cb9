from data.HIC.dataset import HIC

__all__ = ["HIC"]
