"""Measuring a network while it trains, after every epoch, on a few pictures that it does not learn from."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from common.base import evaluate
from common.eval.catalogue import HEADLINE, Key
from common.eval.metrics import Metrics
from common.eval.protocols import LGNET
from common.eval.reduce import shared_scores
from common.hand.mano import ManoLayer
from common.utils.interrupt import deaf_workers
from main.evaluation import gather


class Validation:
    """network -> headline metrics by name under protocol `lgnet`; None where nothing was measured.

    loader: this process's share of the pictures, the same every time. Every process gets the numbers of all.
    """

    def __init__(self, loader: Iterable[dict[str, Any]], mano: ManoLayer, device: torch.device):
        self.loader, self.mano, self.device = loader, mano, device

    def __call__(self, network: nn.Module) -> dict[str, float | None]:
        metrics, was_training = Metrics(self.mano), network.training
        consumers = {"metrics": metrics.update}
        network.eval()
        with torch.random.fork_rng(devices=[]):  # a loader draws seeds for its workers
            spent = evaluate(
                lambda batch: network(batch["img"]),
                deaf_workers(self.loader),
                self.mano,
                self.device,
                consumers,
                title="validation",
            )
        network.train(was_training)
        gather(metrics, spent)
        scores = metrics.summary()[LGNET.name] | shared_scores(metrics.columns())
        return {name: scores[Key(name)].value for name in HEADLINE if Key(name) in scores}
