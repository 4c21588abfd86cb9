"""Measuring while training: right numbers, always of the same pictures, and nothing learned from them."""

import json
import math
import re

import numpy as np
import pytest
import torch
from torch import nn

from common.base import Trainer
from common.targets import add_targets
from common.training.readings import Means
from data.loader import build_loader
from main import build, train
from main.config import override
from main.presets import preset
from main.validation import Validation
from tests.scripts import TINY, output_in, run
from tests.tiny_trainer import everything, raw_batches, tiny_trainer
from tests.two_hands import perfect

CPU = torch.device("cpu")


def config(*settings: str):
    return override(preset("lgnet"), ["train.validate=6", "train.batch_size=2", *settings])


class Oracle(nn.Module):
    """Answers each batch in turn with the truth, turned about the wrists in the picture plane."""

    def __init__(self, answers: list[dict], angle: float):
        super().__init__()
        self.answers = iter(answers)
        cos, sin = math.cos(angle), math.sin(angle)
        self.turn = torch.tensor([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
        self.seen_training: list[bool] = []

    def forward(self, image):
        self.seen_training.append(self.training)
        pred = next(self.answers)
        return {**pred, "verts": pred["verts"] @ self.turn, "joints": pred["joints"] @ self.turn}


@pytest.mark.parametrize("angle", [0.0, 0.2])
def test_the_numbers_of_a_known_error(hands, angle):
    data = build.validation_data(config(), hands, print)
    batches = [add_targets(batch, hands) for batch in data]
    network = Oracle([perfect(hands, batch) for batch in batches], angle).train()
    before = torch.get_rng_state()
    numbers = Validation(data, hands, CPU)(network)
    # the protocol counts pictures of two hands
    two = torch.cat([batch["present"].sum(1) == 2 for batch in batches])
    verts, joints = (torch.cat([batch[key] for batch in batches])[two] for key in ("verts_cam", "joints_cam"))
    assert len(verts) > 1
    assert numbers["MPVPE"] == pytest.approx(moved(verts, angle), abs=0.01)
    assert numbers["MPJPE"] == pytest.approx(moved(joints, angle), abs=0.01)
    assert numbers["PA_MPVPE"] == pytest.approx(0, abs=0.01)
    assert network.seen_training == [False] * 3 and network.training
    assert torch.equal(torch.get_rng_state(), before)


def moved(points: torch.Tensor, angle: float) -> float:
    """Millimetres that a turn about the z axis moves points, on average."""
    return 1000 * 2 * math.sin(angle / 2) * points[..., :2].norm(dim=-1).mean().item()


def test_pictures_are_neither_trained_nor_tested_on(hands):
    first, again = (build.validation_data(config(), hands, print) for _ in range(2))
    assert len(first.ids()) == 6 and first.ids() == again.ids()
    assert torch.equal(next(iter(first))["img"], next(iter(again))["img"])
    others = [build.training_data(config(), hands, print), build.test_data(config(), hands, print)]
    seeds = [data.seed for data in others]
    same_seed = build.validation_data(config(f"train.seed={first.seed}"), hands, print)
    assert first.seed not in seeds and same_seed.seed != first.seed


def test_interhand_is_validated_on_its_val_split_evenly(hands, interhand):
    folders = [
        f"interhand_anno_dir={interhand / 'annotations'}",
        f"interhand_images_path={interhand / 'images'}",
        f"root_net_output_path={interhand / 'rootnet_output'}",
    ]
    whole = config(*folders, "workers=0", "train.validate=1000", "use_fits=false", "hands=all")
    data = build.validation_data(whole, hands, lambda line: None)
    assert data.dataset.split == "val"
    ids = [name for batch in data for name in batch["id"]]
    assert sorted(ids) == sorted(data.ids())
    two = build_loader(data.dataset, 2, spread=2, log=print)
    assert [name for batch in two for name in batch["id"]] == [data.ids()[0], data.ids()[-1]]


def test_training_is_the_same_with_it(hands):
    """An epoch with a validation after each of two, against one without: the same weights, to the bit."""
    weights = []
    for validates in (False, True):
        trainer = tiny_trainer(CPU, ema=0.9)
        if validates:
            data = build.validation_data(config("train.validate=2"), hands, print)
            trainer.validate = Validation(data, hands, CPU)
        for batch in raw_batches(trainer, 2):
            trainer.network.train()
            trainer.train_step(batch)
            finish(trainer)
        weights.append(everything(trainer))
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]), name


def finish(trainer: Trainer) -> None:
    trainer.read()
    trainer.finish_epoch()


def test_the_best_epoch_is_the_best_validated_one(hands):
    trainer = tiny_trainer(CPU)
    answers = iter([30.0, 20.0, 25.0])
    trainer.validate = lambda network: {"MPJPE": next(answers), "MPVPE": None}
    for trained in (3.0, 2.0, 1.0):  # still falling
        trainer.means = Means()
        trainer.means.add({"total": trained, "MPVPE_mm": trained})
        trainer.finish_epoch()
    assert trainer.best == [20.0, 1]


def test_a_run_writes_what_it_measured(tmp_path, capsys):
    arguments = (*TINY, *output_in(tmp_path), "--exp", "run", "--validate", 2)
    assert run(train, *arguments) == 0
    assert "epoch 1, validation: MPJPE " in capsys.readouterr().out
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    measured = [json.loads(line)["validation"] for line in lines]
    log = (tmp_path / "run" / "log.txt").read_text()
    assert re.search(r"epoch 0, step 2 of 2: \S+ pictures/s, loss \S+, .*, lr ", log)
    assert len(measured) == 2 and all(np.isfinite(entry["MPVPE"]) for entry in measured)
