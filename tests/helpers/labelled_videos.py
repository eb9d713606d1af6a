"""Small labelled videos, written as labelling tools write them."""

import base64
import io
import json
import shutil

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from helpers.commands import ROOT
from mmdvis.datasets.converters.labels import READERS

WRITTEN = ROOT / 'tests' / 'data' / 'labels'  # files that the packages of the tools wrote

SIZE, FRAMES = (40, 60), 3


def truth(frame):
    """Masks of two cats and a region: name and number -> (H, W)."""
    masks = {key: np.zeros(SIZE, bool) for key in (('cat', 1), ('cat', 2), ('grass', 3))}
    masks['cat', 1][5:15, 4 + 3 * frame : 14 + 3 * frame] = True
    if frame != 1:  # hidden in the second frame
        masks['cat', 2][8:20, 40:50] = True
    masks['grass', 3][30:] = True
    return masks


def picture(frame):
    return Image.fromarray(np.random.default_rng(frame).integers(0, 256, (*SIZE, 3), np.uint8))


def write_labelme(root, name='v1'):
    folder = root / name
    folder.mkdir(parents=True)
    for t in range(FRAMES):
        picture(t).save(folder / f'frame{t}.png')
        shapes = []
        for (label, number), mask in truth(t).items():
            if not mask.any():
                continue
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            top, bottom, left, right = rows[0], rows[-1], columns[0], columns[-1]
            shape = dict(label=label, group_id=None if label == 'grass' else number)
            if number == 1:
                points = [[left, top], [right + 1, top], [right + 1, bottom + 1], [left, bottom + 1]]
                shape.update(shape_type='polygon', points=np.array(points, float).tolist())
            elif number == 2:
                shape.update(shape_type='rectangle', points=[[float(left), float(top)], [right + 1.0, bottom + 1.0]])
            else:
                buffer = io.BytesIO()
                Image.fromarray(mask[top : bottom + 1, left : right + 1]).save(buffer, 'PNG')
                encoded = base64.b64encode(buffer.getvalue()).decode()
                shape.update(
                    shape_type='mask', points=[[float(left), float(top)], [float(right), float(bottom)]], mask=encoded
                )
            shapes.append(shape)
        content = dict(version='5.4.1', flags={}, shapes=shapes, imagePath=f'frame{t}.png', imageData=None)
        content.update(imageHeight=SIZE[0], imageWidth=SIZE[1])
        (folder / f'frame{t}.json').write_text(json.dumps(content))
    return folder


def write_cvat(root, name='v1'):
    folder = root / name
    (folder / 'images').mkdir(parents=True)
    tracks = {key: [] for key in truth(0)}
    for t in range(FRAMES):
        picture(t).save(folder / 'images' / f'frame_{t:06d}.PNG')
        for key, mask in truth(t).items():
            flags = f'frame="{t}" keyframe="1" occluded="0" z_order="0"'
            if not mask.any():
                tracks[key].append(f'<polygon {flags} outside="1" points="1,1;5,1;5,5"/>')
                continue
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            top, bottom, left, right = rows[0], rows[-1], columns[0], columns[-1]
            if key[1] == 1:
                points = f'{left},{top};{right + 1},{top};{right + 1},{bottom + 1};{left},{bottom + 1}'
                tracks[key].append(f'<polygon {flags} outside="0" points="{points}"/>')
            elif key[1] == 2:
                tracks[key].append(
                    f'<box {flags} outside="0" xtl="{left}" ytl="{top}" xbr="{right + 1}" ybr="{bottom + 1}"/>'
                )
            else:  # a crop one pixel larger, row by row, beginning with background
                crop = np.pad(mask[top : bottom + 1, left : right + 1], ((1, 0), (0, 0))).ravel()
                changes = np.flatnonzero(np.diff(crop)) + 1
                runs = np.diff([0, *changes, len(crop)])
                place = f'left="{left}" top="{top - 1}" width="{right - left + 1}" height="{bottom - top + 2}"'
                tracks[key].append(f'<mask {flags} outside="0" rle="{", ".join(map(str, runs))}" {place}/>')
    body, count = '', 0
    for (label, number), shapes in tracks.items():
        for part in [[shape] for shape in shapes] if number == 3 else [shapes]:  # CVAT has no tracks of masks
            body += f'<track id="{count}" label="{label}" source="manual">{"".join(part)}</track>'
            count += 1
    (folder / 'annotations.xml').write_text(
        f'<?xml version="1.0"?><annotations><version>1.1</version>{body}</annotations>'
    )
    return folder


