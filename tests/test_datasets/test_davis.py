"""DAVIS and CamVid: official layouts, measures against their definitions, and both from training to a score."""

import json

import numpy as np
import pytest
from helpers.commands import ROOT
from helpers.davis_camvid import camvid, davis, instances, stems_of, write_camvid, write_davis
from helpers.official_layouts import scene
from helpers.reference_measures import camvid_figures, davis_figures
from mmengine.config import Config
from PIL import Image

from mmdvis.engine.launch import load_config, train
from mmdvis.engine.launch import test as run_test
from mmdvis.errors import BadInputError, DataError, OptionError
from mmdvis.evaluation.functional.davis import (
    contour,
    contour_accuracy,
    measure_objects,
    region_similarity,
    sequence_statistics,
)
from mmdvis.registry import DATASETS, METRICS


def test_one_object(tmp_path):
    dataset = davis(write_davis(tmp_path))
    assert len(dataset) == 2 and dataset.metainfo['classes'] == ('object',) and dataset.metainfo['num_things'] == 1
    sample, (_, maps) = dataset[1]['data_samples'], scene(201, frames=8)
    assert sample.gt_labels.tolist() == [0] and len(sample.gt_ids) == 1
    assert np.array_equal(sample.gt_index_maps[0].numpy() > 0, (maps >= 1) & (maps <= 3))


def test_all_objects_with_void(tmp_path):
    dataset = davis(write_davis(tmp_path, palette=True), objects='all')
    sample, (_, maps) = dataset[0]['data_samples'], scene(200, frames=8)
    assert sample.gt_ids.tolist() == [1, 3] and sample.gt_labels.tolist() == [0, 0]
    for index, value in enumerate(sample.gt_ids.tolist(), 1):
        assert np.array_equal(sample.gt_index_maps[0].numpy() == index, maps == value)
    merged = davis(tmp_path)[0]['data_samples'].gt_index_maps[0].numpy()
    assert np.array_equal(merged > 0, (maps == 1) | (maps == 3))
    with pytest.raises(OptionError, match="objects must be 'one' or 'all', got 'each'"):
        davis(tmp_path, objects='each')


def test_lists_of_2016_name_frames(tmp_path):
    root = write_davis(tmp_path)
    lines = [
        f'/JPEGImages/480p/{s}/{t:05d}.jpg /Annotations/480p/{s}/{t:05d}.png'
        for s in ('cows', 'bear')
        for t in range(8)
    ]
    (root / 'ImageSets' / '480p' / 'train.txt').write_text('\n'.join(lines))
    dataset = davis(root)
    assert [dataset.get_data_info(k)['video_id'] for k in range(2)] == ['cows', 'bear']
    (root / 'ImageSets' / '480p' / 'train.txt').write_text('\n'.join([*lines, lines[0].replace('00000', '00009')]))
    with pytest.raises(DataError, match='sequence .* cows occurs more than once'):
        davis(root)[0]


def test_a_missing_mask_is_named_in_training_only(tmp_path):
    root = write_davis(tmp_path)
    (root / 'Annotations' / '480p' / 'cows' / '00003.png').unlink()
    with pytest.raises(DataError, match=r'video cows, frame 00003.jpg: there is no mask .*00003.png; 1 of 8 frames'):
        davis(root)[0]
    assert len(davis(root, test_mode=True)) == 2
    (root / 'ImageSets' / '480p' / 'train.txt').write_text('../../x\n')
    with pytest.raises(DataError):
        davis(root)[0]


def test_region_similarity_by_hand():
    truth, predicted = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    assert region_similarity(truth, predicted) == 1.0  # both empty
    truth[:2], predicted[1:3] = True, True
    assert region_similarity(truth, predicted) == pytest.approx(4 / 12) and region_similarity(truth, ~truth) == 0


def contour_by_definition(mask):
    """A pixel is on the contour if it differs from its right, lower or lower right neighbour, if there is one."""
    height, width = mask.shape
    found = np.zeros_like(mask)
    for y in range(height):
        for x in range(width):
            near = [(0, 1), (1, 0), (1, 1)]
            near = [(0, 1)] if y == height - 1 else [(1, 0)] if x == width - 1 else near
            near = [] if y == height - 1 and x == width - 1 else near
            found[y, x] = any(mask[y, x] != mask[y + dy, x + dx] for dy, dx in near)
    return found


