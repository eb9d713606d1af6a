"""Measures the CPU time of loading training clips and the time of reopening a large JSON annotation file.

Clips: five frames of 1280 x 720, stored as JPEG and panoptic PNG with about 20 segments, resized to a random short edge
(480, 512, ..., 800) and flipped. The same clips are loaded with index maps, as in mmdvis, and with one mask per object.
Annotation index: 3,000 videos x 30 frames x 2 tracks with RLE masks of 600 bytes. Every opening runs in a new process.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.registry import init_default_scope
from PIL import Image
from prettytable import PrettyTable

from mmdvis.datasets.classes import known_classes
from mmdvis.datasets.transforms import FlipClip, LoadClip, PackClip, ResizeClip, SampleClip
from mmdvis.datasets.transforms.geometry import resize_frames
from mmdvis.datasets.vipseg import VIPSegDataset
from mmdvis.io import VideoFileFrames, id_to_rgb, short_edge_size

HEIGHT, WIDTH, FRAMES, CLIP, THINGS, STUFF = 720, 1280, 8, 5, 15, 5
S11 = tuple(range(480, 801, 32))
OPEN = """
import json, sys, time
import mmdvis.datasets
from mmdvis.datasets import YouTubeVISDataset

def megabytes(path, *names):
    lines = dict(line.split(':')[:2] for line in open(path).read().splitlines() if ':' in line)
    return sum(int(lines[name].split()[0]) for name in names) / 1024
before = megabytes('/proc/self/status', 'VmHWM')
start = time.perf_counter()
dataset = YouTubeVISDataset(version=2021, data_root=sys.argv[1], ann_file='train.json')
opened = time.perf_counter() - start
for k in range(len(dataset)):
    dataset.get_data_info(k)
own = megabytes('/proc/self/smaps_rollup', 'Private_Clean', 'Private_Dirty')
peak = megabytes('/proc/self/status', 'VmHWM')
print(json.dumps(dict(seconds=opened, peak_mb=peak, added_mb=peak - before, own_mb=own)))
"""


def parse_args() -> argparse.Namespace:
    """Parses the command line arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--clips', type=int, default=24, help='number of clips for each representation (default: %(default)s)'
    )
    parser.add_argument('--video', help='video to read the frames from; synthetic frames by default')
    parser.add_argument(
        '--index-videos',
        type=int,
        default=3000,
        help='number of videos in the JSON file; 0 skips this part (default: %(default)s)',
    )
    parser.add_argument('--json', type=Path, help='JSON file to write the results to')
    return parser.parse_args()


