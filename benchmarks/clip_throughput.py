"""What a training clip costs the CPU, and how quickly a large json is opened again.

Clips: five frames of 1280 x 720, JPEG and panoptic PNG with about 20 segments, short edge one of S11 (480, 512, ..., 800),
flip. The same clips once with maps of indices, as the package does it, and once with a mask for every object.
Index: 3,000 videos x 30 frames x 2 tracks with run lengths of 600 bytes; each opening is a process of its own.
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
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--clips', type=int, default=24, help='clips of each route')
    parser.add_argument('--video', help='take the frames from this video instead of drawing them')
    parser.add_argument('--index-videos', type=int, default=3000, help='videos of the json; 0 leaves it out')
    parser.add_argument('--json', type=Path, help='write the figures to this file')
    return parser.parse_args()


def draw_maps(rng: np.random.Generator) -> np.ndarray:
    """Maps of segment numbers (T, H, W): bands of stuff 1 to 5, ellipses of things 6 to 20 that move."""
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
    """A frame with a colour for each region, a soft texture, and noise."""
    soft = Image.fromarray(rng.integers(0, 256, (HEIGHT // 16, WIDTH // 16, 3), dtype=np.uint8)).resize((WIDTH, HEIGHT))
    colours = rng.integers(0, 256, (STUFF + THINGS + 1, 3))
    noise = rng.normal(0, 6, (HEIGHT, WIDTH, 1))
    return (0.5 * colours[regions] + 0.5 * np.asarray(soft) + noise).clip(0, 255).astype(np.uint8)


def write_videos(root: Path, video: str | None, number: int = 4) -> None:
    """A small VIPSeg."""
    classes, source = known_classes('VIPSeg'), VideoFileFrames(video) if video else None
    categories = [
        dict(id=k, name=classes.names[classes.labels[k]], isthing=int(classes.labels[k] < 58), color=[k, k, k])
        for k in sorted(classes.category_ids)
    ]
    kinds = [*classes.category_ids[58 : 58 + STUFF], *classes.category_ids[:THINGS]]
    videos, annotations = [], []
    for v in range(number):
        rng = np.random.default_rng(v)
        maps, region = (
            draw_maps(rng),
            np.concatenate([[0], rng.permutation(2**24 - 2)[: STUFF + THINGS] + 1]).astype(np.int32),
        )
        images, frames = [], []
        for t, regions in enumerate(maps):
            for folder in ('images', 'masks'):
                (root / folder / str(v)).mkdir(parents=True, exist_ok=True)
            pixels = (
                draw_image(rng, regions)
                if source is None
                else source.read(v * FRAMES + t, v * FRAMES + t + 1)[0].permute(1, 2, 0).numpy()
            )
            Image.fromarray(pixels).save(root / 'images' / str(v) / f'{t}.jpg', quality=90)
            Image.fromarray(id_to_rgb(region[regions])).save(root / 'masks' / str(v) / f'{t}.png')
            images.append(dict(id=str(t), width=WIDTH, height=HEIGHT, file_name=f'{t}.png'))
            frames.append(
                dict(
                    image_id=str(t),
                    segments_info=[
                        dict(id=int(region[k]), category_id=kinds[k - 1]) for k in np.unique(regions).tolist()
                    ],
                )
            )
        videos.append(dict(video_id=str(v), images=images))
        annotations.append(dict(video_id=str(v), annotations=frames))
    (root / 'train.json').write_text(json.dumps(dict(videos=videos, annotations=annotations, categories=categories)))


class Clock:
    """CPU and wall seconds of named parts."""

    def __init__(self) -> None:
        self.cpu: dict[str, float] = {}
        self.wall: dict[str, float] = {}

    def __call__(self, name: str, function: Callable[..., Any], *args: object) -> Any:
        wall, cpu = time.perf_counter(), time.process_time()
        result = function(*args)
        self.cpu[name] = self.cpu.get(name, 0.0) + time.process_time() - cpu
        self.wall[name] = self.wall.get(name, 0.0) + time.perf_counter() - wall
        return result


def to_masks(results: dict) -> dict:
    """A mask (N, T, H, W) uint8 for every object in place of the map."""
    numbers = np.arange(1, len(results['ids']) + 1).reshape(-1, 1, 1, 1)
    return dict(results, masks=(results['maps'] == numbers).astype(np.uint8))


def resize_masks(results: dict, size: tuple) -> dict:
    """Every mask and frame in another size."""
    masks = results['masks']
    flat = [
        np.asarray(Image.fromarray(one).resize(size[::-1], Image.NEAREST))
        for one in masks.reshape(-1, *masks.shape[2:])
    ]
    return dict(
        results, masks=np.stack(flat).reshape(*masks.shape[:2], *size), clip=resize_frames(results['clip'], size)
    )


def pack_masks(results: dict) -> dict[str, torch.Tensor]:
    """What a worker would hand over."""
    flipped = np.ascontiguousarray(results['masks'][..., ::-1])
    clip = torch.from_numpy(np.ascontiguousarray(results['clip'][:, :, ::-1].transpose(0, 3, 1, 2)))
    return dict(clip=clip, masks=torch.from_numpy(flipped).bool())


def run_clips(dataset: VIPSegDataset, clips: int) -> dict[str, Clock]:
    """Both routes over the same clips; their targets are compared."""
    clocks = dict(maps=Clock(), masks=Clock())
    sample, load, flip, pack = SampleClip(CLIP), LoadClip(), FlipClip(1.0), PackClip()
    for k in range(-1, clips):  # the first is not counted
        np.random.seed(k + 1)
        info = sample.transform(dataset.get_data_info(k % len(dataset)))
        edge = int(np.random.choice(S11))
        size = short_edge_size((HEIGHT, WIDTH), edge, 1333)
        counted = clocks if k >= 0 else dict(maps=Clock(), masks=Clock())
        results = counted['maps']('decode', load.transform, info)
        moved = counted['maps']('transform', lambda: flip.transform(ResizeClip([edge], 1333).transform(results)))
        packed = counted['maps']('pack', pack.transform, moved)
        masked = counted['masks']('decode', lambda: to_masks(load.transform(info)))
        masked = counted['masks']('transform', resize_masks, masked, size)
        other = counted['masks']('pack', pack_masks, masked)
        maps = packed['data_samples'].gt_index_maps[0]
        seen = other['masks'].flatten(1).any(1)
        assert torch.equal(torch.stack([maps == n for n in range(1, int(seen.sum()) + 1)]), other['masks'][seen])
        counted['maps'].size = packed['inputs'].nbytes + packed['data_samples'].gt_index_maps.nbytes
        counted['masks'].size = other['clip'].nbytes + other['masks'].nbytes
    return clocks


def parts_of_decode(dataset: VIPSegDataset, frames: int = 24) -> dict[str, float]:
    """CPU milliseconds a frame of the JPEG and of the PNG alone."""
    infos = [frame for k in range(len(dataset)) for frame in dataset.get_data_info(k)['frames']][:frames]
    clock = Clock()
    for frame in infos:
        for kind in ('image', 'mask'):
            clock(kind, lambda: np.asarray(Image.open(frame[kind]).convert('RGB')))
    return {kind: 1000 * seconds / len(infos) for kind, seconds in clock.cpu.items()}


def write_tracks(path: Path, videos: int, frames: int = 30, tracks: int = 2, size: int = 600) -> None:
    """A json of YouTube-VIS's form; the run lengths are texts of the right length, which nothing decodes here."""
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
    """The first opening and later ones, each in a process of its own."""
    write_tracks(folder / 'train.json', videos)
    found: list[dict[str, float]] = []
    for _ in range(1 + times):
        environment = dict(os.environ, MMDVIS_CACHE=str(folder / 'cache'))
        done = subprocess.run(
            [sys.executable, '-c', OPEN, str(folder)], env=environment, capture_output=True, text=True, check=True
        )
        found.append(json.loads(done.stdout.splitlines()[-1]))
    later = {key: max(run[key] for run in found[1:]) for key in found[0]}
    kept = sum(path.stat().st_size for path in (folder / 'cache').iterdir())
    return dict(
        json_mb=(folder / 'train.json').stat().st_size / 2**20, index_mb=kept / 2**20, first=found[0], later=later
    )


