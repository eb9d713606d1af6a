"""Writers of labelled videos in the layouts of VIPSeg, YouTube-VIS and VSPW."""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from mmdvis.checks import unsafe_part
from mmdvis.datasets.annotation_json import parse_json, read_bytes
from mmdvis.datasets.classes import ClassList, build_class_list, categories_of
from mmdvis.datasets.converters.frames import save_image
from mmdvis.datasets.converters.json_files import validation_positions
from mmdvis.errors import DataError
from mmdvis.io import id_to_rgb, natural_key, read_image, write_json
from mmdvis.io.rle import track_fields

from .videos import LabelledVideo

JPEG_QUALITY = 95


def split_videos(videos: Sequence[LabelledVideo], val_share: float) -> dict[str, list[LabelledVideo]]:
    """Videos by split; the split of a video depends only on its name.

    Args:
        videos: All videos.
        val_share: Expected share of the validation videos in [0, 1).
    """
    chosen = set(validation_positions([video.name for video in videos], val_share))
    splits: dict[str, list[LabelledVideo]] = dict(train=[], val=[])
    for k, video in enumerate(videos):
        splits['val' if k in chosen else 'train'].append(video)
    return {name: part for name, part in splits.items() if part}


def classes_of_labels(videos: Sequence[LabelledVideo], stuff: Sequence[str] = ()) -> ClassList:
    """The classes of the objects: things first, each group in alphabetical order.

    Args:
        videos: All videos.
        stuff: Names of the classes that are regions; the others are things.

    Raises:
        DataError: There is no object, or ``stuff`` names a class that no object has.
    """
    names = {item.label for video in videos for item in video.objects}
    unknown = sorted(set(stuff) - names)
    if not names:
        raise DataError('there is no labelled object; check the folder and the format')
    if unknown:
        raise DataError(f'no object has the class {unknown[0]}; classes: {", ".join(sorted(names))}')
    broken = next((name for name in sorted(names) if not encodable(name)), None)
    if broken is not None:
        raise DataError(f'{broken!r} cannot be the name of a class, as it cannot be written; rename it')
    ordered = [*sorted(names - set(stuff)), *sorted(set(stuff))]
    return build_class_list([(k, name, name not in stuff, None) for k, name in enumerate(ordered)])


def classes_of_file(path: Path, videos: Sequence[LabelledVideo]) -> ClassList:
    """The classes of ``categories`` in a json, such as ``result.json`` of `mmdvis run`, renumbered from 0.

    Raises:
        DataError: The file is malformed, or an object has a class that it lacks.
    """
    found = categories_of(parse_json(read_bytes(path), path))
    labels = {item.label: (video.name, item.label) for video in videos for item in video.objects}
    unknown = sorted(set(labels) - set(found.names))
    if unknown:
        raise DataError(f'video {labels[unknown[0]][0]} has an object of the class {unknown[0]}, which {path} lacks')
    return build_class_list([(k, name, k < found.num_things, None) for k, name in enumerate(found.names)])


def frame_names(video: LabelledVideo) -> list[str]:
    """Names of the frames without suffix: those of the images, or numbers if these are not in order or not unique."""
    stems = [image.stem for image in video.images]
    keys = [natural_key(stem) for stem in stems]
    return stems if keys == sorted(keys) and len(set(stems)) == len(stems) else [f'{t:06d}' for t in range(len(stems))]


def hidden_objects(video: LabelledVideo) -> int:
    """Number of objects that other objects hide in all frames."""
    visible: set[int] = set()
    for t in range(len(video.images)):
        visible |= set(np.unique(merged(video, t, range(1, len(video.objects) + 1))).tolist())
    return len(video.objects) - len(visible - {0})


