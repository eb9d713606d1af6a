"""Writes the annotation files of this folder with the packages of the tools.

``pip install datumaro==1.13.12 label-studio-sdk==2.1.2``, then ``python write_with_packages.py FOLDER``. The objects
are those of ``tests/helpers/labelled_videos.py``.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from datumaro.components.annotation import Mask, Polygon
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image
from label_studio_sdk.converter import brush

SIZE, FRAMES, LABELS = (40, 60), 3, ['cat', 'grass']


def truth(frame):
    masks = {key: np.zeros(SIZE, bool) for key in (('cat', 1), ('cat', 2), ('grass', 3))}
    masks['cat', 1][5:15, 4 + 3 * frame : 14 + 3 * frame] = True
    if frame != 1:
        masks['cat', 2][8:20, 40:50] = True
    masks['grass', 3][30:] = True
    return {key: mask for key, mask in masks.items() if mask.any()}


def corners(mask):
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    left, top, right, bottom = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return [(float(x), float(y)) for x, y in ((left, top), (right, top), (right, bottom), (left, bottom))]


def dataset(has_polygons):
    items = []
    for t in range(FRAMES):
        found = []
        for (name, number), mask in truth(t).items():
            options = dict(label=LABELS.index(name), id=number, group=number, attributes=dict(track_id=number))
            if number == 1 and has_polygons:
                found.append(Polygon([value for corner in corners(mask) for value in corner], **options))
            else:
                found.append(Mask(mask.astype(np.uint8), **options))
        image = Image.from_numpy(np.zeros((*SIZE, 3), np.uint8))
        items.append(
            DatasetItem(f'frame_{t:06d}', subset='default', media=image, annotations=found, attributes=dict(frame=t))
        )
    return Dataset.from_iterable(items, categories=LABELS)


def region(name, number, mask):
    fields = dict(id=f'r{number}', original_width=SIZE[1], original_height=SIZE[0], image_rotation=0, to_name='image')
    percent = [(x * 100 / SIZE[1], y * 100 / SIZE[0]) for x, y in corners(mask)]
    (left, top), _, (right, bottom), _ = percent
    if number == 1:
        value = dict(points=percent, closed=True, polygonlabels=[name])
    elif number == 2:
        value = dict(format='rle', rle=brush.mask2rle(mask.astype(np.uint8) * 255), brushlabels=[name])
    else:
        value = dict(x=left, y=top, width=right - left, height=bottom - top, rotation=0, rectanglelabels=[name])
    kind = ('polygonlabels', 'brushlabels', 'rectanglelabels')[number - 1]
    numbers = [dict(fields, type='number', from_name='track', value=dict(value, number=number))] if number < 3 else []
    return [dict(fields, type=kind, from_name=kind, value=value), *numbers]


def task(t):
    result = [entry for (name, number), mask in truth(t).items() for entry in region(name, number, mask)]
    annotation = dict(id=t + 1, was_cancelled=False, result=result)
    return dict(id=t + 1, data=dict(image=f'/data/upload/1/0a1b2c3d-frame_{t:06d}.jpg'), annotations=[annotation])


def main():
    out = Path(sys.argv[1])
    (out / 'mots').mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for kind in ('datumaro', 'coco_instances', 'cvat', 'mots_png'):
            dataset(kind != 'mots_png').export(f'{folder}/{kind}', kind, save_media=kind == 'datumaro')
        shutil.copy(f'{folder}/datumaro/annotations/default.json', out / 'datumaro.json')
        shutil.copy(f'{folder}/coco_instances/annotations/instances_default.json', out / 'coco.json')
        shutil.copy(f'{folder}/cvat/default.xml', out / 'cvat_images.xml')
        for path in Path(folder, 'mots_png/default/instances').iterdir():
            shutil.copy(path, out / 'mots')
    (out / 'label_studio.json').write_text(json.dumps([task(t) for t in range(FRAMES)]))


if __name__ == '__main__':
    main()