def write_mots(root, name='v1'):
    folder, lines = root / name, []
    folder.mkdir(parents=True)
    for t in range(FRAMES):
        picture(t).save(folder / f'{t + 1:06d}.jpg')
        for (label, number), mask in truth(t).items():
            if mask.any():
                code = coco_mask.encode(np.asfortranarray(mask, np.uint8))['counts'].decode()
                category = dict(cat=2, grass=7)[label]
                lines.append(f'{t + 1} {category * 1000 + number} {category} {SIZE[0]} {SIZE[1]} {code}')
    lines.append(f'1 10000 10 {SIZE[0]} {SIZE[1]} {code}')  # a region without labels
    (folder / 'gt.txt').write_text('\n'.join(lines))
    return folder


def write_masks(root, name='v1'):
    for t in range(FRAMES):
        image, mask = root / 'JPEGImages' / '480p' / name, root / 'Annotations' / '480p' / name
        for folder in (image, mask):
            folder.mkdir(parents=True, exist_ok=True)
        picture(t).save(image / f'{t:05d}.jpg')
        values = np.zeros(SIZE, np.uint8)
        for (_, number), found in truth(t).items():
            values[found] = number
        values[0, 0] = 255
        palette = Image.fromarray(values, 'P')
        palette.putpalette([k for k in range(256) for _ in range(3)])
        palette.save(mask / f'{t:05d}.png')
    return root


def write_frames(folder):
    folder.mkdir(parents=True)
    for t in range(FRAMES):
        picture(t).save(folder / f'frame_{t:06d}.jpg')
    return folder.parent


def write_of_package(file, target='annotations/default.json', images='images'):
    """A writer that copies what the package of a tool wrote, with images beside it."""

    def write(root, name='v1'):
        folder = root / name
        write_frames(folder / images)
        (folder / target).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (WRITTEN / file).is_dir() else shutil.copy
        copy(WRITTEN / file, folder / target)
        return folder

    return write


def write_coco_video(root, name='v1'):
    folder = root / name
    write_frames(folder / 'images' / name)
    files = [f'{name}/frame_{t:06d}.jpg' for t in range(FRAMES)]
    video = dict(id=4, file_names=files, height=SIZE[0], width=SIZE[1], length=FRAMES)
    tracks = []
    for number, (label, _) in enumerate(truth(0), 1):
        key = list(truth(0))[number - 1]
        codes = [coco_mask.encode(np.asfortranarray(truth(t)[key], np.uint8)) for t in range(FRAMES)]
        codes = [dict(code, counts=code['counts'].decode()) if coco_mask.area(code) else None for code in codes]
        category = dict(cat=1, grass=2)[label]
        tracks.append(dict(id=number, video_id=4, category_id=category, segmentations=codes, iscrowd=0))
    categories = [dict(id=1, name='cat'), dict(id=2, name='grass')]
    (folder / 'train.json').write_text(json.dumps(dict(videos=[video], annotations=tracks, categories=categories)))
    return folder


def write_object_folders(root, name='v1'):
    for t in range(FRAMES):
        (root / 'images' / name).mkdir(parents=True, exist_ok=True)
        picture(t).save(root / 'images' / name / f'{t:05d}.jpg')
        for (label, number), mask in truth(t).items():
            folder = root / 'masks' / name / f'{label}_{number}'
            folder.mkdir(parents=True, exist_ok=True)
            if mask.any():
                Image.fromarray(mask.astype(np.uint8) * 255).save(folder / f'{t:05d}.png')
    return root


SOURCES = {  # kind -> format, and what writes it
    'labelme': ('labelme', write_labelme),
    'cvat': ('cvat', write_cvat),
    'cvat_images': ('cvat', write_of_package('cvat_images.xml', 'annotations.xml')),
    'label_studio': ('label-studio', write_of_package('label_studio.json', 'export.json', 'v1')),
    'coco': ('coco', write_of_package('coco.json')),
    'coco_video': ('coco-video', write_coco_video),
    'datumaro': ('datumaro', write_of_package('datumaro.json')),
    'mots': ('mots', write_mots),
    'mots_images': ('mots', write_of_package('mots', 'instances')),
    'masks': ('masks', write_masks),
    'object_folders': ('masks', write_object_folders),
}
NAMES = dict(mots=dict(cat='pedestrian', grass='class 7'), masks=dict(cat='object', grass='object'))
ONE_VIDEO = ('coco', 'coco_video', 'datumaro', 'label_studio')  # their folder is given, not the one above it


def write_source(kind, folder):
    """Writes a video; returns the folder to read."""
    return SOURCES[kind][1](folder) if kind in ONE_VIDEO else (SOURCES[kind][1](folder), folder)[1]


def read_source(kind, folder):
    """Writes a video and reads it."""
    return READERS[SOURCES[kind][0]](write_source(kind, folder))
