"""Registry lookups across scopes, and configs addressed by package name."""

import pytest
from mmengine.config import Config
from mmengine.registry import MODELS as ROOT

from mmdvis.registry import DATASETS, HOOKS, METRICS, MODELS, OPTIM_WRAPPER_CONSTRUCTORS, RUNNERS, TRANSFORMS


@pytest.mark.parametrize(
    'registry, name',
    [
        (MODELS, 'DVIS'),
        (MODELS, 'DVISTracker'),
        (MODELS, 'TemporalRefiner'),
        (MODELS, 'Mask2FormerSegmenter'),
        (MODELS, 'CosineTracker'),
        (DATASETS, 'VIPSegDataset'),
        (METRICS, 'VPQMetric'),
        (METRICS, 'STQMetric'),
        (TRANSFORMS, 'SampleClip'),
        (HOOKS, 'CheckpointLoadingHook'),
        (HOOKS, 'VideoVisualizationHook'),
        (RUNNERS, 'VideoRunner'),
        (OPTIM_WRAPPER_CONSTRUCTORS, 'GroupedConstructor'),
    ],
)
def test_names_that_configs_use(registry, name):
    assert registry.get(name).__name__ == name


def test_other_scopes_are_reached():
    assert MODELS.get('mmdet.ResNet').__module__.startswith('mmdet')
    assert ROOT.get('mmdvis.DVIS') is MODELS.get('DVIS')


def test_a_config_may_inherit_by_the_name_of_the_package(tmp_path):
    (tmp_path / 'mine.py').write_text("_base_ = 'mmdvis::toy/minvis_r18_1xb8-t1_toy.py'\nmodel = dict(window=4)\n")
    config = Config.fromfile(tmp_path / 'mine.py')
    assert config.model.window == 4 and config.model.type == 'DVIS'
