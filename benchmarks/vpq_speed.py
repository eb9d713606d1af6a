"""Measures the CPU time of VPQ and STQ on PNG files at 720p.

All VPQ windows are evaluated in one pass. The baseline evaluates one window at a time, as the official script does.
"""

import argparse
import hashlib
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from mmdvis.evaluation.files.scoring import score_stq, score_vpq
from mmdvis.io import id_to_rgb

SEED, HEIGHT, WIDTH, FRAMES, VIDEOS = 20240607, 720, 1280, 20, 5
DIGEST = '814076ee3d02435b244547d667aa0d354f13f9b3c6842b6c75048fec719508fa'  # SHA-256 of the maps of all videos
EXPECTED = {'VPQ1': 73.13121932810681, 'VPQ2': 72.25593212951739, 'VPQ4': 71.4919119022015, 'VPQ6': 70.79215462884484}
WINDOWS = (1, 2, 4, 6)
Video = tuple[np.ndarray, np.ndarray, dict[int, int], dict[int, int]]


def parse_args() -> argparse.Namespace:
    """Parses the command line arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--videos', type=int, default=VIDEOS)
    parser.add_argument('--frames', type=int, default=FRAMES)
    parser.add_argument(
        '--workers',
        type=int,
        nargs='*',
        default=[],
        help='also measure wall-clock time with these numbers of processes',
    )
    parser.add_argument('--no-baseline', action='store_true', help='skip the slow baseline')
    parser.add_argument('--json', type=Path, help='JSON file to write the results to')
    return parser.parse_args()


class Draw:
    """Generator of reproducible random integers for one video."""

    def __init__(self, video: int) -> None:
        self.generator = np.random.Generator(np.random.PCG64([SEED, video]))

    def __call__(self, low: int, high: int) -> int:
        """Random integer in [low, high)."""
        return int(self.generator.integers(low, high))


def inside(shape: dict[str, int], t: int, shift: tuple[int, int] = (0, 0)) -> np.ndarray:
    """Mask (H, W) bool of a moving rectangle or ellipse in one frame.

    Args:
        shape: Position, velocity and half axes of the shape in pixels.
        t: Index of the frame.
        shift: Offset (y, x) in pixels.
    """
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    y = rows - (shape['y'] + shape['vy'] * t + shift[0])
    x = columns - (shape['x'] + shape['vx'] * t + shift[1])
    if shape['is_ellipse']:
        return y * y * shape['rx'] ** 2 + x * x * shape['ry'] ** 2 <= (shape['rx'] * shape['ry']) ** 2
    return (abs(y) <= shape['ry']) & (abs(x) <= shape['rx'])


def make_video(video: int, frames: int) -> Video:
    """Draws the ground truth and the prediction of a video with bands of stuff, 16 things and one void region.

    Args:
        video: Index of the video, used as a seed.
        frames: Number of frames.

    Returns:
        Id maps (T, H, W) int32 of ground truth and prediction, and id -> category of both.
    """
    draw = Draw(video)
    ids = draw.generator.permutation(2**24 - 1)[:200] + 1
    bands = [(HEIGHT * (i + 1) // 8 + draw(-20, 21), draw(-12, 13)) for i in range(7)]
    gt_classes, pred_classes, things = {}, {}, []
    for i in range(8):
        gt_classes[int(ids[i])] = pred_classes[int(ids[50 + i])] = 8 * i + draw(0, 8)
    for i in range(16):
        thing = dict(
            y=draw(60, HEIGHT - 60),
            x=draw(60, WIDTH - 60),
            vy=draw(-6, 7),
            vx=draw(-14, 15),
            ry=draw(20, 110),
            rx=draw(20, 140),
            is_ellipse=draw(0, 2),
            dy=draw(-10, 11),
            dx=draw(-10, 11),
        )
        things.append(dict(thing, switch=draw(0, frames) if i % 3 == 0 else frames, is_missed=i % 8 == 7))
        category = 66 + draw(0, 58)
        gt_classes[int(ids[10 + i])] = pred_classes[int(ids[60 + i])] = pred_classes[int(ids[80 + i])] = category
    void = dict(
        y=draw(100, HEIGHT - 100), x=draw(100, WIDTH - 100), vy=draw(-4, 5), vx=draw(-8, 9), ry=70, rx=120, is_ellipse=0
    )
    gt, pred = np.zeros((2, frames, HEIGHT, WIDTH), np.int32)
    for t in range(frames):
        gt[t], pred[t] = ids[0], ids[50]
        for i, (row, shift) in enumerate(bands):
            gt[t, row:], pred[t, row + shift :] = ids[1 + i], ids[51 + i]
        for i, thing in enumerate(things):
            gt[t][inside(thing, t)] = ids[10 + i]
            if not thing['is_missed']:
                pred[t][inside(thing, t, (thing['dy'], thing['dx']))] = ids[(60 if t < thing['switch'] else 80) + i]
        gt[t][inside(void, t)] = 0
    return gt, pred, gt_classes, pred_classes


def write_set(folder: Path, videos: int, frames: int) -> str:
    """Writes the videos in the layout of VIPSeg and returns the digest of their maps."""
    digest, layouts = hashlib.sha256(), (('panomasksRGB', []), ('submission/pan_pred', []))
    for v in range(videos):
        *maps, gt_classes, pred_classes = make_video(v, frames)
        for ids, classes, (subfolder, entries) in zip(maps, (gt_classes, pred_classes), layouts):
            digest.update(ids.astype('<i4').tobytes())
            target = folder / subfolder / f'bench_{v}'
            target.mkdir(parents=True)
            entries.append(
                dict(
                    video_id=f'bench_{v}',
                    annotations=[write_frame(target / f'{t:08d}.png', frame, classes) for t, frame in enumerate(ids)],
                )
            )
    categories = [dict(id=c, name=str(c), isthing=int(c >= 66)) for c in range(124)]
    (folder / 'truth.json').write_text(json.dumps(dict(categories=categories, annotations=layouts[0][1])))
    (folder / 'submission' / 'pred.json').write_text(json.dumps(dict(annotations=layouts[1][1])))
    return digest.hexdigest()


def write_frame(path: Path, ids: np.ndarray, classes: dict[int, int]) -> dict:
    """Writes a PNG and returns its entry in the JSON file."""
    Image.fromarray(id_to_rgb(ids)).save(path)
    sizes = zip(*(x.tolist() for x in np.unique(ids, return_counts=True)))
    return dict(
        file_name=path.name,
        segments_info=[dict(id=i, category_id=classes[i], area=n, iscrowd=0) for i, n in sizes if i],
    )


def one_window_at_a_time(folder: Path) -> dict[str, float]:
    """Baseline that decodes, stacks and counts the frames of every window separately by sorting all pixels."""
    gt = {v['video_id']: v['annotations'] for v in json.loads((folder / 'truth.json').read_text())['annotations']}
    pred = {
        v['video_id']: v['annotations']
        for v in json.loads((folder / 'submission' / 'pred.json').read_text())['annotations']
    }
    result = {}
    for length in WINDOWS:
        counts: dict[int, list[float]] = {}
        for name, frames in gt.items():
            for start in range(len(frames) - length + 1):
                add_window(folder, name, frames[start : start + length], pred[name][start : start + length], counts)
        values = [iou / (tp + fp / 2 + fn / 2) for iou, tp, fp, fn in counts.values() if tp + fp + fn]
        result[f'VPQ{length}'] = 100 * float(np.mean(values))
    return result


def read(path: Path) -> np.ndarray:
    """Reads the ids (H, W) of a PNG."""
    rgb = np.asarray(Image.open(path)).astype(np.uint32)
    return rgb[..., 0] + 256 * rgb[..., 1] + 65536 * rgb[..., 2]


def add_window(folder: Path, name: str, truth: list[dict], found: list[dict], counts: dict[int, list[float]]) -> None:
    """Adds the counts of one window.

    Args:
        folder: Folder of the dataset.
        name: Name of the video.
        truth: Ground truth annotations of the frames.
        found: Predicted annotations of the frames.
        counts: Class -> [sum of IoU, true positives, false positives, false negatives]; modified in place.
    """
    maps = [
        np.stack([read(folder / subfolder / name / frame['file_name']) for frame in truth]).astype(np.uint64)
        for subfolder in ('panomasksRGB', 'submission/pan_pred')
    ]
    classes = [
        {s['id']: s['category_id'] for frame in reversed(frames) for s in frame['segments_info']}
        for frames in (truth, found)
    ]
    areas = [dict(zip(*(x.tolist() for x in np.unique(ids, return_counts=True)))) for ids in maps]
    pairs, pair_areas = np.unique(maps[0] * np.uint64(1 << 24) + maps[1], return_counts=True)
    intersections = {(int(pair) >> 24, int(pair) & 0xFFFFFF): int(n) for pair, n in zip(pairs, pair_areas)}
    matched = [set(), set()]
    for (g, p), n in intersections.items():
        if g and p and classes[0][g] == classes[1][p]:
            iou = n / (areas[0][g] + areas[1][p] - n - intersections.get((0, p), 0))
            if iou > 0.5:
                entry = counts.setdefault(classes[0][g], [0.0, 0, 0, 0])
                entry[0], entry[1] = entry[0] + iou, entry[1] + 1
                matched[0].add(g)
                matched[1].add(p)
    for g in set(classes[0]) - matched[0]:
        counts.setdefault(classes[0][g], [0.0, 0, 0, 0])[3] += 1
    for p in set(classes[1]) - matched[1]:
        if not intersections.get((0, p), 0) / areas[1][p] > 0.5:
            counts.setdefault(classes[1][p], [0.0, 0, 0, 0])[2] += 1


def cpu_seconds(run: Callable[[], object]) -> tuple[float, object]:
    """Runs a function and returns the CPU seconds of this process and its result."""
    start = time.process_time()
    result = run()
    return time.process_time() - start, result


def peak_megabytes(*where: Path) -> float:
    """Peak memory in MB of a process that only computes VPQ."""
    code = (
        'import sys; from pathlib import Path; from mmdvis.evaluation.files.scoring import score_vpq; '
        'score_vpq("vipseg", *map(Path, sys.argv[1:])); print(open("/proc/self/status").read())'
    )
    process = subprocess.run([sys.executable, '-c', code, *map(str, where)], check=True, capture_output=True, text=True)
    line = next(line for line in process.stdout.splitlines() if line.startswith('VmHWM'))
    return int(line.split()[1]) / 1024


def main() -> None:
    """Runs the benchmark."""
    args = parse_args()
    frames = args.videos * args.frames
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        digest = write_set(folder, args.videos, args.frames)
        paths = (folder / 'truth.json', folder / 'panomasksRGB', folder / 'submission')
        if (args.videos, args.frames) == (VIDEOS, FRAMES) and digest != DIGEST:
            raise SystemExit(
                f'the random generator of this NumPy version creates other maps: digest {digest}, expected {DIGEST}'
            )
        ours, scores = cpu_seconds(lambda: score_vpq('vipseg', *paths))
        results = dict(
            machine=platform.processor() or platform.machine(),
            frames=frames,
            vpq=ours / frames,
            stq=cpu_seconds(lambda: score_stq('vipseg', *paths))[0] / frames,
            peak_mb=peak_megabytes(*paths),
        )
        print(
            f'VPQ, all windows in one pass: {results["vpq"]:.4f} CPU s/frame; STQ {results["stq"]:.4f}; '
            f'{results["peak_mb"]:.0f} MB'
        )
        if (args.videos, args.frames) == (VIDEOS, FRAMES):
            largest_error = max(abs(100 * scores.figures[window] - value) for window, value in EXPECTED.items())
            print(f'largest difference from the official script: {largest_error:.1e} percentage points')
        if not args.no_baseline:
            baseline, baseline_scores = cpu_seconds(lambda: one_window_at_a_time(folder))
            results.update(baseline=baseline / frames, ratio=baseline / ours)
            largest_difference = max(
                abs(100 * scores.figures[window] - value) for window, value in baseline_scores.items()
            )
            print(
                f'one window at a time: {results["baseline"]:.4f} CPU s/frame, {results["ratio"]:.1f} times as long; '
                f'the scores differ by at most {largest_difference:.1e} percentage points'
            )
        for num_workers in args.workers:
            start = time.perf_counter()
            score_vpq('vipseg', *paths, workers=num_workers)
            results[f'wall_{num_workers}'] = time.perf_counter() - start
            print(f'{num_workers} processes: {results[f"wall_{num_workers}"]:.2f} s')
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))


if __name__ == '__main__':
    main()
