"""The metrics of the other tasks in mmengine loops give the scores of the public scripts."""

import json

import numpy as np
import pytest
import torch
from helpers.metric_fixtures import EXPECTED, SET
from PIL import Image
from pycocotools import mask as coco_mask

from mmdvis.evaluation.files.pngs import read_ids
from mmdvis.evaluation.metrics import InstanceAPMetric, PanopticQualityMetric, VISMetric, VPQMetric, VSSMetric
from mmdvis.results import ClassInfo, VideoDataSample, VideoInstances, VideoPanoptic, VideoSemantic
from mmdvis.structures import Segment

CLASSES = ClassInfo.numbered(200)


def run(metric, samples, categories):
    metric.dataset_meta = dict(category_ids=tuple(categories))
    for sample in samples:  # batch by batch, as in a test loop
        metric.process(None, [sample])
    return metric.evaluate(len(samples))


def sample(name, result):
    return result.pack(VideoDataSample(metainfo=dict(video_id=name))).to_dict()


def panoptic(maps, classes):
    ids = torch.from_numpy(np.stack(maps).astype(np.int32))
    return VideoPanoptic(ids, tuple(Segment(int(i), 0, c, False, 1.0) for i, c in classes.items()), CLASSES)


def test_images():
    root = SET / 'image_pq'
    samples = []
    for frame in json.loads((root / 'panoptic_pred.json').read_text())['annotations']:
        ids = read_ids(root / 'panoptic_pred' / frame['file_name']).astype(np.int64)
        samples.append(
            sample(frame['image_id'], panoptic([ids], {s['id']: s['category_id'] for s in frame['segments_info']}))
        )
    scores = run(PanopticQualityMetric(str(root / 'panoptic_gt.json'), str(root / 'panoptic_gt')), samples, range(300))
    for name, group, key in (
        ('PQ', 'All', 'pq'),
        ('SQ', 'All', 'sq'),
        ('RQ', 'All', 'rq'),
        ('PQ_Th', 'Things', 'pq'),
        ('PQ_St', 'Stuff', 'pq'),
    ):
        assert scores[name] == pytest.approx(EXPECTED['image_pq'][group][key], abs=1e-9)


def test_semantic_videos():
    samples = []
    for name in (SET / 'vspw' / 'val.txt').read_text().split():
        maps = [np.asarray(Image.open(path)) for path in sorted((SET / 'vspw' / 'pred' / name).glob('*.png'))]
        samples.append(sample(name, VideoSemantic(torch.from_numpy(np.stack(maps)), CLASSES)))
    scores = run(VSSMetric(str(SET / 'vspw'), num_classes=124), samples, range(256))
    for name in ('mIoU', 'fwIoU', 'pixel_acc', 'mean_class_acc', 'VC8', 'VC16'):
        assert scores[name] == pytest.approx(EXPECTED['vss_vspw'][name], abs=1e-9)
    with pytest.raises(ValueError, match='video 700_v0 has 7 masks in .*, but the prediction has 3 frames'):
        run(
            VSSMetric(str(SET / 'vspw')),
            [sample('700_v0', VideoSemantic(torch.zeros(3, 4, 4, dtype=torch.int64), CLASSES))],
            range(9),
        )


def track_samples():
    gt = json.loads((SET / 'ytvis' / 'gt.json').read_text())
    results = json.loads((SET / 'ytvis' / 'results.json').read_text())
    samples = []
    for video in gt['videos']:
        video_results = [r for r in results if r['video_id'] == video['id']]
        nothing = coco_mask.encode(np.zeros((video['height'], video['width']), np.uint8, order='F'))
        masks = [
            [
                dict(code, counts=code['counts']) if code else dict(nothing, counts=nothing['counts'].decode())
                for code in r['segmentations']
            ]
            for r in video_results
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
                    len(masks[0]) if masks else 0,
                    (video['height'], video['width']),
                ),
            )
        )
    return samples


def test_tracks():
    scores = run(VISMetric(str(SET / 'ytvis' / 'gt.json'), ovis=True), track_samples(), range(30))
    for name, value in EXPECTED['ovis_ap'].items():
        assert scores[name.replace('occ_medium', 'moderate').replace('occ_', '')] == pytest.approx(value, abs=1e-8), (
            name
        )


