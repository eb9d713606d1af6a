"""Results of frames for tests, made by hand."""

import numpy as np

from mmdvis.results import ClassInfo, FrameResult
from mmdvis.results.frame_result import map_objects, mask_object

CLASSES = ClassInfo(
    ('car', 'person', 'sky'), (True, True, False), (1, 2, 23), ((200, 30, 30), (30, 200, 30), (70, 130, 180))
)
SIZE = (40, 60)


def panoptic(t, ids=(3, 7), size=SIZE):
    """A car that moves right, a person that is missing in frame 2, and a sky; ids of the two are ``ids``."""
    id_map = np.zeros(size, np.int32)
    id_map[:10] = 900
    id_map[15:25, 5 + 2 * t : 20 + 2 * t] = ids[0]
    if t != 2:
        id_map[20:35, 40:48] = ids[1]
    entries = [
        dict(value=ids[0], id=ids[0], label=0, name='car', score=0.9, is_thing=True),
        dict(value=ids[1], id=ids[1], label=1, name='person', score=round(0.8 - 0.05 * t, 2), is_thing=True),
        dict(value=900, id=900, label=2, name='sky', score=0.95, is_thing=False),
    ]
    entries.sort(key=lambda entry: entry['id'])
    return FrameResult(map_objects(id_map, entries), size, id_map=id_map, index=t)


def semantic(t, size=SIZE):
    """The same frame as labels: every class that has a pixel."""
    labels = np.full(size, 2, np.uint8)
    labels[15:25, 5 + 2 * t : 20 + 2 * t] = 0
    if t != 2:
        labels[20:35, 40:48] = 1
    entries = [
        dict(value=k, id=k, label=k, name=name, score=None, is_thing=thing)
        for k, (name, thing) in enumerate(zip(CLASSES.names, CLASSES.is_thing))
    ]
    return FrameResult(map_objects(labels, entries), size, label_map=labels, index=t)


def instances(t, size=SIZE):
    """Two overlapping instances, the better one first."""
    masks = np.zeros((2, *size), bool)
    masks[0, 15:25, 5 + 2 * t : 20 + 2 * t] = True
    masks[1, 20:35, 10:30] = True
    rows = [(4, 0, 'car', 0.9), (9, 1, 'person', 0.6)]
    objects = [
        mask_object(mask, lambda mask=mask: mask, id=i, label=label, name=name, score=score, is_thing=True)
        for mask, (i, label, name, score) in zip(masks, rows)
    ]
    return FrameResult(tuple(objects), size, index=t)


MAKERS = dict(vps=panoptic, vis=instances, vss=semantic)


def pictures(number, size=SIZE, seed=0):
    """Smooth pictures that move."""
    y, x = np.mgrid[: size[0], : size[1]]
    return [np.stack([(4 * x + 5 * t) % 256, (3 * y) % 256, (x + y) % 256], 2).astype(np.uint8) for t in range(number)]


def same(a, b):
    """Asserts that two results are equal, pixel by pixel."""
    assert a.image_size == b.image_size and len(a.objects) == len(b.objects)
    for one, other in zip(a.objects, b.objects):
        assert one == other  # all fields but the function that makes the mask
        assert np.array_equal(one.mask, other.mask)
    for name in ('id_map', 'label_map'):
        x, y = getattr(a, name), getattr(b, name)
        assert (x is None and y is None) or np.array_equal(x, y)
