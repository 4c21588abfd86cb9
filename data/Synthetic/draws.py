"""Random numbers that depend on (seed, sample) alone, whatever the batch they are drawn in."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

UNIFORM, NORMAL = 512, 5120  # kept ready per sample; a picture needs 272 and 4,216


class Draws:
    """A cursor over each sample's own uniform and normal numbers, for B samples at once."""

    def __init__(self, seed: int, indices: Sequence[int], device: torch.device | str = "cpu"):
        pools = zip(*(_pools(seed, index) for index in indices), strict=True)
        self._pools = [torch.stack(rows).to(device) for rows in pools]
        self._used = [0, 0]
        self.batch, self.device = len(indices), self._pools[0].device

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """(B, *shape), flat between low and high."""
        return self._take(0, shape) * (high - low) + low

    def normal(self, *shape: int, std: float = 1.0, limit: float = 3.0) -> Tensor:
        """(B, *shape), mean 0, cut off at `limit` standard deviations."""
        return self._take(1, shape).clamp(-limit, limit) * std

    def chance(self, probability: float, *shape: int) -> Tensor:
        """(B, *shape) float 0 or 1."""
        return (self.uniform(*shape) < probability).float()

    def pick(self, weights: Tensor, *shape: int) -> Tensor:
        """(B, *shape) int64 classes; weights (C,) or (B, *shape, C), not normalised."""
        edges = weights.cumsum(-1)
        drawn = self.uniform(*shape)[..., None] * edges[..., -1:]
        return (drawn >= edges).sum(-1).clamp(max=weights.shape[-1] - 1)

    def one_of(self, count: int, *shape: int) -> Tensor:
        """(B, *shape) int64 below count, all equally likely."""
        return self.pick(torch.ones(count, device=self.device), *shape)

    def tensor(self, values: Any) -> Tensor:
        """Constants, float32, where the numbers are."""
        return torch.tensor(values, dtype=torch.float32, device=self.device)

    def _take(self, kind: int, shape: tuple[int, ...]) -> Tensor:
        start, pool = self._used[kind], self._pools[kind]
        self._used[kind] = end = start + torch.Size(shape).numel()
        if end > pool.shape[1]:
            raise RuntimeError(f"a sample draws over {pool.shape[1]} numbers: enlarge UNIFORM or NORMAL")
        return pool[:, start:end].reshape(self.batch, *shape)


def _pools(seed: int, index: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed((seed * 1_000_003 + index) % 2**63)
    return torch.rand(UNIFORM, generator=generator), torch.randn(NORMAL, generator=generator)
