"""Reference implementations of J, mIoU, VC8 and VC16 that read saved results, independent of ``mmdvis.evaluation``."""

import json
from collections import defaultdict

import numpy as np
from PIL import Image
from pycocotools import mask as coco

NUM_CLASSES = 11  # of CamVid; this value is void


def read(path):
    with Image.open(path) as image:
        return np.array(image).astype(int)


def davis_figures(results, annotations, sequences):
    """Computes J mean and J recall for one object per sequence, from ``results.json`` and the annotated masks."""
    tracks = json.loads(results.read_text())
    means, recalls = [], []
    for name in sequences:
        of_video = [track for track in tracks if str(track['video_id']) == name]
        best = max(of_video, key=lambda track: track['score'], default=None)
        kept = [track for track in of_video if track['score'] >= 0.5] or [best]
        values = []
        for t, path in enumerate(sorted((annotations / name).glob('*.png'))):
            gt = read(path) > 0
            prediction = np.zeros(gt.shape, bool)
            for track in kept:
                code = track['segmentations'][t]
                if code is not None:
                    counts = dict(size=code['size'], counts=code['counts'].encode())
                    prediction |= coco.decode(counts).astype(bool)
            intersection, union = int(np.sum(gt & prediction)), int(np.sum(gt | prediction))
            values.append(intersection / union if union else 1.0)
        means.append(sum(values) / len(values))
        recalls.append(sum(value > 0.5 for value in values) / len(values))
    return dict(J_mean=sum(means) / len(means), J_recall=sum(recalls) / len(recalls))


def consistent_shares(gt, prediction, length):
    """For each window, computes the fraction of pixels with constant ground truth whose prediction is always correct.

    As in the scripts of VSPW, void counts as a class, and the last window of a video is left out.
    """
    shares = []
    for start in range(len(gt) - length):
        gt_stable, both_stable = np.ones(gt[0].shape, bool), np.ones(gt[0].shape, bool)
        for t in range(start + 1, start + length):
            gt_stable &= gt[t] == gt[start]
            both_stable &= (gt[t] == gt[start]) & (prediction[t] == prediction[start])
        if gt_stable.any():
            shares.append(np.sum(both_stable) / np.sum(gt_stable))
    return shares


def camvid_figures(results, annotations, videos):
    """Computes mIoU, VC8 and VC16 from saved label maps; ``videos`` maps each video to the stems of its frames.

    If all videos are shorter than the windows of VC16, it is left out.
    """
    intersection, union, shares = defaultdict(int), defaultdict(int), {8: [], 16: []}
    classes = set()
    for name, frames in videos.items():
        gt = [read(annotations / f'{frame}.png') for frame in frames]
        prediction = [read(results / name / f'{frame}.png') for frame in frames]
        for true, label in zip(gt, prediction):
            classes |= set(np.unique(true[true < NUM_CLASSES]))
            for c in range(NUM_CLASSES):
                intersection[c] += int(np.sum((true == c) & (label == c)))
                union[c] += int(np.sum(((true == c) | (label == c)) & (true != NUM_CLASSES)))
        for length, values in shares.items():
            values += consistent_shares(gt, prediction, length)
    ious = [intersection[c] / union[c] for c in sorted(classes)]
    consistency = {f'VC{length}': sum(values) / len(values) for length, values in shares.items() if values}
    return dict(mIoU=sum(ious) / len(ious), **consistency)
