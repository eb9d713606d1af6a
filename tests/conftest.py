"""What all tests share: few threads, the scope of mmdvis, and a fresh message hub."""

import os

import pytest
import torch


def pytest_configure(config):
    """One thread a worker: the workers share two cores."""
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def scope():
    """The default scope, as a config sets it; seeds for what draws from the global generators."""
    from mmengine.registry import init_default_scope

    init_default_scope('mmdvis')
    torch.manual_seed(0)


@pytest.fixture(scope='session')
def toy_root(tmp_path_factory):
    """A few small toy videos on disk: six for training, three to validate."""
    from mmdvis.datasets.toy.scene import SceneOptions
    from mmdvis.datasets.toy.videos import write_toy_videos

    root = tmp_path_factory.mktemp('toy')
    write_toy_videos(
        root,
        seed=3,
        num_train=6,
        num_val=3,
        options=SceneOptions(size=(64, 96), num_frames=7),
        num_workers=1,
        progress=False,
    )
    return root
