"""Detectors of mmdet and segmentors of mmseg learn and predict on the CPU, with nothing compiled."""

from pathlib import Path

import mmdet
import numpy as np
import pytest
import torch
from mmdet.registry import MODELS as DETECTORS
from mmdet.structures import DetDataSample, TrackDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData, PixelData

from mmdvis.mmcv_ops_fallback import has_compiled_ops

pytestmark = pytest.mark.skipif(has_compiled_ops(), reason='mmcv has compiled operators')
SIZE = (96, 160)
QUICK = ('mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py', 'panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco.py')
SLOW = (
    'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    'cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py',
    'dcn/cascade-mask-rcnn_r50-dconv-c3-c5_fpn_1x_coco.py',
    'dcnv2/mask-rcnn_r50-mdconv-c3-c5_fpn_1x_coco.py',
    'retinanet/retinanet_r50_fpn_1x_coco.py',
    'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
    'rtmdet/rtmdet-ins_tiny_8xb32-300e_coco.py',
    'solo/solo_r50_fpn_1x_coco.py',
    'detr/detr_r50_8xb2-150e_coco.py',
    'deformable_detr/deformable-detr_r50_16xb2-50e_coco.py',
)


def build(registry, scope, folder, name):
    """The model of a published config with random weights."""
    settings = Config.fromfile(folder / name).model
    for part in ('backbone', 'decode_head', 'auxiliary_head'):
        if settings.get(part):
            settings[part].pop('init_cfg', None)
    settings.pop('init_cfg', None)
    with DefaultScope.overwrite_default_scope(scope):
        model = registry.build(settings)
        model.init_weights()
    return model


def sample(num_classes=80, semantic=False):
    """Three objects with masks."""
    masks = np.zeros((3, *SIZE), np.uint8)
    boxes = [(10, 8, 60, 50), (70, 30, 140, 90), (30, 55, 65, 85)]
    for mask, (x1, y1, x2, y2) in zip(masks, boxes):
        mask[y1:y2, x1:x2] = 1
    meta = dict(
        img_shape=SIZE, ori_shape=SIZE, pad_shape=SIZE, batch_input_shape=SIZE, scale_factor=(1.0, 1.0), img_id=0
    )
    result = DetDataSample(metainfo=meta)
    result.gt_instances = InstanceData(
        bboxes=torch.tensor(boxes, dtype=torch.float32), labels=torch.tensor([0, 3, 7]), masks=BitmapMasks(masks, *SIZE)
    )
    result.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0).long())
    if semantic:
        result.gt_sem_seg = PixelData(sem_seg=torch.randint(0, 53, (1, *SIZE)))
    return result


def learns_and_predicts(model, samples, scope, image):
    """One loss with a gradient for every trainable parameter, and one prediction."""
    with DefaultScope.overwrite_default_scope(scope):
        model.train()
        total, _ = model.parse_losses(model.loss(image, samples))
        total.backward()
        assert total.isfinite()
        missing = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
        model.eval()
        with torch.no_grad():
            predicted = model.predict(image, samples)
    assert len(predicted) == len(samples)
    return missing, predicted


@pytest.mark.parametrize('name', [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_a_detector_of_mmdet(name):
    torch.manual_seed(0)
    model = build(DETECTORS, 'mmdet', Path(mmdet.__file__).parent / '.mim' / 'configs', name)
    samples = [sample(semantic='panoptic' in name) for _ in range(2 if 'rtmdet' in name else 1)]
    missing, _ = learns_and_predicts(model, samples, 'mmdet', torch.randn(len(samples), 3, *SIZE))
    assert not missing


@pytest.mark.slow
def test_a_tracking_detector_of_mmdet():
    """MaskTrack R-CNN learns from a pair of frames, and follows objects through a video."""
    torch.manual_seed(0)
    folder = Path(mmdet.__file__).parent / '.mim' / 'configs' / 'masktrack_rcnn'
    settings = Config.fromfile(folder / 'masktrack-rcnn_mask-rcnn_r50_fpn_8xb1-12e_youtubevis2019.py').model
    settings.detector.pop('init_cfg')
    settings.detector.backbone.pop('init_cfg', None)
    settings.detector.test_cfg.rcnn.score_thr = 0.0
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = DETECTORS.build(settings)
        model.init_weights()
        frames = [sample(), sample()]
        for frame in frames:
            frame.gt_instances.instances_ids = torch.tensor([4, 7, 9])
        pair = TrackDataSample(metainfo=dict(key_frames_inds=[0], ref_frames_inds=[1]))
        pair.video_data_samples = frames
        model.train()
        total, _ = model.parse_losses(model.loss(torch.randn(1, 2, 3, *SIZE), [pair]))
        total.backward()
        assert total.isfinite()
        assert not [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
        model.eval()
        video = TrackDataSample()
        video.video_data_samples = [sample() for _ in range(3)]
        for t, frame in enumerate(video.video_data_samples):
            frame.set_metainfo(dict(frame_id=t))
        with torch.no_grad():
            (found,) = model.predict(torch.randn(1, 3, 3, *SIZE), [video])
    tracks = [frame.pred_track_instances for frame in found.video_data_samples]
    assert len(tracks) == 3 and all(len(found.instances_id) == len(found.masks) > 0 for found in tracks)


@pytest.mark.slow
@pytest.mark.parametrize(
    'name',
    [
        'segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py',
        'deeplabv3plus/deeplabv3plus_r50-d8_4xb2-40k_cityscapes-512x1024.py',
        'pspnet/pspnet_r50-d8_4xb2-40k_cityscapes-512x1024.py',
    ],
)
def test_a_segmentor_of_mmseg(name):
    import mmseg
    from mmseg.registry import MODELS as SEGMENTORS
    from mmseg.structures import SegDataSample
    from mmseg.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    torch.manual_seed(0)
    folder = Path(mmseg.__file__).parent / '.mim' / 'configs'
    settings = Config.fromfile(folder / name)
    classes = settings.model.decode_head.num_classes

    def one_process(part):
        for key, value in part.items():
            if key == 'norm_cfg' and isinstance(value, dict) and value.get('type') == 'SyncBN':
                value['type'] = 'BN'
            elif isinstance(value, dict):
                one_process(value)

    one_process(settings.model)
    settings.model.pop('pretrained', None)
    settings.model.backbone.pop('init_cfg', None)
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = SEGMENTORS.build(settings.model)
    meta = dict(img_shape=SIZE, ori_shape=SIZE, pad_shape=SIZE, padding_size=(0, 0, 0, 0))
    samples = []
    for _ in range(2):
        labelled = SegDataSample(metainfo=meta)
        labelled.gt_sem_seg = PixelData(data=torch.randint(0, classes, (1, *SIZE)))
        samples.append(labelled)
    missing, predicted = learns_and_predicts(model, samples, 'mmseg', torch.randn(2, 3, *SIZE))
    assert not missing and predicted[0].pred_sem_seg.data.shape == (1, *SIZE)
