"""CPU time of VPQ and STQ from PNGs at 720p: all windows in one pass, against one window at a time as the public script works."""

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
DIGEST = '814076ee3d02435b244547d667aa0d354f13f9b3c6842b6c75048fec719508fa'  # of the maps of all videos
EXPECTED = {'VPQ1': 73.13121932810681, 'VPQ2': 72.25593212951739, 'VPQ4': 71.4919119022015, 'VPQ6': 70.79215462884484}
WINDOWS = (1, 2, 4, 6)
Video = tuple[np.ndarray, np.ndarray, dict[int, int], dict[int, int]]


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--videos', type=int, default=VIDEOS)
    parser.add_argument('--frames', type=int, default=FRAMES)
    parser.add_argument('--workers', type=int, nargs='*', default=[], help='also wall time with so many processes')
    parser.add_argument('--no-baseline', action='store_true', help='leave out the slow one')
    parser.add_argument('--json', type=Path, help='write the figures to this file')
    return parser.parse_args()


class Draw:
    """Whole numbers in the order in which the recipe draws them."""

    def __init__(self, video: int) -> None:
        self.generator = np.random.Generator(np.random.PCG64([SEED, video]))

    def __call__(self, low: int, high: int) -> int:
        return int(self.generator.integers(low, high))


def inside(shape: dict[str, int], t: int, shift: tuple[int, int] = (0, 0)) -> np.ndarray:
    """Where a moving rectangle or ellipse is at time ``t``, (H, W) bool."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    y = rows - (shape['y'] + shape['vy'] * t + shift[0])
    x = columns - (shape['x'] + shape['vx'] * t + shift[1])
    if shape['is_ellipse']:
        return y * y * shape['rx'] ** 2 + x * x * shape['ry'] ** 2 <= (shape['rx'] * shape['ry']) ** 2
    return (abs(y) <= shape['ry']) & (abs(x) <= shape['rx'])


def make_video(video: int, frames: int) -> Video:
    """Maps (T, H, W) int32 of truth and prediction, and id -> category of both: bands of stuff, 16 things, one void area."""
    draw = Draw(video)
    ids = draw.generator.permutation(2**24 - 1)[:200] + 1
    bands = [(HEIGHT * (i + 1) // 8 + draw(-20, 21), draw(-12, 13)) for i in range(7)]
    truth_classes, guess_classes, things = {}, {}, []
    for i in range(8):
        truth_classes[int(ids[i])] = guess_classes[int(ids[50 + i])] = 8 * i + draw(0, 8)
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
        truth_classes[int(ids[10 + i])] = guess_classes[int(ids[60 + i])] = guess_classes[int(ids[80 + i])] = category
    void = dict(
        y=draw(100, HEIGHT - 100), x=draw(100, WIDTH - 100), vy=draw(-4, 5), vx=draw(-8, 9), ry=70, rx=120, is_ellipse=0
    )
    truth, guess = np.zeros((2, frames, HEIGHT, WIDTH), np.int32)
    for t in range(frames):
        truth[t], guess[t] = ids[0], ids[50]
        for i, (row, shift) in enumerate(bands):
            truth[t, row:], guess[t, row + shift :] = ids[1 + i], ids[51 + i]
        for i, thing in enumerate(things):
            truth[t][inside(thing, t)] = ids[10 + i]
            if not thing['is_missed']:
                guess[t][inside(thing, t, (thing['dy'], thing['dx']))] = ids[(60 if t < thing['switch'] else 80) + i]
        truth[t][inside(void, t)] = 0
    return truth, guess, truth_classes, guess_classes


def write_set(folder: Path, videos: int, frames: int) -> str:
    """Writes the set in VIPSeg's layout; returns the digest of its maps."""
    digest, sides = hashlib.sha256(), (('panomasksRGB', []), ('submission/pan_pred', []))
    for v in range(videos):
        *maps, truth_classes, guess_classes = make_video(v, frames)
        for ids, classes, (place, entries) in zip(maps, (truth_classes, guess_classes), sides):
            digest.update(ids.astype('<i4').tobytes())
            target = folder / place / f'bench_{v}'
            target.mkdir(parents=True)
            entries.append(
                dict(
                    video_id=f'bench_{v}',
                    annotations=[write_frame(target / f'{t:08d}.png', frame, classes) for t, frame in enumerate(ids)],
                )
            )
    categories = [dict(id=c, name=str(c), isthing=int(c >= 66)) for c in range(124)]
    (folder / 'truth.json').write_text(json.dumps(dict(categories=categories, annotations=sides[0][1])))
    (folder / 'submission' / 'pred.json').write_text(json.dumps(dict(annotations=sides[1][1])))
    return digest.hexdigest()


def write_frame(path: Path, ids: np.ndarray, classes: dict[int, int]) -> dict:
    """Writes a PNG; returns its entry in the json."""
    Image.fromarray(id_to_rgb(ids)).save(path)
    sizes = zip(*(x.tolist() for x in np.unique(ids, return_counts=True)))
    return dict(
        file_name=path.name,
        segments_info=[dict(id=i, category_id=classes[i], area=n, iscrowd=0) for i, n in sizes if i],
    )