def test_long_and_short_videos(tmp_path):
    gt = json.loads((SET / 'ytvis' / 'gt.json').read_text())
    middle = sorted(v['length'] for v in gt['videos'])[3]
    long = [v['id'] for v in gt['videos'] if v['length'] >= middle]
    by_list, by_length = (
        run(VISMetric(str(SET / 'ytvis' / 'gt.json'), **options), track_samples(), range(30))
        for options in (dict(long_videos=long), dict(long_min_frames=middle))
    )
    assert by_list == by_length and by_list['AP_SL'] == (by_list['AP_S'] + by_list['AP_L']) / 2
    assert by_list['AP'] == pytest.approx(EXPECTED['ytvis_ap']['AP'], abs=1e-8) and by_list['AP_S'] != by_list['AP_L']
    for suffix, is_long in (('S', False), ('L', True)):  # the metrics of a dataset with these videos only
        videos = [video for video in gt['videos'] if (video['id'] in long) == is_long]
        ids = {video['id'] for video in videos}
        tracks = [track for track in gt['annotations'] if track['video_id'] in ids]
        (tmp_path / 'part.json').write_text(json.dumps(dict(gt, videos=videos, annotations=tracks)))
        samples = [sample for sample in track_samples() if int(sample['video_id']) in ids]
        alone = run(VISMetric(str(tmp_path / 'part.json')), samples, range(30))
        for name in ('AP', 'AP50', 'AP75', 'AR1', 'AR10'):
            assert by_list[f'{name}_{suffix}'] == alone[name]


@pytest.mark.parametrize(
    'name, change, message',
    [
        ('99', lambda r: r, 'the ground truth has no video 99'),
        (None, lambda r: r.masks[0].pop(), 'frames, but the prediction has'),
    ],
)
def test_tracks_that_do_not_fit(name, change, message):
    broken = next(s for s in track_samples() if len(s['pred_instances'].masks))
    change(broken['pred_instances'])
    with pytest.raises(ValueError, match=message):
        run(VISMetric(str(SET / 'ytvis' / 'gt.json')), [dict(broken, video_id=name or broken['video_id'])], range(30))


def test_cityscapes_takes_all_frames_of_a_video_or_the_annotated_ones():
    root = SET / 'cityscapes_vps'
    metric = VPQMetric(
        gt_json=str(root / 'panoptic_gt_val_city_vps.json'), gt_dir=str(root / 'panoptic_video'), flavour='cityscapes'
    )
    samples = []
    for name, frames in metric.truth.videos.items():
        maps = [read_ids(f.path).astype(np.int64) for f in frames]
        classes = {s['id']: s['category_id'] for f in frames for s in f.segments}
        every = [maps[max(t - 4, 0) // 5] if (t - 4) % 5 == 0 else 0 * maps[0] for t in range(30)]
        samples.append(sample(name, panoptic(every if name in '02' else maps, classes)))
    scores = run(metric, samples, range(30))
    assert scores['VPQ'] == scores['VPQ@15'] == pytest.approx(1.0) and scores['VPQ@5_Th'] == pytest.approx(1.0)


def test_viper_has_rules_of_its_own():
    root = SET / 'viper'
    options = dict(gt_json=str(root / 'panoptic_gt_viper.json'), gt_dir=str(root / 'panomasksRGB'))
    metric = VPQMetric(flavour='viper', exclude_classes=(0,), **options)
    samples = []
    for name, frames in metric.truth.videos.items():
        classes = {s['id']: s['category_id'] for f in frames for s in f.segments}
        samples.append(sample(name, panoptic([read_ids(f.path).astype(np.int64) for f in frames], classes)))
    viper, vipseg = (
        run(metric, samples, range(40)),
        run(VPQMetric(windows=(1, 5, 10, 15), **options), samples, range(40)),
    )
    # a prediction on a small ground truth tube is a false positive
    assert vipseg['VPQ1'] == pytest.approx(1.0) and viper['VPQ@1'] < 1
    assert 0 not in metric.is_thing
    with pytest.raises(ValueError, match="flavour must be 'vipseg' or 'cityscapes' or 'viper', got 'kitti'"):
        VPQMetric(flavour='kitti', **options)


def test_instances_of_images(tmp_path):
    """A detection with IoU 0.75 matches at six of the ten IoU thresholds of pycocotools."""

    def box(width):
        mask = np.zeros((10, 10), np.uint8, order='F')
        mask[:8, :width] = 1
        code = coco_mask.encode(mask)
        return dict(code, counts=code['counts'].decode())

    gt = dict(
        images=[dict(id=i, height=10, width=10) for i in (1, 2)],
        categories=[dict(id=7, name='a')],
        annotations=[
            dict(id=1, image_id=1, category_id=7, iscrowd=0, area=64.0, bbox=[0, 0, 8, 8], segmentation=box(8))
        ],
    )
    (tmp_path / 'gt.json').write_text(json.dumps(gt))

    def result(*codes):
        number = len(codes)
        return VideoInstances(
            torch.full((number,), 0.5),
            torch.zeros(number, dtype=torch.long),
            torch.arange(number),
            [[code] for code in codes],
            CLASSES,
            1,
            (8, 8),
        )

    metric = InstanceAPMetric(str(tmp_path / 'gt.json'))
    scores = run(metric, [sample(1, result(box(6))), sample(2, result())], [7])
    assert scores['AP'] == pytest.approx(0.6) and scores['AP50'] == pytest.approx(1.0) and scores['AP_large'] == -1.0
    assert run(InstanceAPMetric(str(tmp_path / 'gt.json')), [sample(1, result())], [7])['AP'] == 0.0
