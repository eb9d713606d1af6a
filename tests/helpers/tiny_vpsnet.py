"""A VPSNet small enough for tests, and clips for it."""

import torch

from helpers.commands import ROOT
from helpers.configs import load_config
from mmdvis.registry import MODELS
from mmdvis.results import VideoDataSample
from mmdvis.structures import ClipTargets

CLASSES, THINGS = 5, 3
FUSE = dict(type='TemporalFuse', channels=64)
HEAD = dict(type='TrackEmbedHead', in_channels=64, channels=16)
TRACKING = dict(
    rank=dict(associator=dict(type='RankAssociator')),
    affinity=dict(head=HEAD, associator=dict(type='AffinityAssociator')),
    raw=dict(head=HEAD, associator=dict(type='AffinityAssociator', iou='box'), feature='raw'),
    flow_iou=dict(associator=dict(type='FlowIoUAssociator')),
)


def model(fuse=FUSE, tracking='affinity', flow='DISFlow', seed=0, score_thr=0.25, **options):
    """A model of random weights that finds objects."""
    torch.manual_seed(seed)
    settings = load_config(ROOT / 'configs' / '_base_' / 'models' / 'vpsnet_toy.py').model
    settings.detector.roi_head.test_cfg.update(score_thr=score_thr, max_per_img=12)
    settings.update(
        num_classes=CLASSES,
        fuse=fuse,
        tracking=TRACKING[tracking] if isinstance(tracking, str) else tracking,
        flow=flow and dict(type=flow),
    )
    settings.panoptic.num_things = THINGS
    settings.update(options)
    built = MODELS.build(settings)
    built.init_weights()
    return built


def clip(num_frames=2, batch=2, size=(64, 96), empty=()):
    """Normalised clips with samples; the objects of the clips ``empty`` are left out."""
    g = torch.Generator().manual_seed(0)
    inputs, samples = torch.randn(batch, num_frames, 3, *size, generator=g), []
    for b in range(batch):
        masks = torch.zeros(4, num_frames, *size, dtype=torch.bool)
        masks[0, :, 5:30, 8:40] = True
        masks[1, :, 35:55, 20 + 5 * b : 50] = True
        masks[2, 0, 10:30, 60:85] = True  # in the key frame only
        masks[3, :, 56:] = True
        labels, ids = torch.tensor([0, 1, 2, 4]), torch.tensor([1, 2, 3, 4])
        keep = torch.tensor([b not in empty] * 3 + [True])
        masks, labels, ids = masks[keep], labels[keep], ids[keep]
        sample = VideoDataSample()
        sample.set_field(ClipTargets(labels, ids, masks, masks.flatten(2).any(-1)), 'gt_targets')
        samples.append(sample)
    return inputs, samples


def video(num_frames=6, size=(60, 90), seed=0):
    """Frames (T, 3, H, W) uint8 that move."""
    g = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, size[0] // 6 + 4, size[1] // 6 + 8, generator=g)
    big = (255 * torch.nn.functional.interpolate(coarse, scale_factor=6, mode='bilinear'))[0].byte()
    return torch.stack([big[:, t : t + size[0], 2 * t : 2 * t + size[1]] for t in range(num_frames)])