def one_window_at_a_time(folder: Path) -> dict[str, float]:
    """The baseline: for every window its frames are decoded, stacked and counted with sorts over all pixels, anew."""
    truth = {v['video_id']: v['annotations'] for v in json.loads((folder / 'truth.json').read_text())['annotations']}
    found = {
        v['video_id']: v['annotations']
        for v in json.loads((folder / 'submission' / 'pred.json').read_text())['annotations']
    }
    result = {}
    for length in WINDOWS:
        counts: dict[int, list[float]] = {}
        for name, frames in truth.items():
            for start in range(len(frames) - length + 1):
                add_window(folder, name, frames[start : start + length], found[name][start : start + length], counts)
        values = [iou / (tp + fp / 2 + fn / 2) for iou, tp, fp, fn in counts.values() if tp + fp + fn]
        result[f'VPQ{length}'] = 100 * float(np.mean(values))
    return result


def read(path: Path) -> np.ndarray:
    """Ids (H, W) of a PNG, the plain way."""
    rgb = np.asarray(Image.open(path)).astype(np.uint32)
    return rgb[..., 0] + 256 * rgb[..., 1] + 65536 * rgb[..., 2]


def add_window(folder: Path, name: str, truth: list[dict], found: list[dict], counts: dict[int, list[float]]) -> None:
    """Counts one window: class -> [sum of IoU, found, false, missed]."""
    maps = [
        np.stack([read(folder / place / name / frame['file_name']) for frame in truth]).astype(np.uint64)
        for place in ('panomasksRGB', 'submission/pan_pred')
    ]
    classes = [
        {s['id']: s['category_id'] for frame in reversed(frames) for s in frame['segments_info']}
        for frames in (truth, found)
    ]
    areas = [dict(zip(*(x.tolist() for x in np.unique(ids, return_counts=True)))) for ids in maps]
    pairs, shared = np.unique(maps[0] * np.uint64(1 << 24) + maps[1], return_counts=True)
    joint = {(int(pair) >> 24, int(pair) & 0xFFFFFF): int(n) for pair, n in zip(pairs, shared)}
    matched = [set(), set()]
    for (g, p), n in joint.items():
        if g and p and classes[0][g] == classes[1][p]:
            iou = n / (areas[0][g] + areas[1][p] - n - joint.get((0, p), 0))
            if iou > 0.5:
                entry = counts.setdefault(classes[0][g], [0.0, 0, 0, 0])
                entry[0], entry[1] = entry[0] + iou, entry[1] + 1
                matched[0].add(g)
                matched[1].add(p)
    for g in set(classes[0]) - matched[0]:
        counts.setdefault(classes[0][g], [0.0, 0, 0, 0])[3] += 1
    for p in set(classes[1]) - matched[1]:
        if not joint.get((0, p), 0) / areas[1][p] > 0.5:
            counts.setdefault(classes[1][p], [0.0, 0, 0, 0])[2] += 1


def cpu_seconds(run: Callable[[], object]) -> tuple[float, object]:
    """CPU seconds of this process while it runs, and what it returns."""
    start = time.process_time()
    result = run()
    return time.process_time() - start, result


def peak_megabytes(*where: Path) -> float:
    """Largest memory of a process that does nothing but score."""
    code = (
        'import sys; from pathlib import Path; from mmdvis.evaluation.files.scoring import score_vpq; '
        'score_vpq("vipseg", *map(Path, sys.argv[1:])); print(open("/proc/self/status").read())'
    )
    done = subprocess.run([sys.executable, '-c', code, *map(str, where)], check=True, capture_output=True, text=True)
    line = next(line for line in done.stdout.splitlines() if line.startswith('VmHWM'))
    return int(line.split()[1]) / 1024


def main() -> None:
    """Makes the set, times both, and prints seconds a frame and their ratio."""
    args = parse_args()
    frames = args.videos * args.frames
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        digest = write_set(folder, args.videos, args.frames)
        where = (folder / 'truth.json', folder / 'panomasksRGB', folder / 'submission')
        if (args.videos, args.frames) == (VIDEOS, FRAMES) and digest != DIGEST:
            raise SystemExit(f'the generator of this NumPy draws otherwise: digest {digest}, expected {DIGEST}')
        ours, scores = cpu_seconds(lambda: score_vpq('vipseg', *where))
        figures = dict(
            machine=platform.processor() or platform.machine(),
            frames=frames,
            vpq=ours / frames,
            stq=cpu_seconds(lambda: score_stq('vipseg', *where))[0] / frames,
            peak_mb=peak_megabytes(*where),
        )
        print(
            f'VPQ of all windows in one pass: {figures["vpq"]:.4f} CPU s/frame; STQ {figures["stq"]:.4f}; '
            f'{figures["peak_mb"]:.0f} MB'
        )
        if (args.videos, args.frames) == (VIDEOS, FRAMES):
            worst = max(abs(100 * scores.figures[window] - value) for window, value in EXPECTED.items())
            print(f'largest difference from the figures of the official script: {worst:.1e} percent')
        if not args.no_baseline:
            plain, found = cpu_seconds(lambda: one_window_at_a_time(folder))
            figures.update(baseline=plain / frames, ratio=plain / ours)
            agree = max(abs(100 * scores.figures[window] - value) for window, value in found.items())
            print(
                f'one window at a time: {figures["baseline"]:.4f} CPU s/frame, {figures["ratio"]:.1f} times as long; '
                f'the figures differ by {agree:.1e} percent'
            )
        for number in args.workers:
            start = time.perf_counter()
            score_vpq('vipseg', *where, workers=number)
            figures[f'wall_{number}'] = time.perf_counter() - start
            print(f'{number} processes: {figures[f"wall_{number}"]:.2f} s')
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1))


if __name__ == '__main__':
    main()
