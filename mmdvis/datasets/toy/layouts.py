"""Writes the synthetic videos in further layouts: tracks of YouTube-VIS and masks of VSPW."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from mmdvis.datasets.transforms.ground_truth import read_id_map
from mmdvis.io import write_json
from mmdvis.io.rle import track_fields

YOUTUBE_VIS_SPLITS = dict(train='train', val='valid')  # VIPSeg split -> YouTube-VIS split
ToyFrame = tuple[str, np.ndarray, dict[int, int]]


def frames_of(root: Path, video: dict) -> Iterator[ToyFrame]:
    """Yields stem, id map, and id -> category of each frame of a video in the layout of VIPSeg."""
    for frame in video['annotations']:
        ids = read_id_map(str(root / 'panomasksRGB' / video['video_id'] / frame['file_name']))
        yield Path(frame['file_name']).stem, ids, {s['id']: s['category_id'] for s in frame['segments_info']}


def toy_tracks(frames: list[ToyFrame], things: set) -> list[dict[str, Any]]:
    """Tracks of a video: mask, box and area of each thing in each frame; None where it is not visible."""
    categories = {
        number: category
        for _, _, frame_categories in frames
        for number, category in frame_categories.items()
        if category in things
    }
    tracks = []
    for number, category in sorted(categories.items()):
        codes = [coco_mask.encode(np.asfortranarray(ids == number, np.uint8)) for _, ids, _ in frames]
        tracks.append(dict(category_id=category + 1, iscrowd=0, **track_fields(codes)))
    return tracks


def write_youtube_vis(root: Path, split: str) -> Path:
    """Writes ``youtube_vis/{train,valid}.json`` next to a split in the layout of VIPSeg.

    The file refers to the frames of the split and contains only things; ids start at 1.
    """
    content = json.loads((root / f'panoptic_gt_VIPSeg_{split}.json').read_text())
    things = {c['id'] for c in content['categories'] if c['isthing']}
    videos, annotations = [], []
    for number, (video, annotation) in enumerate(zip(content['videos'], content['annotations']), 1):
        image, frames = video['images'][0], list(frames_of(root, annotation))
        size = dict(height=image['height'], width=image['width'], length=len(frames))
        videos.append(dict(id=number, file_names=[f'{video["video_id"]}/{stem}.jpg' for stem, _, _ in frames], **size))
        for track in toy_tracks(frames, things):
            annotations.append(dict(track, id=len(annotations) + 1, video_id=number, **size))
    categories = [
        dict(id=c['id'] + 1, name=c['name'], supercategory='toy') for c in content['categories'] if c['isthing']
    ]
    return write_json(
        root / 'youtube_vis' / f'{YOUTUBE_VIS_SPLITS[split]}.json',
        dict(info=dict(description='toy'), videos=videos, annotations=annotations, categories=categories),
    )


def write_vspw(root: Path, split: str) -> Path:
    """Writes ``vspw/{train,val}.txt`` and ``vspw/data/<video>/{origin,mask}`` next to a split in the layout of VIPSeg.

    The frames are hard links.
    """
    content, out = json.loads((root / f'panoptic_gt_VIPSeg_{split}.json').read_text()), root / 'vspw'
    for video in content['annotations']:
        folders = [out / 'data' / video['video_id'] / name for name in ('origin', 'mask')]
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        for stem, ids, categories in frames_of(root, video):
            values = np.zeros(ids.shape, np.uint8)
            for number, category in categories.items():
                values[ids == number] = category + 1
            Image.fromarray(values).save(folders[1] / f'{stem}.png')
            link(root / 'images' / video['video_id'] / f'{stem}.jpg', folders[0] / f'{stem}.jpg')
    write_json(out / 'categories.json', dict(categories=content['categories']))
    names = out / f'{split}.txt'
    names.write_text(''.join(f'{video["video_id"]}\n' for video in content['videos']))
    return names


def link(source: Path, target: Path) -> None:
    """Creates a hard link, or a copy if the file system does not support links."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


LAYOUTS = dict(youtube_vis=write_youtube_vis, vspw=write_vspw)
