"""Tiny DAVIS and CamVid datasets in their official layouts."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from helpers.official_layouts import save, scene
from mmdvis.registry import DATASETS
from mmdvis.results import VideoInstances, encode_mask


def write_davis(root, palette=False):
    """Two sequences for each split; objects 1 to 3 of the scene; with a palette, object 2 is marked as void."""
    names = {'train': ('bear', 'cows'), 'val': ('camel', 'swing')}
    for split, sequences in names.items():
        (root / 'ImageSets' / '480p').mkdir(parents=True, exist_ok=True)
        (root / 'ImageSets' / '480p' / f'{split}.txt').write_text('\n'.join(sequences) + '\n')
        for k, name in enumerate(sequences):
            images, maps = scene(200 + k + 10 * (split == 'val'), frames=8)
            for t, (image, ids) in enumerate(zip(images, maps)):
                save(root / 'JPEGImages' / '480p' / name / f'{t:05d}.jpg', image)
                path = root / 'Annotations' / '480p' / name / f'{t:05d}.png'
                values = np.where(ids <= 3, ids, 0).astype(np.uint8)
                if palette:
                    values[values == 2] = 255
                    png = Image.fromarray(values, 'P')
                    png.putpalette([value for k in range(256) for value in (k, 255 - k, 7)])
                else:
                    png = Image.fromarray(np.where(values > 0, 255, 0).astype(np.uint8))
                path.parent.mkdir(parents=True, exist_ok=True)
                png.save(path)
    return root


def davis(root, split='train', **options):
    prefix = dict(img='JPEGImages/480p', seg='Annotations/480p')
    settings = dict(
        type='DAVISDataset', data_root=str(root), ann_file=f'ImageSets/480p/{split}.txt', data_prefix=prefix
    )
    return DATASETS.build({**settings, 'clip': dict(num_frames=8), 'augment': dict(flip=0.0), **options})


def write_camvid(root, frames=11):
    """Write three videos per split; ``frames`` is the length of the last video of ``val`` and ``test``."""
    for split, start in (('train', 0), ('val', 3), ('test', 5)):
        lines = []
        last = (1, 2, 3, 4) if split == 'train' else range(1, frames + 1)
        for name, numbers in (('0001TP', (30, 60, 90)), ('0001TP', (100, 102)), ('Seq05VD', last)):
            for k, t in enumerate(numbers):
                images, maps = scene(300 + start + len(name), frames=frames)
                values = np.array([11, 8, 9, 10, 0, 3], np.uint8)[maps[k]]  # car, pedestrian, bicyclist, sky, road
                number = f'{t:06d}' if name[0] == '0' else f'f{t:05d}'  # both are official
                save(root / split / f'{name}_{number}.jpg', images[k])
                save(root / f'{split}annot' / f'{name}_{number}.png', values)
                lines.append(f'{split}/{name}_{number}.jpg {split}annot/{name}_{number}.png')
        (root / f'{split}.txt').write_text('\n'.join(lines) + '\n')
    return root


def camvid(root, split='train', **options):
    settings = dict(type='CamVidDataset', data_root=str(root), ann_file=f'{split}.txt', augment=dict(flip=0.0))
    return DATASETS.build({**settings, **options})


def stems_of(dataset):
    """Returns a dict from the name of each video to the stems of its frames."""
    infos = [dataset.get_data_info(k) for k in range(len(dataset))]
    return {info['video_id']: [Path(frame['name']).stem for frame in info['frames']] for info in infos}


def instances(masks, scores):
    """A result with masks (N, T, H, W)."""
    codes = [[encode_mask(mask) for mask in track] for track in masks]
    scores = torch.tensor(scores)
    return VideoInstances(
        scores, scores.long() * 0, torch.arange(len(scores)), codes, None, *masks.shape[1:2], masks.shape[2:]
    )
