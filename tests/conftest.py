"""Fixtures shared by all tests: the number of threads, the default scope and the toy videos."""

import os

import pytest
import torch

import mmdvis  # noqa: F401 (before mmcv and mmdet, which then find their operators)


def pytest_configure(config):
    """Use one thread per worker, because the workers share two cores."""
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    torch.set_num_threads(1)


@pytest.fixture(scope='session', autouse=True)
def unformatted_configs():
    """Do not format dumped configs: it takes longer than most tests and does not change their meaning."""
    from yapf.yapflib import yapf_api

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yapf_api, 'FormatCode', lambda text, **options: (text, False))
        yield


@pytest.fixture(autouse=True)
def scope():
    """Set the default scope as a config does, and seed the global generator of PyTorch."""
    from mmengine.registry import init_default_scope

    init_default_scope('mmdvis')
    torch.manual_seed(0)


@pytest.fixture(scope='session')
def toy_root(tmp_path_factory):
    """Folder with small toy videos: six for training and three for validation."""
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


SMOKE = (  # one quick test of each part
    'test_architecture.py::test_imports_point_down',
    'test_checkpoints/test_loading.py',
    'test_checkpoints/test_reader.py::test_what_training_writes_is_read',
    'test_structures/test_results_and_checks.py',
    'test_io/test_feature_stores.py',
    'test_models/test_postprocessors.py',
    'test_models/test_dvis.py',
    'test_models/test_trackers.py',
    'test_models/test_refiner.py',
    'test_datasets/test_vipseg.py',
    'test_evaluation/test_by_hand.py',
    'test_engine/test_registry.py',
    'test_visualization/test_visualizer.py',
    'test_apis/test_offline_video.py',
    'test_configs/test_recipes.py',
    'test_testing/test_parity.py::test_an_official_file_is_loaded_as_it_is',
)


def pytest_collection_modifyitems(items):
    """Marks the tests of ``make smoke``."""
    for item in items:
        if item.nodeid.split('tests/')[-1].startswith(SMOKE):
            item.add_marker(pytest.mark.smoke)
