"""Results as files that labelling tools import, for correction: CVAT for video, and COCO with identities."""

import itertools
import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mmdvis.errors import OptionError
from mmdvis.io import replace_together, work_folder
from mmdvis.results import FrameResult, SegmentedObject
from mmdvis.structures.frame_source import FrameSource

from .saved_results import SavedResults

FRAME_NAME = 'frame_{:06d}'  # the names that CVAT gives to the frames of a video
FINER = 4  # times that masks are enlarged to find their outlines
TOLERANCE = 1.0  # pixels by which a simplified polygon may differ from its outline


def export_labels(
    results: SavedResults,
    out: Path,
    tool: str,
    frames: FrameSource | None = None,
    as_polygons: bool = False,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> dict[str, int]:
    """Writes the results of a video for a labelling tool.

    Args:
        results: The results.
        out: Output folder: ``annotations.xml`` (CVAT) or ``annotations/instances_default.json`` (COCO).
        tool: Key of ``WRITERS``.
        frames: Frames of the video, which are written to ``images`` as JPEGs; None writes none.
        as_polygons: Write the outline of the largest part of each mask instead of the mask. CVAT can then show the
            object as one track; holes and other parts are lost.
        progress: Wraps the numbers of the frames.

    Returns:
        Numbers of ``frames``, ``objects`` and ``masks``, and of ``lost`` parts of masks.

    Raises:
        OptionError: The folder is not empty, or ``frames`` is another video.
    """
    if out.exists() and any(out.iterdir()):
        raise OptionError(f'{out} is not empty; name a new folder')
    if frames is not None and (len(frames) != len(results) or tuple(frames.size) != tuple(results.size)):
        raise OptionError(
            f'the video has {len(frames)} frames of {tuple(frames.size)} (height, width), but the results have '
            f'{len(results)} of {tuple(results.size)}; give the video that was segmented'
        )
    out.mkdir(parents=True, exist_ok=True)
    with work_folder(out) as folder:
        counts = WRITERS[tool](results, folder, as_polygons, progress(range(len(results))))
        if frames is not None:
            (folder / 'images').mkdir()
            for t in range(len(frames)):
                picture = frames.read(t, t + 1)[0].permute(1, 2, 0).numpy()
                path = folder / 'images' / f'{FRAME_NAME.format(t)}.jpg'
                cv2.imwrite(str(path), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
        replace_together(folder, out)
    return counts


def in_front_last(result: FrameResult) -> list[SegmentedObject]:
    """Objects of a frame by ascending score, so that the visible one of several comes last."""
    return sorted(result.objects, key=lambda segment: segment.score or 0.0)


def outline(segment: SegmentedObject) -> tuple[list[float], int]:
    """Polygon x, y, x, y, ... of the largest part of a mask, and the number of other parts and holes."""
    left, top, right, bottom = segment.box
    crop = segment.mask[top:bottom, left:right].astype(np.uint8)
    fine = np.kron(crop, np.ones((FINER, FINER), np.uint8))  # so that outlines run along the edges of the pixels
    contours, _ = cv2.findContours(fine, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    largest = max(contours, key=cv2.contourArea)
    points = cv2.approxPolyDP(largest, FINER * TOLERANCE, True)[:, 0].astype(np.float64)
    if len(points) < 3:
        x, y, width, height = cv2.boundingRect(largest)
        points = np.array([[x, y], [x + width - 1, y], [x + width - 1, y + height - 1], [x, y + height - 1]], float)
    return [float(value) for value in ((points + 0.5) / FINER + (left, top)).ravel()], len(contours) - 1


def write_cvat(results: SavedResults, folder: Path, as_polygons: bool, order: Iterable[int]) -> dict[str, int]:
    """Writes ``annotations.xml`` in the format "CVAT for video 1.1"."""
    shapes: dict[tuple[int, str], list[ElementTree.Element]] = {}
    lost = 0
    for t in order:
        for front, segment in enumerate(in_front_last(results[t])):
            fields = dict(frame=str(t), keyframe='1', outside='0', occluded='0', z_order=str(front))
            if as_polygons:
                points, others = outline(segment)
                pairs = zip(points[::2], points[1::2])
                lost += others
                text = ';'.join(f'{x:.2f},{y:.2f}' for x, y in pairs)
                shape = ElementTree.Element('polygon', dict(fields, points=text))
            else:
                shape = ElementTree.Element('mask', dict(fields, **cvat_mask(segment)))
            shapes.setdefault((segment.id, segment.name), []).append(shape)
    root = ElementTree.Element('annotations')
    ElementTree.SubElement(root, 'version').text = '1.1'
    root.append(cvat_meta(results))
    numbers = itertools.count()
    for (identity, name), found in shapes.items():
        for part in [found] if as_polygons else [[shape] for shape in found]:  # CVAT has no tracks of masks
            options = dict(id=str(next(numbers)), label=name, source='auto', group_id=str(identity))
            track = ElementTree.SubElement(root, 'track', options)
            track.extend(with_ends(part, len(results)))
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(folder / 'annotations.xml', encoding='utf-8', xml_declaration=True)
    masks = sum(len(found) for found in shapes.values())
    return dict(frames=len(results), objects=len(shapes), masks=masks, lost=lost)


def cvat_meta(results: SavedResults) -> ElementTree.Element:
    """The description of the task: frames, size and labels."""
    meta = ElementTree.Element('meta')
    task = ElementTree.SubElement(meta, 'task')
    last = str(len(results) - 1)
    fields = dict(
        name=results.folder.name, size=str(len(results)), mode='interpolation', start_frame='0', stop_frame=last
    )
    for key, value in fields.items():
        ElementTree.SubElement(task, key).text = value
    labels = ElementTree.SubElement(task, 'labels')
    for name in results.classes.names:
        label = ElementTree.SubElement(labels, 'label')
        ElementTree.SubElement(label, 'name').text = name
        ElementTree.SubElement(label, 'attributes')
    size = ElementTree.SubElement(task, 'original_size')
    for key, number in zip(('height', 'width'), results.size):
        ElementTree.SubElement(size, key).text = str(number)
    return meta


def with_ends(shapes: list[ElementTree.Element], num_frames: int) -> Iterator[ElementTree.Element]:
    """The shapes of a track, with a copy that is ``outside`` in each first frame without one."""
    visible = {int(shape.attrib['frame']) for shape in shapes}
    for shape in shapes:
        yield shape
        after = int(shape.attrib['frame']) + 1
        if after not in visible and after < num_frames:
            yield ElementTree.Element(shape.tag, dict(shape.attrib, frame=str(after), outside='1'))


def cvat_mask(segment: SegmentedObject) -> dict[str, str]:
    """Position, size and runs of a mask, row by row, beginning with background."""
    left, top, right, bottom = segment.box
    flat = np.concatenate([[False], segment.mask[top:bottom, left:right].ravel()])
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    runs = np.diff(np.concatenate([[0], changes, [len(flat) - 1]]))
    place = dict(left=left, top=top, width=right - left, height=bottom - top)
    return dict(rle=', '.join(map(str, runs.tolist())), **{key: str(value) for key, value in place.items()})


def write_coco(results: SavedResults, folder: Path, as_polygons: bool, order: Iterable[int]) -> dict[str, int]:
    """Writes ``annotations/instances_default.json`` in the format "COCO 1.0" of CVAT, with ``track_id``."""
    height, width = results.size
    images, annotations, identities, lost = [], list[dict[str, Any]](), set(), 0
    for t in order:
        images.append(dict(id=t + 1, file_name=f'{FRAME_NAME.format(t)}.jpg', height=height, width=width))
        for segment in in_front_last(results[t]):
            left, top, right, bottom = segment.box
            mask: Any = uncompressed(segment.mask)
            if as_polygons:
                points, others = outline(segment)
                mask, lost = [points], lost + others
            identities.add((segment.id, segment.name))
            attributes = dict(track_id=segment.id, score=segment.score, keyframe=True, outside=False, occluded=False)
            annotation = dict(
                id=len(annotations) + 1,
                image_id=t + 1,
                category_id=results.classes.category_ids[segment.label] + 1,
                segmentation=mask,
                area=segment.area,
                bbox=[left, top, right - left, bottom - top],
                iscrowd=int(not as_polygons),  # what tells CVAT that these are run lengths
                attributes=attributes,
            )
            annotations.append(annotation)
    categories = [
        dict(id=number + 1, name=name, supercategory='')  # CVAT needs ids from 1
        for number, name in zip(results.classes.category_ids, results.classes.names)
    ]
    content = dict(info={}, licenses=[], images=images, annotations=annotations, categories=categories)
    (folder / 'annotations').mkdir()
    (folder / 'annotations' / 'instances_default.json').write_text(json.dumps(content))
    return dict(frames=len(images), objects=len(identities), masks=len(annotations), lost=lost)


def uncompressed(mask: np.ndarray) -> dict[str, Any]:
    """Run lengths of a mask (H, W) column by column, beginning with background."""
    flat = np.concatenate([[False], np.asfortranarray(mask).ravel('F')])
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    runs = np.diff(np.concatenate([[0], changes, [len(flat) - 1]]))
    return dict(size=list(mask.shape), counts=runs.tolist())


Writer = Callable[[SavedResults, Path, bool, Iterable[int]], dict[str, int]]
WRITERS: dict[str, Writer] = dict(cvat=write_cvat, coco=write_coco)
