"""Tiny copies of every dataset in its official layout, loaded with the dataset's base config."""

import re

from mmengine.config import Config

from mmdvis.datasets import classes as class_lists

from . import official_layouts as official
from . import tiny
from .commands import ROOT

BASES = ROOT / 'configs' / '_base_' / 'datasets'
COCO_THINGS = [k for k in range(1, 91) if k not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)]
COCO_STUFF = [
    92,
    93,
    95,
    100,
    107,
    109,
    112,
    118,
    119,
    122,
    125,
    128,
    130,
    133,
    138,
    141,
    144,
    145,
    147,
    148,
    149,
    151,
    154,
    155,
    156,
    159,
    161,
    166,
    168,
    171,
    175,
    176,
    177,
    178,
    180,
    181,
    *range(184, 201),
]
VIPER_FOLDERS = dict(folders=('{split}/img', '{split}/panomasksRGB'), json_name='panoptic_gt_VIPER_{split}.json')


def coco_names():
    """Return the names of the COCO thing classes from mmdet."""
    from mmdet.datasets import CocoDataset

    return CocoDataset.METAINFO['classes']


def names(text):
    return text.split()


def write(kind, root):
    """Write the tiny copy that the base config ``kind`` reads."""
    stem = kind.rsplit('_', 1)[0] if kind.endswith('0p') else kind
    return {
        'vipseg': lambda: official.vipseg(root, names(class_lists.VIPSEG), class_lists.VIPSEG_THINGS),
        'vspw': lambda: official.vspw(root),
        'ovis': lambda: official.ovis(root, names(class_lists.OVIS)),
        'youtube_vis_2019': lambda: official.youtube_vis(root, names(class_lists.YOUTUBE_VIS_2019)),
        'youtube_vis_2021': lambda: official.youtube_vis(root, names(class_lists.YOUTUBE_VIS_2021)),
        'youtube_vis_2022': lambda: official.youtube_vis(
            root, names(class_lists.YOUTUBE_VIS_2021), 'valid/instances.json'
        ),
        'cityscapes_vps': lambda: official.cityscapes_vps(root, names(class_lists.CITYSCAPES)),
        'cityscapes_panoptic': lambda: official.cityscapes(
            root, names(class_lists.CITYSCAPES), class_lists.CITYSCAPES_LABEL_IDS
        ),
        'viper_vps': lambda: official.vipseg(
            root, names(class_lists.VIPER), range(13, 23), (19, 17, 14, 0, 1), dict(train=2, val_day=1), **VIPER_FOLDERS
        ),
        'coco_panoptic': lambda: official.coco(root, COCO_THINGS, COCO_STUFF, coco_names()),
        'coco_instance': lambda: official.coco(root, COCO_THINGS, COCO_STUFF, coco_names()),
    }[stem]()


def config(kind, root):
    """Return the base config ``kind`` for the files below ``root``, with sizes that fit tiny frames."""
    text = (BASES / f'{kind}.py').read_text()
    first = text[text.index("data_root = '") :].splitlines()[0]
    text = text.replace(first, f"data_root = '{root}/'")
    text = re.sub(r"'\./([\w-]+\.py)'", lambda base: repr(str(BASES / base.group(1))), text)
    settings = Config.fromstring(text, '.py')
    loaders = [settings[name] for name in ('train_dataloader', 'val_dataloader', 'test_dataloader') if name in settings]
    for loader in loaders:
        loader.update(num_workers=0, persistent_workers=False)
        if 'test' in loader.dataset:
            loader.dataset.test = dict(short_edge=40)
        if 'augment' in loader.dataset:
            augment = loader.dataset.augment
            if 'short_edges' in augment:
                augment.update(short_edges=[36, 44], max_edge=70)
            if 'jitter' in augment:
                augment.jitter = dict(size=64, scales=(0.3, 2.0))
            if 'crop_first' in augment:
                augment.crop_first = dict(short_edges=[30, 44], between=(24, 40), prob=0.5)
    return settings


def model(settings, queries=6):
    """Return the config of a tiny MinVIS with the classes and the task of a dataset."""
    segmenter = dict(tiny.SEGMENTER, num_classes=settings.num_classes, num_queries=queries)
    post = dict(settings.postprocessor)
    post.update({key: 0.001 for key in ('score_thr', 'overlap_thr') if key in post})
    return dict(
        type='DVIS',
        num_classes=settings.num_classes,
        data_preprocessor=dict(type='ClipPreprocessor'),
        segmenter=segmenter,
        tracker=tiny.TRACKERS['cosine'],
        postprocessor=post,
    )


VIS = dict(
    ovis_360p='annotations/annotations_train.json',
    youtube_vis_2019_360p='train.json',
    youtube_vis_2021_360p='train.json',
)


PREFIX = dict(ovis_360p='train', youtube_vis_2019_360p='train/JPEGImages', youtube_vis_2021_360p='train/JPEGImages')


RUN = """
default_scope = 'mmdvis'
train_cfg = dict(type='VideoTrainLoop', max_iters=1, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-4))
default_hooks = dict(logger=dict(type='LoggerHook', interval=1), bad_frames=dict(type='BadFramesHook'),
                     checkpoint=dict(type='SafeCheckpointHook', by_epoch=False, interval=1))
randomness = dict(seed=1)
log_level = 'ERROR'
"""


def settings_of(kind, root):
    """Return a complete config: the base config of the dataset and a tiny model.

    Where the validation annotations are private, the training annotations are used for validation.
    """
    settings = config(kind, root)
    settings.merge_from_dict(Config.fromstring(RUN, '.py').to_dict())
    settings.model = model(settings)
    if kind in VIS:
        for name in ('val_dataloader', 'test_dataloader'):
            settings[name].dataset.update(ann_file=VIS[kind], data_prefix=dict(img=PREFIX[kind]))
        settings.val_evaluator = [dict(type='VISMetric', gt_json=str(root / VIS[kind]), ovis='ovis' in kind)]
    return settings
