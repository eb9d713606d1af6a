"""Every number of every config equals the hand-written table of the papers' recipes."""

import pytest
from helpers.configs import load_config
from helpers.recipe_table import CONFIGS, Reader, listed, rows

LEAVES = sorted(
    p
    for p in CONFIGS.rglob('*.py')
    if '_base_' not in p.parts and 'per_frame' not in p.parts and 'vpsnet' not in p.stem
)


def name_of(path):
    return str(path.relative_to(CONFIGS).with_suffix(''))


def differences(expected, actual, path=''):
    """Readable lines of what differs."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        for key in sorted(expected.keys() | actual.keys()):
            yield from differences(expected.get(key), actual.get(key), f'{path}.{key}'.lstrip('.'))
    elif expected != actual:
        yield f'{path}: the table has {expected}, the config {actual}'


def test_the_table_has_every_config_and_no_other():
    assert sorted(map(name_of, LEAVES)) == sorted(rows())


@pytest.mark.parametrize('path', LEAVES, ids=name_of)
def test_a_config_has_the_numbers_of_its_recipe(path):
    reader = Reader(path)
    assert list(differences(rows()[name_of(path)], listed(reader.row()))) == []
    assert reader.get('test_dataloader.batch_size') == 1  # one video at a time
    assert reader.unread() == [], 'these numbers are not covered by the table'


def test_the_base_that_no_recipe_uses():
    """YouTube-VIS 2022 has no training set; its base is for models of one's own."""
    config = load_config(CONFIGS / '_base_' / 'datasets' / 'youtube_vis_2022_480p.py')
    loader = config.test_dataloader
    assert (config.num_classes, config.postprocessor.max_num, loader.dataset.version) == (40, 10, 2022)
    assert (loader.batch_size, loader.num_workers, loader.dataset.test) == (1, 0, dict(short_edge=480, max_edge=1333))
