"""Class maps beside instances (Cityscapes-VPS), and Cityscapes images with the frames around them."""

import numpy as np
import pytest
import torch
from helpers import tiny_datasets, tiny_vpsnet
from helpers.official_layouts import scene
from PIL import Image

from mmdvis.datasets.transforms.geometry import JitterClip, RotateClip
from mmdvis.errors import DataError
from mmdvis.models.functional.frame_truth import frame_truth
from mmdvis.registry import DATASETS, METRICS, MODELS
from mmdvis.results import VideoDataSample

VOID = 255
PAIRS = dict(
    data_prefix=dict(img='train/img', seg='train/panoptic_inst', semantic='train/labelmap'),
    clip=dict(num_frames=2, frame_range=1, order='key_first'),
)
SEQUENCE = 'leftImg8bit_sequence/train/aachen/aachen_000000_{:06d}_leftImg8bit.png'


def build(kind, root, split='train', **options):
    settings = tiny_datasets.config(kind, root)
    dataset = dict(settings[f'{split}_dataloader'].dataset)
    dataset.pop('augment', None)
    return DATASETS.build(dict(dataset, **options))


def settings_of(kind, root):
    dataset = dict(tiny_datasets.config(kind, root).train_dataloader.dataset)
    dataset.pop('augment', None)
    return dataset


def labels_of_objects(sample):
    """Class labels (T, H, W) that the objects of a sample give."""
    table = torch.cat([torch.tensor([VOID]), sample.gt_labels])
    return table[sample.gt_index_maps[0].long()]


@pytest.mark.parametrize(
    'augment',
    [
        dict(flip=0.0),
        dict(flip=1.0, crop=dict(size=(20, 30))),
        dict(flip=0.0, scale=dict(base=(60, 80), scales=(0.7, 1.2))),
        dict(flip=0.5, jitter=dict(size=64, scales=(0.4, 1.5))),
        dict(flip=0.5, rotate=dict(angle=20)),
    ],
    ids=lambda options: '-'.join(options),
)
def test_class_maps_move_with_the_objects_and_know_more(augment, tmp_path):
    tiny_datasets.write('cityscapes_vps', tmp_path)
    dataset = build('cityscapes_vps', tmp_path, **PAIRS, augment=augment)
    np.random.seed(0)
    more = 0
    for sample in (dataset[k % len(dataset)]['data_samples'] for k in range(6)):
        semantic, objects = sample.gt_semantic.long(), labels_of_objects(sample)
        assert semantic.shape == objects.shape
        known = objects != VOID
        assert torch.equal(semantic[known], objects[known])
        assert set(semantic[~known].unique().tolist()) <= {VOID, dataset.label_map[13]}
        more += int((semantic[~known] != VOID).sum())
    assert more  # cars without an instance


def test_pixels_outside_the_image_are_of_unknown_class():
    clip = dict(clip=np.zeros((1, 20, 20, 3), np.uint8), maps=np.ones((1, 1, 20, 20), np.uint8))
    clip['semantic'] = np.full((1, 20, 20), 7, np.uint8)
    np.random.seed(1)
    for transform in (RotateClip(angle=40), JitterClip(size=32, scales=(0.5, 0.6))):
        moved = transform.transform(clip)
        outside = moved['maps'][0] == 0
        assert outside.any() and (moved['semantic'][outside] == VOID).all() and (moved['semantic'][~outside] == 7).all()


def test_the_semantic_head_learns_from_the_class_map(tmp_path):
    tiny_datasets.write('cityscapes_vps', tmp_path)
    sample = build('cityscapes_vps', tmp_path, **PAIRS, augment=dict(flip=0.0))[0]
    preprocessor = MODELS.build(dict(type='ClipPreprocessor'))
    batch = preprocessor(dict(inputs=[sample['inputs']], data_samples=[sample['data_samples']]), training=True)
    targets = batch['data_samples'][0].gt_targets
    truth = frame_truth(targets, 0, 8)
    height, width = sample['inputs'].shape[-2:]
    assert torch.equal(truth.semantic[:height, :width], sample['data_samples'].gt_semantic[0].long())
    assert (truth.semantic[height:] == VOID).all() and truth.semantic.shape == batch['inputs'].shape[-2:]
    assert (frame_truth(targets, 1, 8).semantic == targets.semantic[1]).all()
    assert (targets.frames()[1].semantic == targets.semantic[1:]).all()


def test_a_class_map_with_an_unknown_value_is_refused(tmp_path):
    tiny_datasets.write('cityscapes_vps', tmp_path)
    for path in (tmp_path / 'train' / 'labelmap').glob('*.png'):
        pixels = np.asarray(Image.open(path)).copy()
        pixels[0, 0] = 77
        Image.fromarray(pixels).save(path)
    with pytest.raises(DataError, match='the class map has the value 77; allowed are the category ids and 255'):
        build('cityscapes_vps', tmp_path, **PAIRS, augment=dict(flip=0.0))[0]


