"""The index of a large json: built once, keyed by the content of the file, and memory-mapped."""

import json
import pickle

import numpy as np
import pytest
from helpers import tiny_datasets

from mmdvis.datasets import annotation_index as record_index
from mmdvis.datasets.annotation_index import AnnotationIndex, open_index
from mmdvis.errors import DataError
from mmdvis.registry import DATASETS

RECORDS = [
    dict(video_id='a', size=(4, 6), frames=[1, 2], categories=[5, 3, 5]),
    dict(video_id='b', size=None, frames=[1], categories=[]),
]


def test_records_come_back():
    index = AnnotationIndex.build(dict(labelled=True), RECORDS)
    assert len(index) == 2 and index[0] == dict(RECORDS[0], size=[4, 6]) and index[1]['video_id'] == 'b'
    assert index.categories(0) == [3, 5] and index.categories(1) == []
    assert index.sizes.tolist() == [[4, 6], [0, 0]] and index.lengths.tolist() == [2, 1]


@pytest.mark.parametrize('kept', (False, True))
def test_saved_and_pickled_it_is_the_same(tmp_path, kept):
    index = AnnotationIndex.build(dict(labelled=True), RECORDS)
    if kept:
        index.save(tmp_path / 'x.index')
        index = AnnotationIndex.load(tmp_path / 'x.index')
        assert isinstance(index.blob, np.memmap)
    again = pickle.loads(pickle.dumps(index))
    assert [again[k] for k in range(2)] == json.loads(json.dumps(RECORDS)) and again.meta == dict(
        labelled=True, notes=[]
    )
    assert isinstance(again.blob, np.memmap) == kept


def reader(calls):
    def read(path):
        calls.append(path)
        return dict(size=path.stat().st_size), list(RECORDS)

    return read


def test_a_large_file_is_read_once(tmp_path, monkeypatch):
    monkeypatch.setenv('MMDVIS_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setattr(record_index, 'MIN_CACHED_BYTES', 10)
    path, calls = tmp_path / 'big.json', []
    path.write_text('x' * 50)
    first, second = (open_index(path, 'kind', reader(calls)) for _ in range(2))
    assert len(calls) == 1 and first[0] == second[0] and len(list((tmp_path / 'cache').glob('*.index'))) == 1
    open_index(path, 'other kind', reader(calls))
    path.write_text('x' * 49 + 'y')  # different content of the same length
    open_index(path, 'kind', reader(calls))
    assert len(calls) == 3
    for cut in (lambda data: data[:-3], lambda data: data[:-3] + b'000'):  # truncated by a full disk; zeroed by a crash
        for kept in (tmp_path / 'cache').glob('*.index'):
            kept.write_bytes(cut(kept.read_bytes()))
        assert open_index(path, 'kind', reader(calls))[0] == first[0]
    assert len(calls) == 5
    # other users may read the cache
    modes = [kept.stat().st_mode for kept in (tmp_path / 'cache').glob('*.index')]
    assert len(modes) >= 2 and all(mode & 0o044 for mode in modes)


def test_a_flipped_bit_anywhere_is_noticed(tmp_path):
    path = tmp_path / 'x.index'
    AnnotationIndex.build(dict(labelled=True), RECORDS).save(path)
    content = path.read_bytes()
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ (1 << place % 8)]) + content[place + 1 :])
        assert record_index.load_cached(path) is None, place
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        assert record_index.load_cached(path) is None, length
    path.write_bytes(content)
    assert record_index.load_cached(path)[0]['video_id'] == 'a'


def test_without_a_place_for_it_every_opening_reads_the_file(tmp_path, monkeypatch):
    (tmp_path / 'cache').write_text('a file')
    monkeypatch.setenv('MMDVIS_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setattr(record_index, 'MIN_CACHED_BYTES', 10)
    path, calls = tmp_path / 'big.json', []
    path.write_text('x' * 50)
    with pytest.warns(UserWarning, match='set MMDVIS_CACHE to a writable folder'):
        assert open_index(path, 'kind', reader(calls))[0]['video_id'] == 'a'


def test_faults_are_raised_or_collected():
    faults, records = [], [RECORDS[0], DataError('bad'), RECORDS[1]]
    assert len(AnnotationIndex.build({}, records, faults)) == 2 and [str(fault) for fault in faults] == ['bad']
    with pytest.raises(DataError, match='bad'):
        AnnotationIndex.build({}, records)


@pytest.mark.parametrize('kind', ('vipseg', 'ovis_360p', 'coco_instance'))
def test_a_kept_index_changes_no_sample(kind, tmp_path, monkeypatch):
    tiny_datasets.write(kind, tmp_path / 'data')
    monkeypatch.setenv('MMDVIS_CACHE', str(tmp_path / 'cache'))
    config = dict(tiny_datasets.config(kind, tmp_path / 'data').train_dataloader.dataset)
    plain = DATASETS.build(config)
    monkeypatch.setattr(record_index, 'MIN_CACHED_BYTES', 0)
    DATASETS.build(config)
    kept = DATASETS.build(config)
    assert isinstance(kept.index.blob, np.memmap)
    assert [kept.get_data_info(k) for k in range(len(kept))] == [plain.get_data_info(k) for k in range(len(plain))]
    assert kept.metainfo == plain.metainfo and np.array_equal(kept.video_sizes(), plain.video_sizes())


def test_several_processes_read_a_file_once(tmp_path, monkeypatch):
    import multiprocessing

    monkeypatch.setenv('MMDVIS_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setattr(record_index, 'MIN_CACHED_BYTES', 10)
    path = tmp_path / 'big.json'
    path.write_text('x' * 50)
    context = multiprocessing.get_context('fork')
    workers = [context.Process(target=open_slowly, args=(path,)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert (tmp_path / 'big.json.calls').read_text() == 'read\n'


def open_slowly(path):
    import time

    def read(source):
        with open(f'{source}.calls', 'a') as calls:
            calls.write('read\n')
        time.sleep(0.3)
        return {}, list(RECORDS)

    assert open_index(path, 'kind', read)[0]['video_id'] == 'a'


def test_notes_are_told_at_every_opening():
    index = AnnotationIndex.build({}, [dict(RECORDS[0], notes=['odd']), RECORDS[1]])
    assert index.meta['notes'] == ['odd'] and 'notes' not in index[0]
