"""The cache of results, and selecting and renumbering objects."""

import threading
import time

import numpy as np
import pytest
from helpers.results import CLASSES, MAKERS, instances, panoptic, same, semantic

from mmdvis.errors import BadInputError
from mmdvis.results import FrameResult, ResultCache, labels_of, select_objects, shift_ids, void_label


@pytest.mark.parametrize('task', MAKERS)
@pytest.mark.parametrize('limit', [1 << 24, 100])
def test_the_cache_returns_what_it_was_given(task, limit):
    cache, results = ResultCache(limit), [MAKERS[task](t) for t in range(4)]
    for result in results:
        cache.append(result)
    assert len(cache) == 4
    for t in (2, 0, 3, 1):
        same(cache[t], results[t])
        assert cache[t].index == t and cache[t].image is None
    for kept, result in zip(cache, results):
        same(kept, result)


def test_the_cache_is_compact_and_keeps_large_ids():
    cache, result = ResultCache(), panoptic(0, ids=(70_000, 1 << 24), size=(400, 600))
    cache.append(result)
    same(cache[0], result)
    assert cache.offsets[-1] < result.id_map.nbytes / 100


def test_a_frame_outside_the_cache_is_named():
    with pytest.raises(IndexError, match='frame 0 is not in the cache, which has 0 frames'):
        ResultCache()[0]


def test_a_frame_without_objects_is_kept():
    cache = ResultCache()
    cache.append(FrameResult((), (4, 6)))
    cache.append(FrameResult((), (4, 6), id_map=np.zeros((4, 6), np.int32)))
    assert cache[0].objects == cache[1].objects == () and cache[1].id_map.shape == (4, 6)


def test_threads_read_while_one_writes():
    cache, wrong, reads, is_done = ResultCache(1000), [], set(), threading.Event()
    results = [panoptic(t % 5) for t in range(60)]

    def read():
        try:
            while not is_done.is_set():
                t = len(cache) - 1
                if not np.array_equal(cache[t].id_map, results[t].id_map):
                    wrong.append(t)
                reads.add(t)
        except Exception as error:
            wrong.append(error)

    cache.append(results[0])
    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for result in results[1:]:
        cache.append(result)
        time.sleep(0.001)
    is_done.set()
    for reader in readers:
        reader.join()
    assert not wrong and len(reads) > 1


@pytest.mark.parametrize('task', MAKERS)
def test_objects_are_selected_with_their_pixels(task):
    result = MAKERS[task](0)
    kept = select_objects(result, lambda segment: segment.name == 'person')
    (person,) = kept.objects
    assert person.name == 'person'
    original = next(segment for segment in result.objects if segment.name == 'person')
    assert np.array_equal(kept.index_map() == 1, original.mask)
    assert not (kept.index_map() > 1).any()
    if task == 'vps':
        assert set(np.unique(kept.id_map)) == {0, 7}
    if task == 'vss':
        assert set(np.unique(kept.label_map)) == {1, 255} and void_label(kept.label_map) == 255


def test_nothing_is_copied_if_all_objects_are_kept():
    result = panoptic(0)
    assert select_objects(result, lambda segment: True) is result


def test_classes_are_given_by_name():
    assert labels_of(['Person', 'sky'], CLASSES) == {1, 2}
    with pytest.raises(BadInputError, match='the model has no class dog; its classes are car, person, sky'):
        labels_of(['car', 'dog'], CLASSES)


def test_ids_are_shifted_in_maps_and_objects():
    shifted = shift_ids(panoptic(1), 1000)
    assert [segment.id for segment in shifted.objects] == [1003, 1007, 1900]
    assert set(np.unique(shifted.id_map)) == {0, 1003, 1007, 1900}
    for segment, before in zip(shifted.objects, panoptic(1).objects):
        assert np.array_equal(shifted.id_map == segment.id, before.mask) and np.array_equal(segment.mask, before.mask)
    assert [segment.id for segment in shift_ids(instances(0), 5).objects] == [9, 14]
    label_result = semantic(0)
    assert shift_ids(label_result, 5) is label_result and shift_ids(label_result, 0) is label_result