def accuracy_by_definition(truth, predicted, radius):
    """Precision and recall with distances of all pairs of contour pixels."""
    points = [np.argwhere(contour_by_definition(mask)) for mask in (truth, predicted)]
    if not len(points[0]) or not len(points[1]):
        return float(len(points[0]) == len(points[1]))
    distances = np.hypot(*(points[1][:, None] - points[0][None]).transpose(2, 0, 1))
    precision, recall = (distances.min(1) <= radius).mean(), (distances.min(0) <= radius).mean()
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@pytest.mark.parametrize('seed', range(8))
def test_contours_and_their_accuracy_by_definition(seed):
    rng = np.random.default_rng(seed)
    truth = np.zeros((60, 90), bool)
    for _ in range(3):
        y, x = rng.integers(0, 40), rng.integers(0, 70)
        truth[y : y + rng.integers(4, 30), x : x + rng.integers(4, 30)] = True
    predicted = np.roll(truth, rng.integers(-3, 4, 2), (0, 1)) ^ (rng.random(truth.shape) < 0.002)
    assert np.array_equal(contour(truth), contour_by_definition(truth))
    expected = accuracy_by_definition(truth, predicted, np.ceil(0.008 * np.hypot(60, 90)))
    assert contour_accuracy(truth, predicted) == pytest.approx(expected, abs=1e-12) and 0 < expected < 1
    empty = np.zeros_like(truth)
    assert contour_accuracy(empty, empty) == 1 and contour_accuracy(truth, empty) == contour_accuracy(empty, truth) == 0


def test_statistics_by_hand():
    """Eight frames in four parts that share their ends: 1 to 3, ..., 6 to 8 (edges 1, 3, 4 or 5, 6, 8)."""
    values = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2])
    mean, recall, decay = sequence_statistics(values)
    assert mean == pytest.approx(0.55) and recall == pytest.approx(4 / 8)
    assert decay == pytest.approx(np.mean([0.9, 0.8, 0.7]) - np.mean([0.4, 0.3, 0.2]))


def test_objects_are_matched_to_the_best_proposals():
    rng = np.random.default_rng(0)
    truth = np.zeros((2, 3, 30, 40), bool)
    truth[0, :, 3:12, 4:20], truth[1, :, 15:28, 10:30] = True, True
    noise = rng.random((1, 3, 30, 40)) < 0.3
    region, accuracy = measure_objects(truth, np.concatenate([noise, truth[1:], truth[:1]]))
    assert np.array_equal(region, np.ones((2, 3))) and np.array_equal(accuracy, np.ones((2, 3)))
    region, _ = measure_objects(truth, truth[1:])  # a missing proposal is empty
    assert region.mean(1).tolist() == [0.0, 1.0]


def score(root, results, **options):
    metric = METRICS.build(dict(type='DAVISMetric', gt_dir=str(root / 'Annotations' / '480p'), **options))
    for name, result in results.items():
        metric.process({}, [dict(video_id=name, pred_instances=result)])
    return metric.evaluate(len(results))


