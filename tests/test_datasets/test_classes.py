"""The class lists compared with published facts and with the lists of other libraries."""

import pytest

from mmdvis.datasets import classes as class_lists
from mmdvis.datasets.coco import CLASS_MAPS

THINGS = (
    '2,4,8,10,41,43,44,46,47,48,49,50,51,52,54,55,56,60,61,62,63,64,65,72,74,76,77,78,79,82,83,84,85,86,87,88,89,90,'
    '91,92,95,96,97,99,100,101,102,106,107,108,109,114,115,116,117,118,122,123'
)
OVIS = '1>1 2>21 3>25 4>22 5>23 6>25 8>25 9>24 17>3 18>4 19>5 20>6 21>7 22>8 23>9 24>10 25>11'
YTVIS19 = (
    '1>1 2>21 3>6 4>21 5>28 7>17 8>29 9>34 17>14 18>8 19>18 21>15 22>32 23>20 24>30 25>22 35>33 36>33 41>5 42>27 43>40'
)
YTVIS21 = (
    '1>26 2>23 3>5 4>23 5>1 7>36 8>37 9>4 16>3 17>6 18>9 19>19 21>7 22>12 23>2 24>40 25>18 34>14 35>31 36>31 41>29 '
    '42>33 43>34'
)


@pytest.mark.parametrize(
    'name, things, stuff',
    [
        ('VIPSeg', 58, 66),
        ('VSPW', 58, 66),
        ('OVIS', 25, 0),
        ('YouTubeVIS2019', 40, 0),
        ('YouTubeVIS2021', 40, 0),
        ('YouTubeVIS2022', 40, 0),
        ('CityscapesVPS', 8, 11),
        ('VIPER', 10, 13),
        ('COCO', 80, 0),
        ('COCOPanoptic', 80, 53),
    ],
)
def test_counts(name, things, stuff):
    classes = class_lists.known_classes(name)
    assert (classes.num_things, len(classes.names) - classes.num_things) == (things, stuff)
    assert len(set(classes.names)) == len(set(classes.category_ids)) == things + stuff


def test_the_things_of_vipseg():
    classes = class_lists.known_classes('VIPSeg')
    assert ','.join(map(str, classes.category_ids[:58])) == THINGS
    assert classes.category_ids[classes.names.index('person')] == 60 and classes.names[58] == 'wall'
    assert classes.category_ids[58:] == tuple(sorted(set(range(124)) - set(classes.category_ids[:58])))


@pytest.mark.parametrize('year', ('2019', '2021'))
def test_youtube_vis_is_as_mmdet_has_it(year):
    from mmdet.datasets import YouTubeVISDataset

    YouTubeVISDataset.set_dataset_classes(year)
    assert YouTubeVISDataset.METAINFO['classes'] == class_lists.known_classes(f'YouTubeVIS{year}').names


def test_cityscapes_is_as_mmdet_has_it():
    from mmdet.datasets import CityscapesDataset

    things = class_lists.known_classes('CityscapesVPS')
    assert things.names[:8] == CityscapesDataset.METAINFO['classes'] and things.category_ids[:8] == tuple(range(11, 19))


@pytest.mark.parametrize(
    'target, text',
    [('OVIS', OVIS), ('YouTubeVIS2019', YTVIS19), ('YouTubeVIS2021', YTVIS21), ('YouTubeVIS2022', YTVIS21)],
)
def test_the_maps_of_coco(target, text):
    assert CLASS_MAPS[target] == {int(a): int(b) for a, b in (pair.split('>') for pair in text.split())}


@pytest.mark.parametrize(
    'target, pairs',
    [
        ('OVIS', dict(person='Person', bicycle='Bicycle', car='Vehical', cat='Cat', giraffe='Giraffe', boat='Boat')),
        (
            'YouTubeVIS2019',
            {'person': 'person', 'car': 'sedan', 'train': 'train', 'tennis racket': 'tennis_racket', 'bear': 'bear'},
        ),
        ('YouTubeVIS2021', {'person': 'person', 'bird': 'bird', 'frisbee': 'flying_disc', 'zebra': 'zebra'}),
    ],
)
def test_the_maps_lead_to_the_same_things(target, pairs):
    """The COCO names of mmdet are in the order of the COCO ids."""
    from mmdet.datasets import CocoDataset

    ids = [k for k in range(1, 91) if k not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)]
    coco, classes = dict(zip(CocoDataset.METAINFO['classes'], ids)), class_lists.known_classes(target)
    for source, name in pairs.items():
        assert classes.names[classes.labels[CLASS_MAPS[target][coco[source]]]] == name


def test_unknown_lists_are_named():
    with pytest.raises(ValueError, match="unknown class list 'KITTI'; use one of VIPSeg, VSPW"):
        class_lists.known_classes('KITTI')


def test_coco_panoptic_is_as_mmdet_has_it():
    from mmdet.datasets import CocoPanopticDataset

    published = [name.replace(' ', '_') for name in CocoPanopticDataset.METAINFO['classes']]
    classes = class_lists.known_classes('COCOPanoptic')
    assert list(classes.names) == published and classes.num_things == len(CocoPanopticDataset.METAINFO['thing_classes'])
    assert classes.category_ids[:80] == class_lists.known_classes('COCO').category_ids
    assert classes.category_ids[80:] == tuple(sorted(classes.category_ids[80:])) and classes.category_ids[-1] == 200
