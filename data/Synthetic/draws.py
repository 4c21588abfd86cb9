"""Random numbers that depend on (seed, sample) alone, whatever the batch they are drawn in."""

import torch
from torch import Tensor

POOL = {"uniform": 512, "normal": 5120}  # kept ready per sample; a picture needs 272 and 4,216


class Draws:
    """A cursor over each sample's own uniform and normal numbers, (B, POOL)."""

    def __init__(self, seed: int, indices: range, device: torch.device | str = "cpu"):
        pools = [_pool(seed, index) for index in indices]
        self._uniform = torch.stack([pool[0] for pool in pools]).to(device)
        self._normal = torch.stack([pool[1] for pool in pools]).to(device)
        self._used = {"uniform": 0, "normal": 0}
        self.batch, self.device = len(pools), self._uniform.device

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """(B, *shape), flat between low and high."""
        return self._take("uniform", self._uniform, shape) * (high - low) + low

    def normal(self, *shape: int, std: float = 1.0, limit: float = 3.0) -> Tensor:
        """(B, *shape), mean 0, cut off at `limit` standard deviations."""
        return self._take("normal", self._normal, shape).clamp(-limit, limit) * std

    def chance(self, probability: float, *shape: int) -> Tensor:
        """(B, *shape) float 0 or 1."""
        return (self.uniform(*shape) < probability).float()

    def pick(self, weights: Tensor, *shape: int) -> Tensor:
        """(B, *shape) int64 classes; weights (C,) or (B, *shape, C), not normalised."""
        edges = weights.cumsum(-1)
        drawn = self.uniform(*shape)[..., None] * edges[..., -1:]
        return (drawn >= edges).sum(-1).clamp(max=weights.shape[-1] - 1)

    def device_tensor(self, values: tuple[float, ...]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=self.device)

    def _take(self, kind: str, pool: Tensor, shape: tuple[int, ...]) -> Tensor:
        start = self._used[kind]
        self._used[kind] = end = start + torch.Size(shape).numel()
        if end > POOL[kind]:
            raise RuntimeError(f"A sample draws over {POOL[kind]} {kind} numbers: enlarge POOL.")
        return pool[:, start:end].reshape(len(pool), *shape)


def _pool(seed: int, index: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed((seed * 1_000_003 + index) % 2**63)
    uniform = torch.rand(POOL["uniform"], generator=generator)
    return uniform, torch.randn(POOL["normal"], generator=generator)
