"""Random numbers that depend on (seed, sample) alone, whatever the batch they are drawn in."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

TEST_SEED = 20250  # of the fixed test set; no stream to train on may use it
# What numbers are drawn for: each has numbers of its own, so that new looks move no hand. How many uniform
# and normal ones are kept ready per sample.
PURPOSES = {"scene": (256, 512), "looks": (1024, 2048), "contrast": (16, 16)}


class Draws:
    """A cursor over each sample's own uniform and normal numbers for one of PURPOSES, B samples at once."""

    def __init__(self, seed: int, indices: Sequence[int], purpose: str, device: torch.device | str = "cpu"):
        pools = [_pools(seed, index, purpose) for index in indices]
        uniform = torch.stack([numbers for numbers, _ in pools]).to(device)
        normal = torch.stack([numbers for _, numbers in pools]).to(device)
        self._pools = {"uniform": uniform, "normal": normal}  # (B,numbers) each
        self._used = {"uniform": 0, "normal": 0}
        self.batch, self.device = len(indices), uniform.device

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """(B, *shape), flat between low and high."""
        return self._take("uniform", shape) * (high - low) + low

    def normal(self, *shape: int, std: float = 1.0, limit: float = 3.0) -> Tensor:
        """(B, *shape), mean 0, cut off at `limit` standard deviations."""
        return self._take("normal", shape).clamp(-limit, limit) * std

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

    def _take(self, kind: str, shape: tuple[int, ...]) -> Tensor:
        pool, start = self._pools[kind], self._used[kind]
        end = start + torch.Size(shape).numel()
        self._used[kind] = end
        if end > pool.shape[1]:
            raise RuntimeError(f"a sample draws over {pool.shape[1]} {kind} numbers: enlarge PURPOSES")
        return pool[:, start:end].reshape(self.batch, *shape)


def _pools(seed: int, index: int, purpose: str) -> tuple[Tensor, Tensor]:
    """The uniform and normal numbers of one sample. Seed and index are the key of a counter-based generator
    (Philox), 64 bits each, the purpose is the highest word of its counter: nothing shares its numbers."""
    key = np.array([seed, index], np.uint64)
    counter = np.array([0, 0, 0, list(PURPOSES).index(purpose)], np.uint64)
    generator = np.random.Generator(np.random.Philox(key=key, counter=counter))
    uniforms, normals = PURPOSES[purpose]
    uniform = generator.random(uniforms, np.float32)
    normal = generator.standard_normal(normals, np.float32)
    return torch.from_numpy(uniform), torch.from_numpy(normal)