def main() -> None:
    """Measures and prints."""
    args = parse_args()
    init_default_scope('mmdvis')
    torch.set_num_threads(1)
    figures: dict[str, Any] = dict(
        machine=f'{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}'
    )
    with tempfile.TemporaryDirectory() as name:
        write_videos(Path(name), args.video)
        dataset = VIPSegDataset(data_root=name, ann_file='train.json', data_prefix=dict(img='images', seg='masks'))
        clocks = run_clips(dataset, args.clips)
        table = PrettyTable(
            ['CPU ms a frame', 'decode', 'transform', 'pack', 'all', 'clips/s', 'MB handed over a clip']
        )
        for route, clock in clocks.items():
            row = {part: 1000 * seconds / args.clips / CLIP for part, seconds in clock.cpu.items()}
            row['all'] = sum(row.values())
            row['clips/s'] = args.clips / sum(clock.wall.values())
            row['MB'] = clock.size / 2**20
            figures[route] = row
            name_of_route = dict(maps='maps of indices', masks='a mask for each object')[route]
            table.add_row([name_of_route, *(f'{x:.1f}' for x in row.values())])
        figures['decode alone'] = parts_of_decode(dataset)
    print(figures['machine'], table, sep='\n')
    print('of decode: JPEG {image:.1f} ms, PNG {mask:.1f} ms a frame'.format(**figures['decode alone']))
    if args.index_videos:
        with tempfile.TemporaryDirectory() as name:
            figures['index'] = run_index(Path(name), args.index_videos)
        print('json of {json_mb:.0f} MB, index of {index_mb:.0f} MB'.format(**figures['index']))
        for which in ('first', 'later'):
            print(
                '{} opening: {seconds:.2f} s, {added_mb:.0f} MB more at the peak ({peak_mb:.0f} MB in all with the libraries), '
                '{own_mb:.0f} MB not shared after reading all records'.format(which, **figures['index'][which])
            )
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1))


if __name__ == '__main__':
    main()
