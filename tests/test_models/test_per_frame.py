"""Models of mmdet and mmseg applied frame by frame."""

import itertools
import json

import numpy as np
import pytest
import torch
from helpers.commands import ROOT
from helpers.tiny_vpsnet import video
from mmengine.config import Config

from mmdvis.apis import VideoSegInferencer, init_model
from mmdvis.io import ArrayFrames
from mmdvis.models.detectors.per_frame import detector_config
from mmdvis.models.detectors.per_frame_results import INSTANCE_OFFSET, FrameObjects, panoptic_objects, segment_map
from mmdvis.registry import MODELS

FOLDER = ROOT / 'configs' / 'per_frame'
CONFIGS = dict(
    vis='per-frame_mask-rcnn-r50_coco-instance',
    vps='per-frame_mask2former-r50_coco-panoptic',
    vss='per-frame_segformer-b0_ade20k',
    city='per-frame_deeplabv3plus-r50_cityscapes',
)


def model(config, **options):
    """A published config with random weights, whose thresholds let something through."""
    torch.manual_seed(0)
    settings = Config.fromfile(FOLDER / f'{CONFIGS[config]}.py').model
    settings.update(options)
    built = MODELS.build(settings).eval()
    if config == 'vis':
        built.detector.rpn_head.test_cfg.update(nms_pre=100, max_per_img=100)
        built.detector.roi_head.test_cfg.update(score_thr=0.0, max_per_img=12)
    if config == 'vps':
        built.detector.panoptic_fusion_head.test_cfg.update(object_mask_thr=0.0, iou_thr=0.0)
    return built


@pytest.fixture(scope='module')
def models():
    return {task: model(task, **(dict(score_thr=0.0) if task == 'vis' else {})) for task in ('vis', 'vps', 'vss')}


def frames_of(model, frames, cuts=()):
    results, state = [], None
    for start, stop in itertools.pairwise([0, *cuts, len(frames)]):
        result, state = model.stream(ArrayFrames(frames[start:stop], original=(120, 180)), state)
        results += [result.frame(t) for t in range(stop - start)]
    return results


@pytest.mark.parametrize('task', ['vis', 'vps', 'vss'])
def test_a_stream_equals_the_video(models, task):
    frames = video(4)
    whole, parts = frames_of(models[task], frames), frames_of(models[task], frames, (1, 3))
    assert any(frame.objects for frame in whole)
    for one, other in zip(whole, parts):
        assert one.image_size == (120, 180) and [s.id for s in one.objects] == [s.id for s in other.objects]
        for first, second in zip(one.objects, other.objects):
            assert first == second and np.array_equal(first.mask, second.mask)


def test_results_are_those_of_the_model_itself(models):
    """Masks, classes and scores of a frame are those that mmdet predicts for it."""
    frame = video(1)[0]
    found = models['vis'].detect(frame, (60, 90))
    import mmdet.structures
    from mmengine.registry import DefaultScope

    meta = dict(img_shape=(60, 90), ori_shape=(60, 90), scale_factor=(1.0, 1.0), img_id=0)
    sample = mmdet.structures.DetDataSample(metainfo=meta)
    with DefaultScope.overwrite_default_scope('mmdet'):
        (expected,) = models['vis'].detector.test_step(dict(inputs=[frame.flip(0)], data_samples=[sample]))
    instances = expected.pred_instances
    visible = instances.masks.flatten(1).any(1)
    assert torch.equal(found.labels, instances.labels[visible])
    torch.testing.assert_close(found.scores, instances.scores[visible])
    assert torch.equal(found.masks, instances.masks[visible])


def test_identities_go_on_where_masks_overlap(models):
    """A still video: every object that the model finds in both frames keeps its identity."""
    frames = video(1).repeat(3, 1, 1, 1)
    first, *others = frames_of(models['vis'], frames)
    assert first.objects
    for frame in others:
        assert {s.id for s in frame.objects} == {s.id for s in first.objects}


def test_identities_follow_the_masks_not_the_order(models, monkeypatch):
    """Three squares; then two of them in the other order, and one elsewhere that is new."""

    def squares(*lefts):
        masks = torch.zeros(len(lefts), 60, 90, dtype=torch.bool)
        for mask, left in zip(masks, lefts):
            mask[20:40, left : left + 12] = True
        return FrameObjects(torch.zeros(len(lefts), dtype=torch.int64), torch.full((len(lefts),), 0.9), masks)

    found = iter([squares(0, 24, 48), squares(48, 0, 72)])
    monkeypatch.setattr(models['vis'], 'detect', lambda frame, size: next(found))
    result, _ = models['vis'].stream(ArrayFrames(video(2)))
    places = [{s.box[0]: s.id for s in result.frame(t).objects} for t in range(2)]
    assert len(set(places[0].values())) == 3
    assert (places[1][48], places[1][0]) == (places[0][48], places[0][0])
    assert places[1][72] not in places[0].values()