def test_an_image_is_the_key_frame_of_its_neighbours(tmp_path):
    tiny_datasets.write('cityscapes_panoptic', tmp_path)
    dataset = build(
        'cityscapes_panoptic',
        tmp_path,
        augment=dict(flip=0.0),
        clip=dict(num_frames=3, frame_range=1, order='key_first'),
    )
    images, maps = scene(90, frames=3)
    seen = set()
    for _ in range(8):
        sample = dataset[0]
        frames = sample['inputs'].permute(0, 2, 3, 1).numpy()
        assert np.array_equal(frames[0], images[1])
        others = {int(np.flatnonzero([np.array_equal(frame, image) for image in images])[0]) for frame in frames[1:]}
        assert others == {0, 2}
        seen.add(int(np.flatnonzero([np.array_equal(frames[1], image) for image in images])[0]))
        objects = sample['data_samples'].gt_index_maps[0].numpy()
        assert not objects[1:].any() and np.array_equal(objects[0] > 0, maps[1] > 0)
    assert seen == {0, 2}
    names = {dataset.metainfo['classes'][label] for label in sample['data_samples'].gt_labels}
    assert names == {'car', 'person', 'sky', 'road'} and dataset.metainfo['num_things'] == 8


def test_without_neighbours_a_video_is_one_image(tmp_path):
    tiny_datasets.write('cityscapes_panoptic', tmp_path)
    dataset = build('cityscapes_panoptic', tmp_path, offsets=(), augment=dict(flip=0.0), clip=dict(num_frames=1))
    assert dataset[1]['inputs'].shape[0] == 1
    test = build('cityscapes_panoptic', tmp_path, 'test', offsets=())[0]
    assert len(test['inputs']) == 1 and not test['data_samples'].get('warmup')
    with pytest.raises(ValueError, match='offsets are those of the neighbours, so they must not be 0'):
        build('cityscapes_panoptic', tmp_path, offsets=(0, 1))
    with pytest.raises(ValueError, match='neighbours need their folder'):
        build('cityscapes_panoptic', tmp_path, data_prefix=dict(img='leftImg8bit/train'))


def test_a_missing_neighbour_is_named(tmp_path):
    tiny_datasets.write('cityscapes_panoptic', tmp_path)
    (tmp_path / SEQUENCE.format(18)).unlink()
    with pytest.raises(DataError, match=r'frame aachen_000000_000019_leftImg8bit-1.png: .*aachen_000000_000018'):
        build('cityscapes_panoptic', tmp_path, clip=dict(num_frames=3, frame_range=1, order='key_first'))[0]


def test_only_the_image_is_scored_and_the_frame_before_is_used(tmp_path):
    tiny_datasets.write('cityscapes_panoptic', tmp_path)
    settings = tiny_datasets.config('cityscapes_panoptic', tmp_path)
    dataset = build('cityscapes_panoptic', tmp_path, 'test')
    torch.manual_seed(0)
    model = tiny_vpsnet.model(num_classes=19, panoptic=dict(num_things=8)).eval()
    metric = METRICS.build(settings.test_evaluator[0])
    metric.dataset_meta = dataset.metainfo
    for k in range(len(dataset)):
        item = dataset[k]
        assert len(item['inputs']) == 2 and item['data_samples'].warmup == 1
        (result,) = model.predict([item['inputs']], [item['data_samples']])
        whole, _ = model.stream(item['inputs'])
        assert result.pred_panoptic.num_frames == 1 == len(result.frame_names) == len(result.pred_panoptic.by_frame)
        assert torch.equal(result.pred_panoptic.id_map[0], whole.id_map[1]) and result.frame_names[0].endswith(
            '19_leftImg8bit.png'
        )
        metric.process({}, [result.to_dict()])
    scores = metric.evaluate(len(dataset))
    assert set(scores) >= {'PQ', 'PQ_Th', 'PQ_St'} and all(0 <= value <= 1 for value in scores.values())


def test_instances_and_classes_leave_out_the_frames_before():
    from mmdvis.models.detectors.options import class_info
    from mmdvis.results import VideoInstances, VideoSemantic

    sample, classes = VideoDataSample(metainfo=dict(warmup=2, frame_names=('a', 'b', 'c'))), class_info(2, 2, None)
    semantic = VideoSemantic(torch.arange(3, dtype=torch.uint8).view(3, 1, 1), classes).pack(sample)
    assert semantic.pred_semantic.label_map.ravel().tolist() == [2] and semantic.frame_names == ('c',)
    one = torch.ones(1)
    tracks = VideoInstances(one, one.long(), one.long(), [['x', 'y', 'z']], classes, 3, (1, 1)).pack(sample)
    assert tracks.pred_instances.masks == [['z']] and tracks.pred_instances.num_frames == 1


def test_neighbours_are_never_learned_from(tmp_path):
    tiny_datasets.write('cityscapes_panoptic', tmp_path)
    with pytest.raises(ValueError, match="neighbours have no annotations; set clip=dict\\(order='key_first'"):
        build('cityscapes_panoptic', tmp_path, clip=dict(num_frames=1))


def test_a_dataset_with_neighbours_and_class_maps_is_checked(tmp_path):
    from mmdvis.analysis.check_dataset import check_dataset

    tiny_datasets.write('cityscapes_panoptic', tmp_path / 'images')
    report = check_dataset(settings_of('cityscapes_panoptic', tmp_path / 'images'))
    assert not report.problems and report.empty_frames == 0
    tiny_datasets.write('cityscapes_vps', tmp_path / 'vps')
    next((tmp_path / 'vps' / 'train' / 'labelmap').glob('*.png')).write_bytes(b'torn')
    report = check_dataset({**settings_of('cityscapes_vps', tmp_path / 'vps'), **PAIRS})
    assert [problem.kind for problem in report.problems] == ['unreadable'] and 'labelmap' in report.problems[0].text
