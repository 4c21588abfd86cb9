from data.Folder.dataset import Folder

__all__ = ["Folder"]
