"""Tiny synthetic copies of every dataset in its official layout.

They are written without any code of the datasets under test.
"""

import json

import numpy as np
from PIL import Image

SIZE, FRAMES = (40, 56), 7
THINGS = 3  # per scene; two stuff regions are the background


def save_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **({'quality': 95} if path.suffix == '.jpg' else {}))


def scene(seed, frames=FRAMES, size=SIZE):
    """Return frames (T, H, W, 3) and maps (T, H, W): 1 to 3 are moving things, 4 and 5 stuff, 0 a void column.

    Thing 3 is visible in frames 2 and 3 only.
    """
    rng = np.random.default_rng(seed)
    height, width = size
    maps = np.zeros((frames, height, width), np.uint8)
    maps[:, : height // 2], maps[:, height // 2 :] = 4, 5
    maps[:, :, -2:] = 0
    for thing in range(1, THINGS + 1):
        top, left = int(rng.integers(2, height - 14)), int(rng.integers(2, width - 24))
        for t in range(frames):
            if thing < 3 or t in (2, 3):
                maps[t, top : top + 9, left + t : left + t + 11] = thing
    colours = rng.integers(0, 256, (6, 3))
    images = (colours[maps] + rng.integers(-6, 7, (*maps.shape, 1))).clip(0, 255).astype(np.uint8)
    return images, maps


def rgb(ids):
    return np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)


def categories(names, things, start=0):
    return [
        dict(id=k, name=name, isthing=int(k in things), color=[k % 256, 7 * k % 256, 99])
        for k, name in enumerate(names, start)
    ]


def region_ids(seed):
    """Return a random panoptic id for each region of a scene."""
    return np.concatenate([[0], np.random.default_rng(seed + 1000).choice(2**24 - 2, 5, replace=False) + 1])


def segments(ids, region, kinds):
    """Return ``segments_info``; ``kinds`` holds the category of each region."""
    return [
        dict(
            id=int(region[k]),
            category_id=int(kinds[k - 1]),
            iscrowd=0,
            area=int((ids == region[k]).sum()),
            bbox=[0, 0, 1, 1],
        )
        for k in range(1, 6)
        if (ids == region[k]).any()
    ]


def vipseg(
    root,
    names,
    things,
    kinds=(60, 61, 48, 28, 15),
    splits=dict(train=2, val=1, test=1),
    folders=('images', 'panomasksRGB'),
    json_name='panoptic_gt_VIPSeg_{split}.json',
):
    """Write the prepared layout of VIPSeg; the json of the test split has ``.jpg`` names and no segments."""
    for split, number in splits.items():
        videos, annotations = [], []
        for k in range(number):
            video, seed = f'{k}_{split}', 10 * len(split) + k
            images, maps = scene(seed)
            region, frames, frame_annotations = region_ids(seed), [], []
            for t, (image, regions) in enumerate(zip(images, maps)):
                stem, ids = f'{5 * t + 10:08d}', region[regions]
                save(root / folders[0].format(split=split) / video / f'{stem}.jpg', image)
                if split != 'test':
                    save(root / folders[1].format(split=split) / video / f'{stem}.png', rgb(ids))
                ending = '.jpg' if split == 'test' else '.png'
                frames.append(dict(id=stem, width=SIZE[1], height=SIZE[0], file_name=stem + ending))
                frame_annotations.append(
                    dict(image_id=stem, file_name=f'{stem}.png', segments_info=segments(ids, region, kinds))
                )
            videos.append(dict(video_id=video, images=frames))
            annotations.append(dict(video_id=video, annotations=frame_annotations))
        content = dict(videos=videos, categories=categories(names, things))
        if split != 'test':
            content['annotations'] = annotations
        save_json(root / json_name.format(split=split), content)
    return root


def vspw(root, kinds=(60, 61, 48, 28, 15), line='\n'):
    """Write the layout of VSPW; the test split has no masks."""
    values = np.array([0, *(kind + 1 for kind in kinds)], np.uint8)
    for split, number in dict(train=2, val=1, test=1).items():
        for k in range(number):
            images, maps = scene(10 * len(split) + k)
            for t, (image, regions) in enumerate(zip(images, maps)):
                folder = root / 'data' / f'{k}_{split}'
                save(folder / 'origin' / f'{5 * t + 10:08d}.jpg', image)
                if split != 'test':
                    mask = values[regions]
                    mask[0, :3] = 255
                    save(folder / 'mask' / f'{5 * t + 10:08d}.png', mask)
        (root / f'{split}.txt').write_bytes(line.join(f'{k}_{split}' for k in range(number)).encode())
    return root


def run_length(mask, compress):
    """Encode a mask as column-wise run lengths; pycocotools compresses them."""
    flat = mask.T.ravel().astype(int)
    ends = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *ends, flat.size]).tolist()
    counts = counts if flat[0] == 0 else [0, *counts]
    if not compress:
        return dict(size=list(mask.shape), counts=counts)
    from pycocotools import mask as coco_mask

    code = coco_mask.frPyObjects(dict(size=list(mask.shape), counts=counts), *mask.shape)
    return dict(size=list(mask.shape), counts=code['counts'].decode())


