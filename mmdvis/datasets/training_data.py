"""What a config for training on a folder must know: annotation files, classes, splits and sizes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmdvis.errors import DataError
from mmdvis.registry import DATASETS

from .base import ClipDataset, NoVideoError
from .classes import ClassList
from .converters.json_files import hash_of, validation_positions
from .detect_layout import find_datasets

TASKS = {'panoptic': 'VPS', 'tracks': 'VIS', 'semantic': 'VSS'}  # ground truth of a dataset -> task
TYPES = ('VIPSegDataset', 'YouTubeVISDataset', 'OVISDataset', 'VSPWDataset')
MAX_VAL_VIDEOS = 20


@dataclass(frozen=True)
class TrainingData:
    """A dataset of a folder with the videos for training and validation.

    Attributes:
        task: ``'VPS'``, ``'VIS'`` or ``'VSS'``.
        classes: Its classes, things first.
        train: Config of the training dataset, without clips and augmentation.
        val: Config of the validation dataset. Its ground truth is never hidden.
        val_videos: Positions of the validation videos if they are taken from the training file; empty if there is a
            validation file, or if the only video is used for both.
        num_videos: Number of training videos.
        num_frames: Number of their frames.
        val_length: Number of frames of the longest validation video.
        sizes: (height, width) in pixels of the training videos, each once.
    """

    task: str
    classes: ClassList
    train: dict[str, Any]
    val: dict[str, Any]
    val_videos: tuple[int, ...]
    num_videos: int
    num_frames: int
    val_length: int
    sizes: tuple[tuple[int, int], ...]

    @property
    def short_edge(self) -> int:
        """Largest short edge of the training videos in pixels."""
        return max(map(min, self.sizes))

    @property
    def has_val(self) -> bool:
        """Whether the validation videos are not training videos."""
        return bool(self.val_videos) or self.train['ann_file'] != self.val['ann_file']


def in_order(configs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Configs of splits, those for validation before those for test.

    Parts of a training file that ``split_train_dev.py`` wrote, ``*_sub`` and ``*_dev``, come instead of the whole.
    """
    stems = {Path(config['ann_file']).stem for config in configs}
    whole = {stem[: -len('_dev')] for stem in stems if stem.endswith('_dev') and f'{stem[:-4]}_sub' in stems}
    kept = [config for config in configs if Path(config['ann_file']).stem not in whole]
    kept = [
        dict(config, test_mode=config['test_mode'] or Path(config['ann_file']).stem[:-4] in whole)
        if Path(config['ann_file']).stem.endswith('_dev')
        else config
        for config in kept
    ]
    return sorted(kept, key=lambda config: 'test' in Path(config['ann_file']).stem)


def own_classes(config: dict[str, Any]) -> dict[str, Any]:
    """Config of a dataset that accepts the classes of the file instead of those of a benchmark."""
    if config['type'] == 'VSPWDataset':
        return config
    return dict(config, class_list=None)


def read_training_data(folder: Path, val_share: float = 0.2) -> TrainingData:
    """Reads the annotation files of a folder in the layout of VIPSeg, YouTube-VIS, OVIS or VSPW.

    Without a labelled validation file, the hash of the name of a training video decides whether it is for validation.

    Args:
        folder: Folder of the dataset.
        val_share: Expected share of the validation videos in that case, in [0, 1).

    Raises:
        DataError: There is no dataset in one of these layouts, no training file, or a file is damaged.
    """
    folder = folder.resolve()
    configs = in_order([own_classes(config) for config in find_datasets(folder) if config['type'] in TYPES])
    train = next((config for config in configs if not config['test_mode']), None)
    if train is None:
        raise DataError(
            f'{folder} has no training videos in the layout of VIPSeg, YouTube-VIS, OVIS or VSPW; convert them with '
            '`mmdvis data convert labels`, or see data/README.md for the layouts'
        )
    dataset: ClipDataset = DATASETS.build(dict(train))
    dataset.full_init()
    number = len(dataset)
    val, val_set = next(labelled_splits(configs, dataset), (train, dataset))
    frames = [len(dataset.get_data_info(k)['frames']) for k in range(number)]
    held_out = () if val_set is not dataset else held_out_videos(dataset, val_share)
    scored = held_out or range(len(val_set))
    used = [k for k in range(number) if k not in set(held_out)]
    return TrainingData(
        TASKS[dataset.TRUTH],
        dataset.classes,
        {key: value for key, value in train.items() if key != 'test_mode'},
        {key: value for key, value in val.items() if key != 'test_mode'},
        held_out,
        len(used),
        sum(frames[k] for k in used),
        max(len(val_set.get_data_info(k)['frames']) for k in scored),
        tuple(sorted({(int(height), int(width)) for height, width in dataset.video_sizes()[used]})),
    )


def labelled_splits(configs: Sequence[dict[str, Any]], train: ClipDataset) -> Iterator[tuple[dict, ClipDataset]]:
    """Configs and datasets of the splits other than that for training that can be scored.

    Raises:
        DataError: The classes of one differ from those of the training videos.
    """
    for config in configs:
        if not config['test_mode']:
            continue
        dataset: ClipDataset = DATASETS.build(dict(config))
        try:
            dataset.full_init()
        except NoVideoError:
            continue
        infos = (dataset.get_data_info(k) for k in range(len(dataset)))
        is_labelled = any(any(frame.get('mask') for frame in info['frames']) or info.get('tracks') for info in infos)
        if dataset.index.meta.get('labelled') is False or not is_labelled:
            continue
        if dataset.classes != train.classes:
            raise DataError(
                f'{dataset.origin} and {train.origin} have different classes; all splits of a dataset must have the '
                'same'
            )
        yield config, dataset


def held_out_videos(dataset: ClipDataset, share: float) -> tuple[int, ...]:
    """Positions of the videos for validation: at most ``MAX_VAL_VIDEOS``; none of a single video."""
    names = [str(dataset.get_data_info(k)['video_id']) for k in range(len(dataset))]
    chosen = validation_positions(names, share)
    return tuple(sorted(sorted(chosen, key=lambda k: hash_of(names[k]))[:MAX_VAL_VIDEOS]))
