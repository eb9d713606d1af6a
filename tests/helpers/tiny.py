"""Models and inputs small enough for tests."""

import torch

from mmdvis.registry import MODELS
from mmdvis.structures import ClipTargets, FrameQueries, TrackQueries

CLASSES, QUERIES, WIDTH = 5, 7, 16
LOSS = dict(type='QuerySetLoss', num_points=32)
COMMON = dict(
    num_classes=CLASSES, channels=WIDTH, mask_channels=WIDTH, decoder=dict(num_layers=2, num_heads=2, ffn_channels=24)
)
PLUS = dict(refer='mlp', project_features=True, normed_outputs=False)
SEGMENTER = dict(
    type='Mask2FormerSegmenter',
    num_classes=CLASSES,
    num_queries=QUERIES,
    channels=WIDTH,
    mask_channels=WIDTH,
    backbone=dict(
        type='mmdet.ResNet', depth=18, base_channels=8, norm_cfg=dict(type='BN', requires_grad=True), norm_eval=False
    ),
    in_channels=(8, 16, 32, 64),
    pixel_decoder=dict(num_layers=1, num_heads=2, ffn_channels=24, norm_groups=4),
    decoder=dict(num_layers=3, num_heads=2, ffn_channels=24),
    loss=dict(LOSS, matching='frame'),
)
EOMT = dict(
    type='EoMTSegmenter',
    backbone=dict(
        type='DINOv2',
        arch=dict(channels=WIDTH, depth=4, num_heads=2, ffn='mlp'),
        patch_size=8,
        table=6,
        registers=2,
        frozen=False,
    ),
    num_classes=CLASSES,
    num_queries=QUERIES,
    num_blocks=2,
    loss=dict(LOSS, matching='frame'),
)
VIDEOMT = dict(EOMT, type='VidEoMTSegmenter', loss=dict(LOSS, matching='first_appearance'))
TRACKERS = dict(
    cosine=dict(type='CosineTracker'),
    cosine_memory=dict(type='CosineTracker', memory=0.3),
    fixed=dict(type='FixedTracker'),
    dvis=dict(type='DVISTracker', loss=dict(LOSS, matching='first_appearance'), **COMMON),
    dvis_first_frame=dict(
        type='DVISTracker', context='first_frame', loss=dict(LOSS, matching='first_appearance'), **COMMON
    ),
    dvis_plus=dict(type='DVISTracker', loss=dict(LOSS, matching='first_appearance'), **PLUS, **COMMON),
    dvis_from_output=dict(type='DVISTracker', start='output', loss=dict(LOSS, matching='first_appearance'), **COMMON),
    dvis_unmatched=dict(type='DVISTracker', start='unmatched', loss=dict(LOSS, matching='first_appearance'), **COMMON),
    dvis_legacy=dict(
        type='DVISTracker', legacy_inverse_match=True, loss=dict(LOSS, matching='first_appearance'), **COMMON
    ),
)
REFINER = dict(type='TemporalRefiner', loss=dict(LOSS, matching='video'), **COMMON)
PANOPTIC = dict(type='PanopticPostprocessor', num_things=3, score_thr=0.1, overlap_thr=0.1)


def model(tracker='dvis', refiner=False, postprocessor=None, segmenter=SEGMENTER, **options):
    """Build a tiny DVIS; ``precision`` and ``store`` are inference options, the others belong to the detector."""
    torch.manual_seed(1)
    inference = {name: options.pop(name) for name in ('precision', 'store') if name in options}
    detector = MODELS.build(
        dict(
            type='DVIS',
            num_classes=CLASSES,
            segmenter=segmenter,
            tracker=TRACKERS[tracker],
            refiner=REFINER if refiner else None,
            postprocessor=postprocessor or PANOPTIC,
            **options,
        )
    )
    return detector.with_options(**inference)


def frame_queries(num_frames=6, batch=1, lengths=None, seed=0):
    """Return random frame queries; ``lengths`` is the number of frames of each video, the rest is padding."""
    g = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=g)

    embeds = draw(batch, num_frames, QUERIES, WIDTH)
    ends = torch.tensor(lengths or [num_frames] * batch)
    return FrameQueries(
        embeds,
        embeds,
        draw(batch, num_frames, QUERIES, CLASSES + 1),
        draw(batch, num_frames, QUERIES, WIDTH),
        draw(batch, num_frames, WIDTH, 8, 12),
        torch.arange(num_frames) < ends[:, None],
    )


def part(queries, start, stop, video=slice(None)):
    """Return the frames [start, stop) of frame queries or tracks, for all videos or for a slice of the videos."""
    fields = {name: getattr(queries, name)[video, start:stop] for name in queries.AXES if name != 'ids'}
    if isinstance(queries, TrackQueries):
        return TrackQueries(ids=queries.ids, **fields)
    return FrameQueries(**fields)


def targets(num_frames, size=(64, 96), objects=((2, 0), (4, 1), (0, 2)), seed=0):
    """Return targets with rectangular objects; ``objects`` holds the (label, first frame) of each."""
    g = torch.Generator().manual_seed(seed)
    masks = torch.zeros(len(objects), num_frames, *size, dtype=torch.bool)
    for n, (_, first) in enumerate(objects):
        for t in range(min(first, num_frames - 1), num_frames):
            top, left = (int(torch.randint(0, length // 2, (1,), generator=g)) for length in size)
            masks[n, t, top : top + size[0] // 3, left : left + size[1] // 3] = True
    labels = torch.tensor([label for label, _ in objects], dtype=torch.long)
    return ClipTargets(labels, torch.arange(1, len(objects) + 1), masks, masks.flatten(2).any(-1))