def box(mask):
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return [int(x) for x in (columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1)]


def tracks(root, image_root, names, json_path, number=2, labelled=True, occlusion=False, seed=50):
    """Write the json of YouTube-VIS and OVIS: plain and compressed run lengths, a crowd, and overlapping objects."""
    videos, annotations = [], []
    for video in range(1, number + 1):
        images, maps = scene(seed + video)
        stems = [f'v{video}/{t:05d}.jpg' for t in range(FRAMES)]
        for stem, image in zip(stems, images):
            save(image_root / stem, image)
        videos.append(dict(id=video, file_names=stems, height=SIZE[0], width=SIZE[1], length=FRAMES))
        for thing in range(1, THINGS + 2):  # the last one is a crowd
            masks = maps == thing
            if thing == 2:
                masks[:, ::2] |= (maps == 1)[:, ::2]  # overlaps thing 1
            visible = masks.any((1, 2))
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    video_id=video,
                    category_id=1 + (3 * thing + video) % len(names),
                    height=SIZE[0],
                    width=SIZE[1],
                    length=FRAMES,
                    iscrowd=int(thing > THINGS),
                    segmentations=[run_length(m, thing % 2 == 0) if s else None for m, s in zip(masks, visible)],
                    bboxes=[box(m) if s else None for m, s in zip(masks, visible)],
                    areas=[int(m.sum()) if s else None for m, s in zip(masks, visible)],
                )
            )
            if occlusion:
                annotations[-1]['occlusion'] = ['no_occlusion' if s else None for s in visible]
    content = dict(
        info={},
        videos=videos,
        categories=[dict(id=k, name=name, supercategory='object') for k, name in enumerate(names, 1)],
    )
    content['annotations'] = annotations if labelled else None
    return save_json(root / json_path, content)


def ovis(root, names):
    for split in ('train', 'valid'):
        tracks(
            root,
            root / split,
            names,
            f'annotations/annotations_{split}.json',
            labelled=split == 'train',
            occlusion=True,
        )
    return root


def youtube_vis(root, names, valid='valid.json'):
    for split in ('train', 'valid'):
        tracks(
            root,
            root / split / 'JPEGImages',
            names,
            'train.json' if split == 'train' else valid,
            labelled=split == 'train',
        )
    return root


def cityscapes_vps(root, names, kinds=(13, 11, 18, 10, 0)):
    """Write the layout of Cityscapes-VPS: six of the thirty frames of a video are annotated.

    The training split has 16-bit maps, the validation split also has RGB maps, the test split has no annotations.
    """
    cats = categories(names, range(11, 19))
    for split, first, number in (('train', 1, 2), ('val', 3, 2), ('test', 5, 1)):
        annotated, all_images, annotations = [], [], []
        for video in range(first, first + number):
            images, maps = scene(70 + video, frames=30)
            region = region_ids(70 + video)
            codes = np.array([255, 13001, 11000, 18002, kinds[3], kinds[4]], np.uint16)
            for t in range(30):
                plain = f'city_{video:06d}_{t:06d}'
                all_images.append(dict(id=video * 10000 + t + 1, file_name=f'{plain}_leftImg8bit.png'))
                if split != 'train':
                    save(root / split / 'img_all' / f'{plain}_leftImg8bit.png', images[t])
                if t % 5 != 4:
                    continue
                name = f'{video:04d}_{6 * (video - 1) + t // 5 + 1:04d}_{plain}'
                endings = (
                    ('_leftImg8bit.png', '_gtFine_color.png') if t == 19 else ('_newImg8bit.png', '_final_mask.png')
                )
                annotated.append(dict(id=name, file_name=name + endings[0], width=SIZE[1], height=SIZE[0]))
                if split == 'test':
                    continue
                save(root / split / 'img' / (name + endings[0]), images[t])
                save(root / split / 'panoptic_inst' / (name + endings[1]), codes[maps[t]])
                classes = np.array([13 if split == 'train' else 255, 13, 11, 18, kinds[3], kinds[4]], np.uint8)
                save(root / split / 'labelmap' / (name + endings[1]), classes[maps[t]])
                if split == 'val':
                    ids = region[maps[t]]
                    save(root / split / 'panoptic_video' / (name + endings[1]), rgb(ids))
                    annotations.append(
                        dict(image_id=name, file_name=name + endings[1], segments_info=segments(ids, region, kinds))
                    )
        save_json(root / f'panoptic_im_{split}_city_vps.json', dict(images=annotated, categories=cats))
        if split != 'train':
            save_json(root / f'im_all_info_{split}_city_vps.json', dict(images=all_images, categories=cats))
        if split == 'val':
            save_json(
                root / 'panoptic_gt_val_city_vps.json', dict(images=annotated, annotations=annotations, categories=cats)
            )
    return root