def draw_maps(rng: np.random.Generator) -> np.ndarray:
    """Draws index maps (T, H, W): stuff segments 1 to 5 are bands, thing segments 6 to 20 are moving ellipses."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    maps = np.repeat((1 + rows * STUFF // HEIGHT)[None], FRAMES, 0)
    for thing in range(THINGS):
        y, x, ry, rx, vy, vx = (
            rng.uniform(*bounds) for bounds in ((0, HEIGHT), (0, WIDTH), (20, 120), (20, 160), (-8, 8), (-12, 12))
        )
        for t in range(FRAMES):
            maps[t][((rows - y - vy * t) / ry) ** 2 + ((columns - x - vx * t) / rx) ** 2 < 1] = STUFF + 1 + thing
    return maps.astype(np.int32)


def draw_image(rng: np.random.Generator, regions: np.ndarray) -> np.ndarray:
    """Draws a frame (H, W, 3) with one colour per region, a smooth texture and noise."""
    texture = Image.fromarray(rng.integers(0, 256, (HEIGHT // 16, WIDTH // 16, 3), dtype=np.uint8)).resize(
        (WIDTH, HEIGHT)
    )
    colours = rng.integers(0, 256, (STUFF + THINGS + 1, 3))
    noise = rng.normal(0, 6, (HEIGHT, WIDTH, 1))
    return (0.5 * colours[regions] + 0.5 * np.asarray(texture) + noise).clip(0, 255).astype(np.uint8)


def write_videos(root: Path, video: str | None, number: int = 4) -> None:
    """Writes a small dataset in the layout of VIPSeg.

    Args:
        root: Folder of the dataset.
        video: Video to read the frames from; None draws synthetic frames.
        number: Number of videos.
    """
    classes, source = known_classes('VIPSeg'), VideoFileFrames(video) if video else None
    categories = [
        dict(id=k, name=classes.names[classes.labels[k]], isthing=int(classes.labels[k] < 58), color=[k, k, k])
        for k in sorted(classes.category_ids)
    ]
    category_ids = [*classes.category_ids[58 : 58 + STUFF], *classes.category_ids[:THINGS]]
    videos, annotations = [], []
    for v in range(number):
        rng = np.random.default_rng(v)
        maps, segment_ids = (
            draw_maps(rng),
            np.concatenate([[0], rng.permutation(2**24 - 2)[: STUFF + THINGS] + 1]).astype(np.int32),
        )
        images, frames = [], []
        for t, index_map in enumerate(maps):
            for folder in ('images', 'masks'):
                (root / folder / str(v)).mkdir(parents=True, exist_ok=True)
            image = (
                draw_image(rng, index_map)
                if source is None
                else source.read(v * FRAMES + t, v * FRAMES + t + 1)[0].permute(1, 2, 0).numpy()
            )
            Image.fromarray(image).save(root / 'images' / str(v) / f'{t}.jpg', quality=90)
            Image.fromarray(id_to_rgb(segment_ids[index_map])).save(root / 'masks' / str(v) / f'{t}.png')
            images.append(dict(id=str(t), width=WIDTH, height=HEIGHT, file_name=f'{t}.png'))
            frames.append(
                dict(
                    image_id=str(t),
                    segments_info=[
                        dict(id=int(segment_ids[k]), category_id=category_ids[k - 1])
                        for k in np.unique(index_map).tolist()
                    ],
                )
            )
        videos.append(dict(video_id=str(v), images=images))
        annotations.append(dict(video_id=str(v), annotations=frames))
    (root / 'train.json').write_text(json.dumps(dict(videos=videos, annotations=annotations, categories=categories)))


class Clock:
    """Accumulates CPU and wall-clock seconds of named parts."""

    def __init__(self) -> None:
        self.cpu: dict[str, float] = {}
        self.wall: dict[str, float] = {}

    def __call__(self, name: str, function: Callable[..., Any], *args: object) -> Any:
        """Calls a function, adds its time to the part ``name`` and returns its result."""
        wall, cpu = time.perf_counter(), time.process_time()
        result = function(*args)
        self.cpu[name] = self.cpu.get(name, 0.0) + time.process_time() - cpu
        self.wall[name] = self.wall.get(name, 0.0) + time.perf_counter() - wall
        return result


def to_masks(results: dict) -> dict:
    """Converts the index map to one mask per object (N, T, H, W) uint8."""
    numbers = np.arange(1, len(results['ids']) + 1).reshape(-1, 1, 1, 1)
    return dict(results, masks=(results['maps'] == numbers).astype(np.uint8))


def resize_masks(results: dict, size: tuple) -> dict:
    """Resizes all masks and frames to ``size`` (height, width)."""
    masks = results['masks']
    resized = [
        np.asarray(Image.fromarray(mask).resize(size[::-1], Image.NEAREST))
        for mask in masks.reshape(-1, *masks.shape[2:])
    ]
    return dict(
        results, masks=np.stack(resized).reshape(*masks.shape[:2], *size), clip=resize_frames(results['clip'], size)
    )


def pack_masks(results: dict) -> dict[str, torch.Tensor]:
    """Flips the clip and its masks and packs them as a data loader worker does."""
    flipped = np.ascontiguousarray(results['masks'][..., ::-1])
    clip = torch.from_numpy(np.ascontiguousarray(results['clip'][:, :, ::-1].transpose(0, 3, 1, 2)))
    return dict(clip=clip, masks=torch.from_numpy(flipped).bool())


def run_clips(dataset: VIPSegDataset, clips: int) -> dict[str, Clock]:
    """Loads the same clips with both representations and checks that their targets are equal."""
    clocks = dict(maps=Clock(), masks=Clock())
    sample, load, flip, pack = SampleClip(CLIP), LoadClip(), FlipClip(1.0), PackClip()
    for k in range(-1, clips):  # the first clip is a warm-up
        np.random.seed(k + 1)
        info = sample.transform(dataset.get_data_info(k % len(dataset)))
        edge = int(np.random.choice(S11))
        size = short_edge_size((HEIGHT, WIDTH), edge, 1333)
        active_clocks = clocks if k >= 0 else dict(maps=Clock(), masks=Clock())
        results = active_clocks['maps']('decode', load.transform, info)
        transformed = active_clocks['maps'](
            'transform', lambda: flip.transform(ResizeClip([edge], 1333).transform(results))
        )
        packed = active_clocks['maps']('pack', pack.transform, transformed)
        mask_results = active_clocks['masks']('decode', lambda: to_masks(load.transform(info)))
        mask_results = active_clocks['masks']('transform', resize_masks, mask_results, size)
        packed_masks = active_clocks['masks']('pack', pack_masks, mask_results)
        maps = packed['data_samples'].gt_index_maps[0]
        is_visible = packed_masks['masks'].flatten(1).any(1)
        assert torch.equal(
            torch.stack([maps == n for n in range(1, int(is_visible.sum()) + 1)]), packed_masks['masks'][is_visible]
        )
        active_clocks['maps'].size = packed['inputs'].nbytes + packed['data_samples'].gt_index_maps.nbytes
        active_clocks['masks'].size = packed_masks['clip'].nbytes + packed_masks['masks'].nbytes
    return clocks


def parts_of_decode(dataset: VIPSegDataset, frames: int = 24) -> dict[str, float]:
    """CPU milliseconds per frame of decoding the JPEG and the PNG."""
    infos = [frame for k in range(len(dataset)) for frame in dataset.get_data_info(k)['frames']][:frames]
    clock = Clock()
    for frame in infos:
        for kind in ('image', 'mask'):
            clock(kind, lambda: np.asarray(Image.open(frame[kind]).convert('RGB')))
    return {kind: 1000 * seconds / len(infos) for kind, seconds in clock.cpu.items()}


def write_tracks(path: Path, videos: int, frames: int = 30, tracks: int = 2, size: int = 600) -> None:
    """Writes a JSON file in the format of YouTube-VIS.

    The RLE strings have the right length but random content; they are never decoded.

    Args:
        path: Path of the file.
        videos: Number of videos.
        frames: Number of frames of each video.
        tracks: Number of tracks in each video.
        size: Length of each RLE string in bytes.
    """
    rng = np.random.default_rng(0)
    classes = known_classes('YouTubeVIS2021')
    letters = rng.integers(48, 112, (64, size), dtype=np.uint8)
    texts = [bytes(row).decode() for row in letters]
    content = dict(
        categories=[dict(id=k, name=name) for k, name in zip(classes.category_ids, classes.names)],
        videos=[
            dict(
                id=v, height=HEIGHT, width=WIDTH, length=frames, file_names=[f'{v}/{t:05d}.jpg' for t in range(frames)]
            )
            for v in range(videos)
        ],
        annotations=[
            dict(
                id=n,
                video_id=n // tracks,
                category_id=1 + n % 40,
                iscrowd=0,
                bboxes=[[1, 2, 3, 4]] * frames,
                segmentations=[dict(size=[HEIGHT, WIDTH], counts=texts[(n + t) % 64]) for t in range(frames)],
            )
            for n in range(videos * tracks)
        ],
    )
    path.write_text(json.dumps(content))


def run_index(folder: Path, videos: int, times: int = 3) -> dict[str, Any]:
    """Measures the first and later openings of a JSON file with ``videos`` videos, each in a new process."""
    write_tracks(folder / 'train.json', videos)
    runs: list[dict[str, float]] = []
    for _ in range(1 + times):
        environment = dict(os.environ, MMDVIS_CACHE=str(folder / 'cache'))
        process = subprocess.run(
            [sys.executable, '-c', OPEN, str(folder)], env=environment, capture_output=True, text=True, check=True
        )
        runs.append(json.loads(process.stdout.splitlines()[-1]))
    later = {key: max(run[key] for run in runs[1:]) for key in runs[0]}
    index_bytes = sum(path.stat().st_size for path in (folder / 'cache').iterdir())
    return dict(
        json_mb=(folder / 'train.json').stat().st_size / 2**20, index_mb=index_bytes / 2**20, first=runs[0], later=later
    )


def main() -> None:
    """Runs the benchmark."""
    args = parse_args()
    init_default_scope('mmdvis')
    torch.set_num_threads(1)
    results: dict[str, Any] = dict(
        machine=f'{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}'
    )
    with tempfile.TemporaryDirectory() as folder:
        write_videos(Path(folder), args.video)
        dataset = VIPSegDataset(data_root=folder, ann_file='train.json', data_prefix=dict(img='images', seg='masks'))
        clocks = run_clips(dataset, args.clips)
        table = PrettyTable(
            ['CPU ms / frame', 'decode', 'transform', 'pack', 'all', 'clips/s', 'MB / clip to the main process']
        )
        for route, clock in clocks.items():
            row = {part: 1000 * seconds / args.clips / CLIP for part, seconds in clock.cpu.items()}
            row['all'] = sum(row.values())
            row['clips/s'] = args.clips / sum(clock.wall.values())
            row['MB'] = clock.size / 2**20
            results[route] = row
            route_title = dict(maps='index maps', masks='one mask per object')[route]
            table.add_row([route_title, *(f'{x:.1f}' for x in row.values())])
        results['decode alone'] = parts_of_decode(dataset)
    print(results['machine'], table, sep='\n')
    print('decoding: JPEG {image:.1f} ms, PNG {mask:.1f} ms per frame'.format(**results['decode alone']))
    if args.index_videos:
        with tempfile.TemporaryDirectory() as folder:
            results['index'] = run_index(Path(folder), args.index_videos)
        print('JSON file {json_mb:.0f} MB, annotation index {index_mb:.0f} MB'.format(**results['index']))
        for opening in ('first', 'later'):
            print(
                '{} opening: {seconds:.2f} s, peak memory +{added_mb:.0f} MB (total {peak_mb:.0f} MB), '
                '{own_mb:.0f} MB of private memory after reading all records'.format(
                    opening, **results['index'][opening]
                )
            )
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))


if __name__ == '__main__':
    main()
