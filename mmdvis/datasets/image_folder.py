"""Dataset of unlabelled videos: folders of images, or video files."""

import os
from collections.abc import Iterator
from pathlib import Path

from mmdvis.errors import DataError
from mmdvis.io import IMAGE_SUFFIXES
from mmdvis.registry import DATASETS

from .annotation_index import AnnotationIndex
from .annotation_json import list_folder
from .base import ClipDataset, check_order, check_unique
from .classes import class_rows, known_classes

VIDEO_SUFFIXES = ('.mp4', '.mov', '.mkv', '.avi', '.webm', '.m4v')


@DATASETS.register_module()
class ImageFolderVideoDataset(ClipDataset):
    """Dataset of unlabelled videos, for testing only.

    Every folder of images and every video file in ``data_root`` is a video. If ``data_root`` contains images, it is a
    single video.

    Args:
        categories: Name of a known class list. With None the dataset has no classes, and results have those of the
            model.
        fps: Frames per second of folders of images.
        test_mode: Must be True.
        **kwargs: Arguments of :class:`ClipDataset`.

    Raises:
        DataError: If there are no videos, or ``test_mode`` is False.
    """

    METAINFO = dict(dataset_type='ImageFolder')

    def __init__(
        self, categories: str | None = None, fps: float = 6.0, test_mode: bool = True, **kwargs: object
    ) -> None:
        if not test_mode:
            raise DataError('ImageFolderVideoDataset has no labels and cannot be used for training; set test_mode=True')
        self.categories, self.fps = categories, fps
        super().__init__(test_mode=True, **kwargs)

    def read_index(self) -> AnnotationIndex:
        """Builds an index with one record per video."""
        rows, root = class_rows(known_classes(self.categories)) if self.categories else [], Path(self.data_root)
        names = list_folder(root)
        records = list(self.records(root, names))
        if not records:
            raise DataError(
                f'{root} contains no videos; it must contain image folders or video files ({", ".join(VIDEO_SUFFIXES)})'
            )
        return AnnotationIndex.build(dict(classes=rows), records)

    def records(self, root: Path, names: list[str]) -> Iterator[dict]:
        """Yields the record of each video.

        Args:
            root: Folder with the videos, or with the frames of a single video.
            names: Names of the files and folders in ``root``.

        Raises:
            DataError: If the folder contains both images and videos, or two videos have the same name.
        """
        videos = [name for name in names if Path(name).suffix.lower() in VIDEO_SUFFIXES or os.path.isdir(root / name)]
        images = [name for name in names if Path(name).suffix.lower() in IMAGE_SUFFIXES]
        if images and videos:
            raise DataError(
                f'{root} contains both images ({images[0]}, ...) and videos ({videos[0]}, ...); a folder must contain '
                'either the frames of one video, or folders of images and video files'
            )
        if images:
            yield self.record(root.resolve().name, root)
            return
        for _, name in zip(
            check_unique(
                (Path(name).stem if Path(name).suffix.lower() in VIDEO_SUFFIXES else name for name in videos),
                'video',
                root,
            ),
            videos,
        ):
            if Path(name).suffix.lower() in VIDEO_SUFFIXES:
                yield dict(
                    video_id=Path(name).stem, size=None, frames=[dict(name=name, image=name)], path=str(root / name)
                )
            else:
                yield self.record(name, root / name)

    @staticmethod
    def record(name: str, folder: Path) -> dict:
        """Record of a folder of images.

        Args:
            name: Name of the video.
            folder: Folder with the frames.
        """
        images = list_folder(folder, IMAGE_SUFFIXES)
        check_order(images, f'video {name}: {folder}')
        return dict(video_id=name, size=None, frames=[dict(name=image, image=str(folder / image)) for image in images])

    def info_of(self, record: dict) -> dict:
        """Information of a video; the paths of its frames already include the folder."""
        return dict(super().info_of(record), frames=record['frames'], fps=self.fps)
