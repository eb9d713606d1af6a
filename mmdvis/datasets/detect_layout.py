"""Detects the datasets in a folder by their file layout."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmdvis.errors import DataError

from .annotation_json import list_folder
from .classes import KNOWN_CLASSES
from .image_folder import ImageFolderVideoDataset


def find_datasets(folder: Path) -> list[dict[str, Any]]:
    """Find the datasets in a folder.

    Returns:
        Config of each split.

    Raises:
        DataError: The folder does not exist, or contains no dataset in a known layout.
    """
    list_folder(folder)  # raises if the folder is missing or unreadable
    for finder in (
        find_vipseg,
        find_cityscapes,
        find_viper,
        find_vspw,
        find_cityscapes_images,
        find_davis,
        find_camvid,
        find_ovis,
        find_youtube_vis,
        find_coco,
        find_images,
    ):
        configs = [dict(config, data_root=str(folder)) for config in finder(folder)]
        if configs:
            return configs
    raise DataError(
        f'{folder} holds no dataset in a known layout; see data/README.md for the layouts, or specify a config'
    )


def find_vipseg(folder: Path) -> Iterator[dict[str, Any]]:
    """Configs of converted VIPSeg."""
    for path in sorted(folder.glob('panoptic_gt_VIPSeg_*.json')):
        yield dict(
            type='VIPSegDataset',
            ann_file=path.name,
            data_prefix=dict(img='images', seg='panomasksRGB'),
            test_mode='_train' not in path.stem,
        )


def find_cityscapes(folder: Path) -> Iterator[dict[str, Any]]:
    """Configs of Cityscapes-VPS."""
    for path in sorted(folder.glob('*_city_vps.json')):
        kind, split = path.stem.removesuffix('_city_vps').rsplit('_', 1)
        prefix = {
            'panoptic_im': ('img', 'panoptic_inst'),
            'panoptic_gt': ('img', 'panoptic_video'),
            'im_all_info': ('img_all', None),
        }.get(kind)
        if prefix and (folder / split / prefix[0]).is_dir():
            masks = dict(seg=f'{split}/{prefix[1]}') if prefix[1] else {}
            yield dict(
                type='CityscapesVPSDataset',
                ann_file=path.name,
                data_prefix=dict(img=f'{split}/{prefix[0]}', **masks),
                test_mode=kind != 'panoptic_im' or not (folder / split / 'panoptic_inst').is_dir(),
            )


def find_cityscapes_images(folder: Path) -> Iterator[dict[str, Any]]:
    """Configs of Cityscapes images, with the frames around them if they are there."""
    for path in sorted((folder / 'gtFine').glob('cityscapes_panoptic_*.json')):
        split = path.stem.removeprefix('cityscapes_panoptic_')
        has_neighbours = (folder / 'leftImg8bit_sequence' / split).is_dir()
        neighbours = dict(neighbours=f'leftImg8bit_sequence/{split}') if has_neighbours else {}
        clip = dict(num_frames=2, frame_range=1, order='key_first') if has_neighbours else dict(num_frames=1)
        yield dict(
            type='CityscapesPanopticDataset',
            ann_file=f'gtFine/{path.name}',
            data_prefix=dict(img=f'leftImg8bit/{split}', seg=f'gtFine/{path.stem}', **neighbours),
            clip=clip,
            test_mode=split != 'train',
            **({} if has_neighbours else dict(offsets=())),
        )


def find_davis(folder: Path) -> Iterator[dict[str, Any]]:
    """Configs of DAVIS 2016 (lists in the folder of a resolution) and 2017."""
    for path in sorted((folder / 'ImageSets').glob('*/*.txt')):
        if path.stem in ('train', 'val') and (folder / 'JPEGImages' / '480p').is_dir():
            yield dict(
                type='DAVISDataset',
                ann_file=str(path.relative_to(folder)),
                data_prefix=dict(img='JPEGImages/480p', seg='Annotations/480p'),
                objects='all' if path.parent.name == '2017' else 'one',
                test_mode=path.stem != 'train',
            )


def find_camvid(folder: Path) -> Iterator[dict[str, Any]]:
    """Configs of CamVid in the version of SegNet."""
    for split in ('train', 'val', 'test'):
        if (folder / f'{split}.txt').is_file() and (folder / f'{split}annot').is_dir():
            yield dict(type='CamVidDataset', ann_file=f'{split}.txt', test_mode=split != 'train')


def find_viper(folder: Path) -> Iterator[dict[str, Any]]:
    """Configs of VIPER, converted or in the official layout."""
    for path in sorted((*folder.glob('panoptic_gt_VIPER_*.json'), *folder.glob('viper_panoptic_*_video.json'))):
        converted = path.stem.startswith('panoptic_gt')
        split = path.stem.removeprefix('panoptic_gt_VIPER_').removeprefix('viper_panoptic_').removesuffix('_video')
        yield dict(
            type='VIPERVPSDataset',
            ann_file=path.name,
            test_mode='train' not in split,
            data_prefix=dict(img=f'{split}/img', seg=f'{split}/{"panomasksRGB" if converted else "panoptic_video"}'),
        )


def find_vspw(folder: Path) -> Iterator[dict[str, Any]]:
    """Configs of VSPW."""
    if (folder / 'data').is_dir():
        for split in ('train', 'val', 'test'):
            if (folder / f'{split}.txt').is_file():
                custom_classes = dict(categories='categories.json') if (folder / 'categories.json').is_file() else {}
                yield dict(type='VSPWDataset', ann_file=f'{split}.txt', test_mode=split != 'train', **custom_classes)


def find_ovis(folder: Path) -> Iterator[dict[str, Any]]:
    """Configs of OVIS."""
    for path in sorted(folder.glob('annotations*/annotations_*.json')):
        split = (
            path.stem.removeprefix('annotations_').removesuffix('_sub').removesuffix('_dev')
        )  # suffixes written by split_train_dev.py
        yield dict(
            type='OVISDataset',
            ann_file=str(path.relative_to(folder)),
            data_prefix=dict(img=split),
            test_mode=split != 'train',
        )


def find_youtube_vis(folder: Path) -> Iterator[dict[str, Any]]:
    """Configs of YouTube-VIS; the version is taken from the folder name, else 2021."""
    version = next(
        (
            name.removeprefix('YouTubeVIS')
            for name in KNOWN_CLASSES
            if name.startswith('YouTubeVIS') and name[-4:] in folder.resolve().name
        ),
        '2021',
    )
    for split in ('train', 'valid', 'test'):
        for name in (f'{split}.json', f'{split}_sub.json', f'{split}_dev.json', f'{split}/instances.json'):
            if (folder / name).is_file() and (folder / split / 'JPEGImages').is_dir():
                yield dict(
                    type='YouTubeVISDataset',
                    version=int(version),
                    ann_file=name,
                    test_mode=split != 'train',
                    data_prefix=dict(img=f'{split}/JPEGImages'),
                )


def find_coco(folder: Path) -> Iterator[dict[str, Any]]:
    """Configs of COCO instance and panoptic segmentation."""
    for path in sorted((folder / 'annotations').glob('*_*2017.json')):
        kind, split = path.stem.rsplit('_', 1)
        if kind == 'instances' and (folder / split).is_dir():
            yield dict(
                type='CocoInstanceClipDataset',
                ann_file=f'annotations/{path.name}',
                data_prefix=dict(img=split),
                test_mode='train' not in split,
            )
        if kind == 'panoptic' and (folder / split).is_dir():
            yield dict(
                type='CocoPanopticClipDataset',
                ann_file=f'annotations/{path.name}',
                test_mode='train' not in split,
                data_prefix=dict(img=split, seg=f'annotations/{path.stem}'),
            )


def find_images(folder: Path) -> Iterator[dict[str, Any]]:
    """Returns the dataset config of a folder that contains image folders or video files."""
    try:
        ImageFolderVideoDataset(data_root=str(folder))
    except DataError:
        return
    yield dict(type='ImageFolderVideoDataset')
