"""VIPSeg (CVPR 2022) in its prepared layout, and every dataset that lies on disk in the same way."""
import json
from pathlib import Path
from typing import Dict, List

from mmdvis.registry import DATASETS

from .clip_dataset import ClipDataset


def contiguous_labels(categories: List[dict]) -> Dict[int, int]:
    """Category id -> label: things by ascending id, then stuff by ascending id."""
    order = sorted(categories, key=lambda c: (c['isthing'] != 1, c['id']))
    return {category['id']: label for label, category in enumerate(order)}


@DATASETS.register_module()
class VIPSegDataset(ClipDataset):
    """Reads ``panoptic_gt_VIPSeg_*.json``, ``images/<video>/<frame>.jpg`` and ``panomasksRGB/<video>/<frame>.png``.

    The meta information says ``classes``, ``num_things``, ``category_ids`` (of each label) and ``palette``.

    Raises:
        ValueError: the json lacks a part, or gives a video different numbers of images and annotations.
    """

    METAINFO = dict(dataset_type='VIPSeg', task='vps')

    def load_data_list(self) -> List[dict]:
        """One record a video."""
        content = read_json(self.ann_file, ('videos', 'categories'))
        labels = contiguous_labels(content['categories'])
        by_label = sorted(content['categories'], key=lambda c: labels[c['id']])
        self._metainfo.update(
            classes=tuple(c['name'] for c in by_label), num_things=sum(c['isthing'] == 1 for c in by_label),
            category_ids=tuple(c['id'] for c in by_label), palette=tuple(tuple(c['color']) for c in by_label))
        truth = {video['video_id']: video['annotations'] for video in content.get('annotations', [])}
        return [self.record(video, truth.get(video['video_id'], []), labels) for video in content['videos']]

    def record(self, video: dict, annotations: List[dict], labels: Dict[int, int]) -> dict:
        """The record of one entry of ``videos`` and its annotations, which a test split lacks."""
        name, images = video['video_id'], video['images']
        if (annotations or not self.test_mode) and len(annotations) != len(images):
            raise ValueError(f'{self.ann_file}: video {name} has {len(images)} images and {len(annotations)} annotations; '
                             'one annotation an image is needed')
        segments = [{s['id']: labels[s['category_id']] for s in reversed(frame['segments_info']) if not s.get('iscrowd')}
                    for frame in annotations] or [{} for _ in images]
        frames = []
        for image, found in zip(images, segments):
            stem = Path(image['file_name']).stem
            frames.append(dict(
                name=image['file_name'], image=f"{self.data_prefix['img']}/{name}/{stem}.jpg",
                mask=f"{self.data_prefix.get('seg', '')}/{name}/{stem}.png", segments=found))
        return dict(video_id=name, frames=frames)


def read_json(path: str, parts: tuple) -> dict:
    """A json file that must have ``parts``; says which file lacks what."""
    try:
        content = json.loads(Path(path).read_text())
    except FileNotFoundError:
        raise ValueError(f'there is no annotation file {path}; data/README.md says where it comes from') from None
    except json.JSONDecodeError as error:
        raise ValueError(f'{path} is no valid json ({error}); fetch it again') from None
    missing = [part for part in parts if part not in content]
    if missing:
        raise ValueError(f'{path} lacks {", ".join(missing)}; it has {", ".join(sorted(content))}')
    return content