def test_the_metric(tmp_path):
    root = write_davis(tmp_path)
    results, regions, contours = {}, [], []
    for k, name in enumerate(('camel', 'swing')):
        _, maps = scene(210 + k, frames=8)
        whole = (maps >= 1) & (maps <= 3)
        half = whole.copy()
        half[:, :20] = False
        results[name] = instances(np.stack([half, whole & ~half, ~whole]), [0.9, 0.6, 0.1])
        regions.append([1.0] * 8)
        contours.append([1.0] * 8)
    perfect = score(root, results)
    assert perfect['J&F'] == perfect['J_mean'] == perfect['F_recall'] == 1.0 and perfect['J_decay'] == 0.0
    strict = score(root, results, score_thr=0.7)  # one half only
    expected_j, expected_f = [], []
    for k in range(2):
        _, maps = scene(210 + k, frames=8)
        whole = (maps >= 1) & (maps <= 3)
        half = whole.copy()
        half[:, :20] = False
        expected_j.append(np.mean([region_similarity(a, b) for a, b in zip(whole, half)]))
        expected_f.append(np.mean([accuracy_by_definition(a, b, 1.0) for a, b in zip(whole, half)]))
    assert strict['J_mean'] == pytest.approx(np.mean(expected_j)) and strict['F_mean'] == pytest.approx(
        np.mean(expected_f)
    )
    assert strict['J&F'] == pytest.approx((strict['J_mean'] + strict['F_mean']) / 2)
    assert score(root, results, score_thr=0.95) == strict  # the best track, if none has the score
    with pytest.raises(BadInputError, match='video camel has 8 masks .* but the prediction has 3 frames'):
        score(root, {'camel': instances(np.ones((1, 3, 40, 56), bool), [0.9])})
    with pytest.raises(BadInputError, match='contains no masks of the sequence cow'):
        score(root, {'cow': results['camel']})


def test_proposals_do_not_overlap(tmp_path):
    root = write_davis(tmp_path, palette=True)
    _, maps = scene(210, frames=8)
    over = np.stack([maps == 1, (maps == 1) | (maps == 3)])  # the second loses the pixels of the first
    figures = score(root, {'camel': instances(over, [0.9, 0.5])}, objects='all')
    assert figures['J_mean'] == 1.0 and figures['F_mean'] == 1.0


def test_runs_of_one_distance_are_videos(tmp_path):
    dataset = camvid(write_camvid(tmp_path), clip=dict(num_frames=2))
    videos = [dataset.get_data_info(k) for k in range(len(dataset))]
    assert [v['video_id'] for v in videos] == ['0001TP', '0001TP-2', 'Seq05VD']
    assert [len(v['frames']) for v in videos] == [3, 2, 4]
    assert dataset.metainfo['classes'][0] == 'sky' and dataset.metainfo['num_things'] == 0
    sample = dataset[1]['data_samples']
    _, maps = scene(306, frames=8)
    names = {dataset.metainfo['classes'][label]: k for k, label in enumerate(sample.gt_labels.tolist(), 1)}
    assert set(names) == {'car', 'pedestrian', 'sky', 'road'} | ({'bicyclist'} & set(names))
    assert np.array_equal(sample.gt_index_maps[0, 0].numpy() == names['sky'], maps[0] == 4)
    assert np.array_equal(sample.gt_index_maps[0, 0].numpy() == 0, maps[0] == 0)  # value 11 is void


