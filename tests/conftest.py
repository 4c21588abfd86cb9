"""What several tests share; CPU only, no licensed file."""

import os
import shutil
import signal

import pytest
import torch

from common.hand.mano import ManoLayer, load_mano
from data.Synthetic import SyntheticStream
from main import train
from main.cli import LOCAL_PATHS_VARIABLE
from tests.scripts import TINY, Run, output_in, run, settings
from tool.synthetic.make_synthetic import make_synthetic

torch.set_num_threads(1)
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a background job's shell has switched off
os.environ.setdefault("OMP_NUM_THREADS", "1")  # of programs that tests start: tests run two at once
os.environ[LOCAL_PATHS_VARIABLE] = os.devnull  # the paths of a developer's machine stay out of the tests


@pytest.fixture(scope="session")
def hands() -> ManoLayer:
    """Both stand-in hands."""
    return load_mano()


@pytest.fixture(scope="session")
def stream(hands) -> SyntheticStream:
    """Synthetic pictures of every view."""
    return SyntheticStream(hands, 8, seed=3, samples=100)


@pytest.fixture(scope="session")
def interhand(tmp_path_factory, hands):
    """A small synthetic set in InterHand2.6M's format, every oddity once per split; read only."""
    return make_synthetic(tmp_path_factory.mktemp("interhand"), hands)


@pytest.fixture(scope="session", params=["synthetic", "interhand"])
def trained(request, tmp_path_factory, interhand):
    """A tiny run of train.py on the synthetic stream and on the small set; read only."""
    root = tmp_path_factory.mktemp("output")
    data = settings(synthetic_test=5, test__batch_size=2)
    if request.param == "interhand":
        folders = settings(interhand_anno_dir=interhand / "annotations", workers=0, limit=5)
        data += [*folders, *settings(interhand_images_path=interhand / "images")]
        data += settings(root_net_output_path=interhand / "rootnet_output")
    assert run(train, *TINY, *data, *output_in(root), "--exp", request.param) == 0
    yield Run(root / request.param, data)
    shutil.rmtree(root)  # snapshots are large
