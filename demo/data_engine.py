"""The loop of a data engine on synthetic videos: segment, correct wrong identities, train on them, segment again.

A held-out video in which the online model exchanges identities is segmented, and the result is exported for a labelling
tool. The ground truth then takes the place of an annotator, who gives every object one number in all frames, and adds
or redraws masks that do not overlap their object by half. The tracker is trained on the corrected video, mixed with
videos that the model was trained on, and all held-out videos are scored again. All steps are commands of ``mmdvis``.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from prettytable import PrettyTable, TableStyle
from pycocotools import mask as coco_mask

from mmdvis.analysis.error_analysis import analyse
from mmdvis.checkpoints.zoo import find_entry
from mmdvis.evaluation.files.panoptic_files import read_vipseg
from mmdvis.evaluation.files.scoring import score_stq
from mmdvis.io import write_json
from mmdvis.result_files import PanopticGroundTruth
from mmdvis.result_files.label_export import uncompressed
from mmdvis.results import SegmentedObject

MODEL = 'dvis-online_toy'
CONFIG = 'dvis-online_r18_1xb4-t10_toy.py'
MIN_IOU = 0.5


def parse_args() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--work-dir', type=Path, default=Path('work_dirs/data_engine'), help='output folder, new or empty'
    )
    parser.add_argument('--seed', type=int, default=11, help='random seed of the videos (default: %(default)s)')
    parser.add_argument('--videos', type=int, default=24, help='number of held-out videos (default: %(default)s)')
    parser.add_argument('--iters', type=int, default=400, help='iterations of the tracker (default: %(default)s)')
    return parser.parse_args()


def mmdvis(folder: Path, *words: object) -> None:
    """Runs a command of mmdvis in a folder, and prints it.

    Raises:
        SystemExit: The command fails.
    """
    line = [str(word) for word in words]
    print(f'$ mmdvis {" ".join(line)}', flush=True)
    environment = dict(os.environ, TOY_DATA='toy')
    if subprocess.run([sys.executable, '-m', 'mmdvis', *line], cwd=folder, env=environment).returncode:
        raise SystemExit('the command above failed')


@dataclass(frozen=True)
class Score:
    """Scores of a video: VPQ and AQ (the accuracy of association of STQ) in [0, 1], and number of identity switches."""

    vpq: float
    aq: float
    switches: int


def scores(folder: Path, weights: object, name: str) -> dict[str, Score]:
    """Scores of each held-out video."""
    mmdvis(folder, 'test', 'online.py', weights, '--format-only', name)
    where = folder / 'toy' / 'panoptic_gt_VIPSeg_val.json', folder / 'toy' / 'panomasksRGB', folder / name
    association = score_stq('vipseg', *where).per_video
    return {
        video: Score(result.vpq, association[video]['AQ_corrected'], result.errors.switches)
        for video, result in analyse('vipseg', read_vipseg(*where)).items()
    }


def correct(annotations: Path, truth: PanopticGroundTruth) -> dict[str, int]:
    """Corrects the things of an exported file, as an annotator would.

    Args:
        annotations: COCO file, which is changed.
        truth: Ground truth of the video.

    Returns:
        Numbers of changed identities, added or redrawn masks, and removed masks.
    """
    content = json.loads(annotations.read_text())
    categories = {entry['name']: entry['id'] for entry in content['categories']}
    things = {name for name, is_thing in zip(truth.classes.names, truth.classes.is_thing) if is_thing}
    names = {number: name for name, number in categories.items()}
    numbers: dict[int, int] = {}  # object of the ground truth -> its number
    kept, counts = [], dict(identities=0, masks=0, removed=0)
    unused = itertools.count(1 + max(entry['attributes']['track_id'] for entry in content['annotations']))
    for t in range(len(truth)):
        entries = [entry for entry in content['annotations'] if entry['image_id'] == t + 1]
        found = [entry for entry in entries if names[entry['category_id']] in things]
        kept += [entry for entry in entries if names[entry['category_id']] not in things]
        for segment in (segment for segment in truth[t].objects if segment.is_thing):
            entry = next((entry for entry in found if overlap(entry, segment) > MIN_IOU), None)
            if entry is None:
                entry = dict(image_id=t + 1, iscrowd=1, attributes=dict(track_id=None))
                entry['segmentation'] = uncompressed(segment.mask)
                counts['masks'] += 1
            else:
                found.remove(entry)
            if segment.id not in numbers:
                number = entry['attributes']['track_id']
                is_taken = number is None or number in numbers.values()  # by an object that it was exchanged with
                numbers[segment.id] = next(unused) if is_taken else number
            number = numbers[segment.id]
            counts['identities'] += entry['attributes']['track_id'] not in (None, number)
            entry.update(category_id=categories[segment.name], attributes=dict(track_id=number))
            kept.append(entry)
        counts['removed'] += len(found)
    write_json(annotations, dict(content, annotations=[dict(entry, id=k) for k, entry in enumerate(kept, 1)]))
    return counts


def overlap(entry: dict, segment: SegmentedObject) -> float:
    """IoU of an exported object and one of the ground truth."""
    code = entry['segmentation']
    mask = coco_mask.decode(coco_mask.frPyObjects(code, *code['size'])).astype(bool)
    return float((mask & segment.mask).sum() / (mask | segment.mask).sum())


def main() -> None:
    """Runs the loop and prints the scores before and after it."""
    args = parse_args()
    folder = args.work_dir.resolve()
    if folder.exists() and any(folder.iterdir()):
        raise SystemExit(f'{folder} is not empty; name a new folder with --work-dir')
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'online.py').write_text(f"_base_ = 'mmdvis::toy/{CONFIG}'\n")
    weights = find_entry(MODEL).find_weights()
    numbers = ['--num-train', 1, '--num-val', args.videos, '--seed', args.seed]
    mmdvis(folder, 'data', 'convert', 'toy', 'toy', *numbers)
    before = scores(folder, weights, 'before')
    video = max(before, key=lambda name: before[name].switches)
    source = f'toy/images/{video}'
    mmdvis(folder, 'run', source, '--model', MODEL, '--out', 'results', '--save', 'json', 'masks', 'html')
    mmdvis(folder, 'data', 'export', f'results/{video}', 'labels', '--to', 'coco', '--frames', source)
    truth = PanopticGroundTruth(folder / 'toy' / 'panoptic_gt_VIPSeg_val.json', video)
    counts = correct(folder / 'labels' / 'annotations' / 'instances_default.json', truth)
    print(f'{video}: {before[video].switches} identity switches; corrected: {counts}')
    classes = f'results/{video}/result.json'
    mmdvis(folder, 'data', 'convert', 'labels', 'labels', 'corrected', '--from', 'coco', '--classes', classes)
    mmdvis(folder, 'data', 'convert', 'toy', 'known', '--num-train', 60, '--num-val', 1, '--seed', 0)
    options = ['--stages', 'tracker', '--iters', args.iters, '--batch-size', 6, '-o', 'corrected.py']
    mmdvis(folder, 'data', 'init', 'corrected', 'known', '--model', MODEL, *options)
    mmdvis(folder, 'train', 'corrected.py', '--cfg-options', 'custom_hooks.2.patience=100')
    trained = f'work_dirs/corrected/iter_{args.iters}.pth'
    after = scores(folder, trained, 'after')
    others = [name for name in before if name != video]
    means = [sum(found[name].vpq for name in others) / len(others) for found in (before, after)]
    table = PrettyTable(['', 'before', 'after'])
    table.set_style(TableStyle.MARKDOWN)
    table.add_row([f'identity switches, {video}', *(found[video].switches for found in (before, after))])
    table.add_row([f'AQ, {video}', *(f'{100 * found[video].aq:.1f}' for found in (before, after))])
    table.add_row([f'VPQ, {video}', *(f'{100 * found[video].vpq:.1f}' for found in (before, after))])
    table.add_row([f'VPQ, mean of the {len(others)} other videos', *(f'{100 * value:.1f}' for value in means)])
    switches = [sum(found[name].switches for name in others) for found in (before, after)]
    table.add_row(['identity switches, other videos', *switches])
    print(table)
    names = ('before', 'after')
    rows = {row[0]: dict(zip(names, row[1:])) for row in table.rows}
    write_json(folder / 'summary.json', dict(video=video, corrected=counts, rows=rows))


if __name__ == '__main__':
    main()
