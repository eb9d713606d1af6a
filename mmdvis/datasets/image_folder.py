"""Videos without labels: folders of images, or video files."""

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
    """Every folder of images and every video file below ``data_root`` is a video; or ``data_root`` itself is one. Test only.

    Args:
        categories: name of a known class list; None: the dataset has no classes, and results take those of the model.
        fps: frame rate of folders of images.
        **kwargs: of :class:`ClipDataset`.

    Raises:
        DataError: there is no video, or it is used for training.
    """

    METAINFO = dict(dataset_type='ImageFolder')

    def __init__(
        self, categories: str | None = None, fps: float = 6.0, test_mode: bool = True, **kwargs: object
    ) -> None:
        if not test_mode:
            raise DataError('folders of images have no labels, so they cannot be trained on; set test_mode=True')
        self.categories, self.fps = categories, fps
        super().__init__(test_mode=True, **kwargs)

    def read_index(self) -> AnnotationIndex:
        """One record a video."""
        rows, root = class_rows(known_classes(self.categories)) if self.categories else [], Path(self.data_root)
        names = list_folder(root)
        records = list(self.records(root, names))
        if not records:
            raise DataError(
                f'{root} holds no video; it must hold folders of images or files as {", ".join(VIDEO_SUFFIXES)}'
            )
        return AnnotationIndex.build(dict(classes=rows), records)

    def records(self, root: Path, names: list[str]) -> Iterator[dict]:
        """Looks into the folder."""
        videos = [name for name in names if Path(name).suffix.lower() in VIDEO_SUFFIXES or os.path.isdir(root / name)]
        images = [name for name in names if Path(name).suffix.lower() in IMAGE_SUFFIXES]
        if images and videos:
            raise DataError(
                f'{root} holds images ({images[0]}, ...) beside videos ({videos[0]}, ...); a folder must hold either '
                'the frames of one video, or folders and video files'
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
        """The record of a folder of images."""
        images = list_folder(folder, IMAGE_SUFFIXES)
        check_order(images, f'video {name}: {folder}')
        return dict(video_id=name, size=None, frames=[dict(name=image, image=str(folder / image)) for image in images])

    def info_of(self, record: dict) -> dict:
        """Paths are whole already."""
        return dict(super().info_of(record), frames=record['frames'], fps=self.fps)
