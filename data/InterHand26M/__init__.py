from data.InterHand26M.dataset import InterHand26M

__all__ = ["InterHand26M"]