def cityscapes(root, names, label_ids, kinds=(26, 24, 33, 23, 7)):
    """Write Cityscapes images with the panoptic files of cityscapesScripts, and the frames around each image."""
    cats = [
        dict(id=k, name=n.replace('_', ' '), isthing=int(k >= 24), color=[k, 0, 0]) for k, n in zip(label_ids, names)
    ]
    for split, number in (('train', 2), ('val', 2)):
        images_, annotations = [], []
        for k in range(number):
            images, maps = scene(90 + k + 10 * (split == 'val'), frames=3)
            region, city = region_ids(90 + k), ('aachen', 'bochum')[k]
            name = f'{city}_{k:06d}_000019'
            for t, frame in ((18, 0), (19, 1), (20, 2)):
                file = f'{city}_{k:06d}_{t:06d}_leftImg8bit.png'
                save(root / 'leftImg8bit_sequence' / split / city / file, images[frame])
                if t == 19:
                    save(root / 'leftImg8bit' / split / city / file, images[frame])
            ids = region[maps[1]]
            png = f'{name}_gtFine_panoptic.png'
            save(root / 'gtFine' / f'cityscapes_panoptic_{split}' / png, rgb(ids))
            images_.append(dict(id=name, file_name=f'{name}_leftImg8bit.png', width=SIZE[1], height=SIZE[0]))
            annotations.append(dict(image_id=name, file_name=png, segments_info=segments(ids, region, kinds)))
        save_json(
            root / 'gtFine' / f'cityscapes_panoptic_{split}.json',
            dict(images=images_, annotations=annotations, categories=cats),
        )
    return root


def viper(root, names, kinds=(19, 17, 14, 0, 1)):
    """Write the flat json of the VIPER authors, with frames ``<video>_<frame>``, and RGB maps."""
    for split, number in (('train', 2), ('val_day', 1)):
        images_, annotations = [], []
        for video in range(1, number + 1):
            images, maps = scene(90 + video, frames=16)
            region = region_ids(90 + video)
            for t in range(16):
                stem, ids = f'{video:03d}_{t + 1:05d}', region[maps[t]]
                save(root / split / 'img' / f'{stem}.jpg', images[t])
                save(root / split / 'panoptic_video' / f'{stem}.png', rgb(ids))
                images_.append(dict(id=stem, file_name=f'{stem}.jpg', width=SIZE[1], height=SIZE[0]))
                annotations.append(
                    dict(image_id=stem, file_name=f'{stem}.png', segments_info=segments(ids, region, kinds))
                )
        save_json(
            root / f'viper_panoptic_{split}_video.json',
            dict(images=images_, annotations=annotations, categories=categories(names, range(13, 23))),
        )
    return root


def coco(root, thing_ids, stuff_ids, names):
    """Write the instance json of COCO (polygons, one crowd as run lengths) and the panoptic json with PNGs."""
    for split, number in (('train', 3), ('val', 2)):
        images_, instances, annotations = [], [], []
        for k in range(1, number + 1):
            images, maps = scene(30 + k, frames=3)
            image, regions, region = images[2], maps[2], region_ids(30 + k)
            kinds = (thing_ids[0], thing_ids[2], thing_ids[5], stuff_ids[0], stuff_ids[3])
            save(root / f'{split}2017' / f'{k:012d}.jpg', image)
            ids = region[regions]
            save(root / 'annotations' / f'panoptic_{split}2017' / f'{k:012d}.png', rgb(ids))
            images_.append(dict(id=k, file_name=f'{k:012d}.jpg', width=SIZE[1], height=SIZE[0]))
            annotations.append(dict(image_id=k, file_name=f'{k:012d}.png', segments_info=segments(ids, region, kinds)))
            for thing in range(1, 4):
                x, y, width, height = box(regions == thing)
                instances.append(
                    dict(
                        id=len(instances) + 1,
                        image_id=k,
                        category_id=int(kinds[thing - 1]),
                        iscrowd=0,
                        area=99,
                        bbox=[x, y, width, height],
                        segmentation=[[x, y, x + width, y, x + width, y + height, x, y + height]],
                    )
                )
            instances.append(
                dict(
                    id=len(instances) + 1,
                    image_id=k,
                    category_id=int(thing_ids[0]),
                    iscrowd=1,
                    area=9,
                    bbox=[0, 0, 3, 3],
                    segmentation=run_length(regions == 4, False),
                )
            )
        things = [dict(id=int(k), name=name, isthing=1, color=[k, 0, 0]) for k, name in zip(thing_ids, names)]
        stuff = [dict(id=int(k), name=f'stuff {k}', isthing=0, color=[0, k, 0]) for k in stuff_ids]
        save_json(
            root / 'annotations' / f'instances_{split}2017.json',
            dict(images=images_, annotations=instances, categories=[dict(id=c['id'], name=c['name']) for c in things]),
        )
        save_json(
            root / 'annotations' / f'panoptic_{split}2017.json',
            dict(images=images_, annotations=annotations, categories=things + stuff),
        )
    return root


def folders(root):
    """Write two folders of images."""
    for name in ('a', 'b'):
        for t, image in enumerate(scene(7)[0]):
            save(root / name / f'frame{t}.png', image)
    return root