def test_labels_above_255_are_kept(monkeypatch):
    segmentor = model('vss')
    segmentor.num_classes = 300
    labels = torch.arange(60 * 90).reshape(60, 90) % 300
    found = FrameObjects(labels.new_zeros(0), torch.zeros(0), torch.zeros(0, 60, 90, dtype=torch.bool), labels)
    monkeypatch.setattr(segmentor, 'detect', lambda frame, size: found)
    result, _ = segmentor.stream(ArrayFrames(video(1)))
    assert np.array_equal(np.asarray(result.maps[0]), labels.numpy())


def test_a_panoptic_map_of_mmdet_is_taken_apart():
    """Things 0 and 1, stuff 2 and 3, and void 4, as label + 1000 * instance."""
    values = torch.tensor([[0 + INSTANCE_OFFSET, 0 + 2 * INSTANCE_OFFSET, 2], [0 + 2 * INSTANCE_OFFSET, 3, 4]])
    found = panoptic_objects(values, num_things=2)
    assert found.labels.tolist() == [0, 0] and [int(mask.sum()) for mask in found.masks] == [2, 1]
    ids, segments = segment_map(found, torch.tensor([7, 5]), num_classes=4, num_things=2)
    assert ids.tolist() == [[8, 10, 1], [10, 2, 0]]
    assert [(s.id, s.label, s.is_thing) for s in segments] == [
        (1, 2, False),
        (2, 3, False),
        (8, 0, True),
        (10, 0, True),
    ]


@pytest.mark.parametrize('task, number, name', [('vss', 150, 'wall'), ('city', 19, 'road')])
def test_classes_of_mmseg(task, number, name):
    built = model(task)
    assert len(built.classes) == number and built.classes.names[0] == name


@pytest.mark.parametrize('task', ['vis', 'vps', 'vss', 'city'])
def test_published_files_are_loaded(task, tmp_path):
    """Weights with the names of mmdet and mmseg, without a prefix."""
    built = model(task)
    weights = built.detector.state_dict()
    torch.save(dict(meta={}, state_dict=weights), tmp_path / 'file.pth')
    loaded = init_model(FOLDER / f'{CONFIGS[task]}.py', tmp_path / 'file.pth')
    assert all(torch.equal(value, weights[name]) for name, value in loaded.detector.state_dict().items())
    expected = dict(vis='person', vps='person', vss='wall', city='road')
    assert loaded.classes.names[0] == expected[task] and not any(p.requires_grad for p in loaded.parameters())


def test_it_writes_and_draws_results(models, tmp_path):
    for task in ('vis', 'vps', 'vss'):
        result = VideoSegInferencer(models[task], short_edge=60)(video(3).permute(0, 2, 3, 1).numpy(), score_thr=0.0)
        written = result.save(tmp_path / task, ['video', 'json', 'masks', 'html'])
        content = json.loads(written['result.json'].read_text())
        assert content['num_frames'] == 3 and any(frame['segments_info'] for frame in content['frames'])


def test_it_is_not_trained():
    built = model('vss')
    with pytest.raises(
        ValueError, match="PerFrameModel only predicts, got the mode 'loss'; train the detector with mmseg"
    ):
        built(torch.zeros(1, 1, 3, 32, 32), [], mode='loss')
    assert not built.train().training and built.parts() == ['detector']


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(detector='mmdet::nothing.py'), 'mmdet has no config nothing.py; its configs are in'),
        (dict(detector='mmcv::a.py'), "the part before :: must be 'mmdet' or 'mmseg', got 'mmcv'"),
        (dict(task='pan'), "task must be 'vps', 'vis' or 'vss', got 'pan'"),
        (dict(task='vps', num_things=None), 'a panoptic model needs num_things'),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        model('vps', **options)


def test_a_config_may_be_given_as_it_is():
    scope, settings = detector_config(
        dict(type='mmseg.EncoderDecoder', backbone=dict(init_cfg=dict(type='x'), norm_cfg=dict(type='SyncBN')))
    )
    assert scope == 'mmseg' and settings.backbone == dict(norm_cfg=dict(type='BN'))