def test_faults_of_the_list_and_the_masks_are_named(tmp_path):
    root = write_camvid(tmp_path)
    good = (root / 'train.txt').read_text()
    for text, message in (
        (good + 'train/x.jpg\n', r"train.txt, line 10: expected an image and its label map, got 'train/x.jpg'"),
        (good + 'train/x.jpg trainannot/x.png\n', 'the image train/x.jpg is not named <sequence>_<frame number>'),
        ('\n', 'train.txt lists no image'),
    ):
        (root / 'train.txt').write_text(text)
        with pytest.raises(DataError, match=message):
            camvid(root)[0]
    (root / 'train.txt').write_text(good)
    for path in (root / 'trainannot').glob('*.png'):
        values = np.asarray(Image.open(path)).copy()
        values[0, 0] = 12
        Image.fromarray(values).save(path)
    with pytest.raises(DataError, match=r'the mask has the value 12; allowed are 0 to 10 \(classes\) and 11 \(void\)'):
        camvid(root)[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    'name',
    ['davis/minvis_efficientnet-lite0_1xb8-t1_davis2016-216p', 'camvid/minvis_efficientnet-lite0_1xb8-t1_camvid-360p'],
)
def test_from_the_files_to_a_score(name, tmp_path):
    write_davis(tmp_path / 'davis')
    write_camvid(tmp_path / 'camvid', frames=20)
    config = Config.fromfile(ROOT / 'configs' / f'{name}.py')
    config.model.segmenter.backbone.pretrained = None
    config.train_dataloader.update(batch_size=2, num_workers=0, persistent_workers=False)
    config.train_dataloader.dataset.augment.update(short_edges=[40], crop=dict(size=(40, 48)))
    config.train_cfg.max_iters = 2
    config.test_dataloader.dataset.test = dict(short_edge=40)
    config.default_hooks.logger.interval = 1
    text = config.pretty_text.replace('data/davis2016/', f'{tmp_path}/davis/').replace(
        'data/camvid/', f'{tmp_path}/camvid/'
    )
    (tmp_path / 'config.py').write_text(text)
    checkpoint = train(load_config(str(tmp_path / 'config.py'), str(tmp_path / 'run')))
    config = load_config(str(tmp_path / 'config.py'), str(tmp_path / 'run'))
    config.test_evaluator = [*config.test_evaluator, dict(type='SubmissionWriter', out_dir=str(tmp_path / 'results'))]
    metrics = run_test(config, [str(checkpoint)])
    logged = [json.loads(x) for p in (tmp_path / 'run').rglob('scalars.json') for x in p.read_text().splitlines()]
    assert all(np.isfinite(line['loss']) for line in logged if 'loss' in line)
    names = {'J&F', 'J_mean', 'F_decay'} if 'davis' in name else {'mIoU', 'VC8', 'VC16'}
    assert names <= set(metrics) and 0 <= metrics['J&F' if 'davis' in name else 'mIoU'] < 0.9
    if 'davis' in name:
        files = tmp_path / 'results' / 'results.json', tmp_path / 'davis' / 'Annotations' / '480p'
        figures = davis_figures(*files, ['camel', 'swing'])
    else:
        dataset = DATASETS.build(config.test_dataloader.dataset)
        figures = camvid_figures(tmp_path / 'results', tmp_path / 'camvid' / 'testannot', stems_of(dataset))
    assert len(figures) == (2 if 'davis' in name else 3)
    assert figures == pytest.approx({key: metrics[key] for key in figures}, abs=1e-12)


def test_void_pixels_do_not_count(tmp_path):
    root = write_davis(tmp_path, palette=True)
    _, maps = scene(210, frames=8)
    whole, void = (maps == 1) | (maps == 3), maps == 2
    figures = score(root, {'camel': instances((whole | void)[None], [0.9])})
    assert figures['J_mean'] == 1.0 and figures['F_mean'] == 1.0
    figures = score(root, {'camel': instances(np.stack([(maps == 1) | void, maps == 3]), [0.9, 0.8])}, objects='all')
    assert figures['J_mean'] == 1.0 and figures['F_mean'] == 1.0


def test_official_lists_with_folders_of_their_authors(tmp_path):
    root = write_camvid(tmp_path)
    text = (root / 'train.txt').read_text()
    plain = [camvid(root).get_data_info(k)['frames'] for k in range(3)]
    (root / 'train.txt').write_text(text.replace('train', '/SegNet/CamVid/train'))
    assert [camvid(root).get_data_info(k)['frames'] for k in range(3)] == plain
    (root / 'train.txt').write_text('../x_1.png a/x_1.png\n')
    with pytest.raises(DataError, match=r"the name '../x_1.png' cannot be used"):
        camvid(root)[0]


def test_layouts_are_recognised(tmp_path):
    from helpers import tiny_datasets

    from mmdvis.datasets.detect_layout import find_datasets

    write_davis(tmp_path / 'davis')
    write_camvid(tmp_path / 'camvid')
    tiny_datasets.write('cityscapes_panoptic', tmp_path / 'cityscapes')
    (tmp_path / 'davis' / 'ImageSets' / '2017').mkdir()
    (tmp_path / 'davis' / 'ImageSets' / '2017' / 'train.txt').write_text('bear\n')
    kinds = {
        name: sorted((config['type'], config['test_mode']) for config in find_datasets(tmp_path / name))
        for name in ('davis', 'camvid', 'cityscapes')
    }
    assert kinds['davis'] == [('DAVISDataset', False), ('DAVISDataset', False), ('DAVISDataset', True)]
    assert kinds['camvid'] == [('CamVidDataset', False), ('CamVidDataset', True), ('CamVidDataset', True)]
    assert kinds['cityscapes'] == [('CityscapesPanopticDataset', False), ('CityscapesPanopticDataset', True)]