def copy_image(source: Path, target: Path) -> None:
    """Copies an image as a JPEG; those of other formats are encoded. Raises DataError if it cannot be read."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.suffix.lower() in ('.jpg', '.jpeg'):
        read_image(source)  # raises if it is damaged
        shutil.copyfile(source, target)
    else:
        save_image(Image.fromarray(read_image(source)), target, quality=JPEG_QUALITY)


def merged(video: LabelledVideo, frame: int, values: Sequence[int]) -> np.ndarray:
    """A map (H, W) int32 of a frame with the value of the object in front; 0 where there is none."""
    ids = np.zeros(video.size, np.int32)
    for item, value in zip(video.objects, values):
        if frame in item.masks:
            ids[coco_mask.decode(item.masks[frame]).astype(bool)] = value
    return ids


def write_youtube_vis(videos: Sequence[LabelledVideo], out: Path, split: str, classes: ClassList) -> Path:
    """Writes ``{train,valid}.json`` with run-length masks and ``<split>/JPEGImages`` in the layout of YouTube-VIS."""
    folder = dict(val='valid').get(split, split)  # the names of YouTube-VIS
    entries, tracks = [], []
    for number, video in enumerate(videos, 1):
        files = [f'{video.name}/{name}.jpg' for name in frame_names(video)]
        for image, file in zip(video.images, files):
            copy_image(image, out / folder / 'JPEGImages' / file)
        size = dict(height=video.size[0], width=video.size[1], length=len(files))
        entries.append(dict(id=number, file_names=files, **size))
        for item in video.objects:
            codes = [item.masks.get(t) for t in range(len(files))]
            known = dict(video_id=number, category_id=classes.names.index(item.label) + 1, iscrowd=0, **size)
            tracks.append(dict(known, id=len(tracks) + 1, **track_fields(codes)))
    categories = [dict(id=k + 1, name=name) for k, name in enumerate(classes.names)]
    return write_json(out / f'{folder}.json', dict(videos=entries, annotations=tracks, categories=categories))


def panoptic_categories(classes: ClassList) -> list[dict[str, Any]]:
    """The entries ``categories`` of the layouts with stuff, which are numbered from 0 and have no colours."""
    return [dict(id=k, name=name, isthing=int(k < classes.num_things)) for k, name in enumerate(classes.names)]


def write_vipseg(videos: Sequence[LabelledVideo], out: Path, split: str, classes: ClassList) -> Path:
    """Writes ``panoptic_gt_VIPSeg_<split>.json``, ``images`` and ``panomasksRGB`` in the layout of VIPSeg."""
    entries, annotations = [], []
    for video in videos:
        images, frames = [], []
        labels = [classes.names.index(item.label) for item in video.objects]
        numbers = [
            k + 1 if label < classes.num_things else 1 + labels.index(label) for k, label in enumerate(labels)
        ]  # stuff: one
        for t, (image, stem) in enumerate(zip(video.images, frame_names(video))):
            copy_image(image, out / 'images' / video.name / f'{stem}.jpg')
            ids = merged(video, t, numbers)
            save_image(Image.fromarray(id_to_rgb(ids)), out / 'panomasksRGB' / video.name / f'{stem}.png')
            areas = np.bincount(ids.ravel(), minlength=len(video.objects) + 1)
            segments = [
                dict(id=k, category_id=label, iscrowd=0, area=int(areas[k]))
                for k, label in enumerate(labels, 1)
                if areas[k]
            ]
            size = dict(height=video.size[0], width=video.size[1])
            images.append(dict(id=stem, file_name=f'{stem}.jpg', **size))
            frames.append(dict(image_id=stem, file_name=f'{stem}.png', segments_info=segments))
        entries.append(dict(video_id=video.name, images=images))
        annotations.append(dict(video_id=video.name, annotations=frames))
    content = dict(videos=entries, annotations=annotations, categories=panoptic_categories(classes))
    return write_json(out / f'panoptic_gt_VIPSeg_{split}.json', content)


def write_vspw(videos: Sequence[LabelledVideo], out: Path, split: str, classes: ClassList) -> Path:
    """Writes ``<split>.txt`` and ``data/<video>/{origin,mask}`` in the layout of VSPW.

    The value of a pixel is the index of its class plus one, or 0 without a label.
    """
    for video in videos:
        folder = out / 'data' / video.name
        values = [classes.names.index(item.label) + 1 for item in video.objects]
        for t, (image, stem) in enumerate(zip(video.images, frame_names(video))):
            copy_image(image, folder / 'origin' / f'{stem}.jpg')
            save_image(Image.fromarray(merged(video, t, values).astype(np.uint8)), folder / 'mask' / f'{stem}.png')
    write_json(out / 'categories.json', dict(categories=panoptic_categories(classes)))
    path = out / f'{split}.txt'
    path.write_text(''.join(f'{video.name}\n' for video in videos))
    return path


def encodable(text: str) -> bool:
    """Whether a text can be written to files."""
    try:
        return bool(text.encode())
    except UnicodeEncodeError:
        return False


Writer = Callable[[Sequence[LabelledVideo], Path, str, ClassList], Path]

WRITERS: dict[str, Writer] = dict(vipseg=write_vipseg, ytvis=write_youtube_vis, vspw=write_vspw)


def write_videos(
    videos: Sequence[LabelledVideo], out: Path, layout: str, classes: ClassList, val_share: float = 0.2
) -> Iterator[tuple[str, Path, int]]:
    """Writes labelled videos as a dataset.

    Args:
        videos: The videos.
        out: Output folder.
        layout: Key of ``WRITERS``.
        classes: The classes.
        val_share: Expected share of the validation videos in [0, 1).

    Yields:
        Split, path of its annotations, and number of its videos.

    Raises:
        DataError: Two videos have the same name, or there are too many classes for the layout.
    """
    repeated = next((name for name, number in Counter(v.name for v in videos).items() if number > 1), None)
    if repeated is not None:
        raise DataError(f'two videos are called {repeated}; rename one')
    for video in videos:
        reason = unsafe_part(video.name) or (
            'it begins or ends with a blank' if video.name != video.name.strip() else None
        )
        if reason is not None or '/' in video.name or not encodable(video.name):
            raise DataError(f'{video.name!r} cannot be the name of a video ({reason or "a letter"}); rename its folder')
    if layout == 'vspw' and len(classes.names) > 254:
        raise DataError(f'the layout vspw has room for 254 classes, got {len(classes.names)}; use vipseg')
    for split, part in split_videos(videos, val_share).items():
        yield split, WRITERS[layout](part, out, split, classes), len(part)
