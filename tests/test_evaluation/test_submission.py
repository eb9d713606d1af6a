"""Results in the formats of the challenge servers."""

import json
import zipfile

import numpy as np
import pytest
import torch
from helpers.metric_fixtures import SET
from PIL import Image
from pycocotools import mask as coco_mask

from mmdvis.evaluation.files.pngs import read_ids
from mmdvis.evaluation.metrics import SubmissionWriter
from mmdvis.results import ClassInfo, VideoDataSample, VideoInstances, VideoPanoptic, VideoSemantic
from mmdvis.structures import Segment

CLASSES = ClassInfo.numbered(200)


def run(folder, samples, categories=(4, 7, 9)):
    writer = SubmissionWriter(str(folder))
    writer.dataset_meta = dict(category_ids=categories)
    for sample in samples:
        writer.process(None, [sample])
    return writer.evaluate(len(samples))


def sample(name, result, frames=('00003.jpg', '00007.jpg')):
    return result.pack(VideoDataSample(metainfo=dict(video_id=name, frame_names=frames))).to_dict()


def panoptic(frames=2):
    ids = torch.zeros(frames, 5, 6, dtype=torch.int32)
    ids[:, 1:3, 2:5], ids[:, 4] = 70000, 3
    return VideoPanoptic(ids, (Segment(70000, 0, 2, True, 0.9), Segment(3, 1, 0, False, 0.8)), CLASSES)


def test_panoptic(tmp_path):
    assert run(tmp_path / 'out', [sample('a', panoptic()), sample('b', panoptic())]) == dict(videos=2)
    content = json.loads((tmp_path / 'out' / 'pred.json').read_text())['annotations']
    assert [v['video_id'] for v in content] == ['a', 'b']
    frame = content[0]['annotations'][1]
    assert frame['file_name'] == '00007.png' and sorted(s['category_id'] for s in frame['segments_info']) == [4, 9]
    thing = next(s for s in frame['segments_info'] if s['id'] == 70000)
    assert (thing['area'], thing['bbox'], thing['iscrowd']) == (6, [2, 1, 3, 2], 0)
    ids = read_ids(tmp_path / 'out' / 'pan_pred' / 'b' / '00003.png')
    assert np.array_equal(ids, panoptic().id_map[0].numpy())
    assert sorted(p.name for p in tmp_path.iterdir()) == ['out']


def test_semantic(tmp_path):
    labels = np.array([[[0, 1], [2, 2]]] * 2)
    run(tmp_path / 'out', [sample('a', VideoSemantic(torch.as_tensor(labels), CLASSES))])
    with Image.open(tmp_path / 'out' / 'a' / '00007.png') as image:
        assert image.mode == 'L' and np.asarray(image).tolist() == [[4, 7], [9, 9]]
    with zipfile.ZipFile(tmp_path / 'out' / 'submission.zip') as archive:
        assert archive.namelist() == ['a/00003.png', 'a/00007.png']
    with pytest.raises(ValueError, match='video a has labels from 0 to 5; the dataset has 3 categories'):
        run(tmp_path / 'other', [sample('a', VideoSemantic(torch.as_tensor(labels + 3), CLASSES))])


def test_semantic_around_panoptic_is_semantic(tmp_path):
    both = dict(sample('a', panoptic()), **sample('a', VideoSemantic(torch.zeros(2, 3, 3, dtype=torch.int64), CLASSES)))
    run(tmp_path / 'out', [both])
    assert not (tmp_path / 'out' / 'pred.json').exists() and (tmp_path / 'out' / 'a' / '00003.png').exists()


def test_tracks_score_as_they_did(tmp_path):
    gt = json.loads((SET / 'ytvis' / 'gt.json').read_text())
    results = json.loads((SET / 'ytvis' / 'results.json').read_text())
    samples = []
    for video in gt['videos']:
        video_results = [r for r in results if r['video_id'] == video['id']]
        empty = coco_mask.encode(np.zeros((video['height'], video['width']), np.uint8, order='F'))
        masks = [
            [code or dict(empty, counts=empty['counts'].decode()) for code in r['segmentations']] for r in video_results
        ]
        samples.append(
            sample(
                video['id'],
                VideoInstances(
                    torch.tensor([r['score'] for r in video_results], dtype=torch.float64),
                    torch.tensor([r['category_id'] for r in video_results]),
                    torch.arange(len(video_results)),
                    masks,
                    CLASSES,
                    video['length'],
                    (video['height'], video['width']),
                ),
                [f'{k}.jpg' for k in range(video['length'])],
            )
        )
    run(tmp_path / 'out', samples, tuple(range(30)))
    written = json.loads((tmp_path / 'out' / 'results.json').read_text())

    def key(track):
        return track['video_id'], track['category_id'], track['score'], json.dumps(track['segmentations'])

    assert sorted(map(key, written)) == sorted(map(key, results))


@pytest.mark.parametrize(
    'samples, message',
    [
        ([sample('a', panoptic(3))], 'video a has 2 frames with 2 different names, but its prediction has 3'),
        (
            [sample('a', panoptic(), ('x/1.jpg', 'y/1.jpg'))],
            '2 frames with 1 different names, but its prediction has 2',
        ),
        ([sample('a', panoptic()), sample('a', panoptic())], '2 videos have only 1 different names'),
    ],
)
def test_what_is_not_whole_is_not_written(tmp_path, samples, message):
    with pytest.raises(ValueError, match=message):
        run(tmp_path / 'out', samples)
    assert not (tmp_path / 'out').exists()


def test_what_a_file_cannot_hold_is_refused(tmp_path):
    result = panoptic()
    result.id_map[1, 0, 0] = 1 << 24
    with pytest.raises(ValueError, match='video a has the segment id 16777216; a PNG can store ids from 0 to 16777215'):
        run(tmp_path / 'out', [sample('a', result)])
    with pytest.raises(ValueError, match='video a has labels from -1 to 0'):
        run(tmp_path / 'out', [sample('a', VideoSemantic(torch.full((2, 3, 3), -1), CLASSES))])
    with pytest.raises(ValueError, match='no video was predicted'):
        SubmissionWriter(str(tmp_path / 'none')).compute_metrics([])


def test_a_run_that_did_not_end_leaves_nothing_in_the_next(tmp_path):
    writer = SubmissionWriter(str(tmp_path / 'out'))
    writer.dataset_meta = dict(category_ids=(4, 7, 9))
    writer.process(None, [sample('old', panoptic())])
    run(tmp_path / 'out', [sample('new', panoptic())])
    with zipfile.ZipFile(tmp_path / 'out' / 'submission.zip') as archive:
        assert not [name for name in archive.namelist() if 'old' in name]


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / 'mine').write_text('x')
    with pytest.raises(ValueError, match='exists and is not empty; choose a new folder'):
        SubmissionWriter(str(tmp_path))
