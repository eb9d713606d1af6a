"""Damage the files of a dataset."""

import json

from . import tiny_datasets

JSON, TRACKS = 'panoptic_gt_VIPSeg_train.json', 'train.json'


def edit(path, change):
    content = json.loads(path.read_text())
    changed = change(content)
    path.write_text(json.dumps(content if changed is None else changed))


def first_frame(content, t=0):
    return content['annotations'][0]['annotations'][t]['segments_info']


def dataset_config(kind, root):
    config = dict(tiny_datasets.config(kind, root).train_dataloader.dataset)
    return dict(config, clip=dict(num_frames=7), augment=dict(flip=0.0), filter_empty=False)
