"""The synthetic videos in further layouts: as YouTube-VIS has its tracks, and as VSPW has its masks."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from mmdvis.datasets.annotation_json import write_json
from mmdvis.datasets.transforms.ground_truth import read_id_map

YOUTUBE_VIS_SPLITS = dict(train='train', val='valid')  # of VIPSeg -> of YouTube-VIS
ToyFrame = tuple[str, np.ndarray, dict[int, int]]


def frames_of(root: Path, video: dict) -> Iterator[ToyFrame]:
    """Stem, map of ids, and id -> category of each frame of a video in VIPSeg's layout."""
    for frame in video['annotations']:
        ids = read_id_map(str(root / 'panomasksRGB' / video['video_id'] / frame['file_name']))
        yield Path(frame['file_name']).stem, ids, {s['id']: s['category_id'] for s in frame['segments_info']}


def toy_tracks(frames: list[ToyFrame], things: set) -> list[dict[str, Any]]:
    """The tracks of a video: mask, box and area of each thing in every frame, None where it is not seen."""
    categories = {
        number: category for _, _, found in frames for number, category in found.items() if category in things
    }
    tracks = []
    for number, category in sorted(categories.items()):
        codes = [coco_mask.encode(np.asfortranarray(ids == number, np.uint8)) for _, ids, _ in frames]
        areas = [int(coco_mask.area(code)) for code in codes]
        tracks.append(
            dict(
                category_id=category + 1,
                iscrowd=0,
                areas=[area or None for area in areas],
                bboxes=[coco_mask.toBbox(code).tolist() if area else None for code, area in zip(codes, areas)],
                segmentations=[
                    dict(size=code['size'], counts=code['counts'].decode()) if area else None
                    for code, area in zip(codes, areas)
                ],
            )
        )
    return tracks


def write_youtube_vis(root: Path, split: str) -> Path:
    """``youtube_vis/{train,valid}.json`` beside a split in VIPSeg's layout, whose frames it names; things only, ids from 1."""
    content = json.loads((root / f'panoptic_gt_VIPSeg_{split}.json').read_text())
    things = {c['id'] for c in content['categories'] if c['isthing']}
    videos, annotations = [], []
    for number, (video, truth) in enumerate(zip(content['videos'], content['annotations']), 1):
        image, frames = video['images'][0], list(frames_of(root, truth))
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
    """``vspw/{train,val}.txt`` and ``vspw/data/<video>/{origin,mask}`` beside a split in VIPSeg's layout; frames are linked."""
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
    """The same file under a second name; a copy where the file system has no links."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


LAYOUTS = dict(youtube_vis=write_youtube_vis, vspw=write_vspw)
