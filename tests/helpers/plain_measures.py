"""Figures of DAVIS and CamVid computed from saved results in plain loops, without any code of the metrics."""

import json
from collections import defaultdict

import numpy as np
from PIL import Image
from pycocotools import mask as coco

VOID = 11  # of CamVid


def read(path):
    with Image.open(path) as image:
        return np.array(image).astype(int)


def davis_figures(results, annotations, sequences):
    """J mean and J recall of one object a sequence, from ``results.json`` and the folders of masks."""
    tracks = json.loads(results.read_text())
    means, recalls = [], []
    for name in sequences:
        own = sorted((track for track in tracks if str(track['video_id']) == name), key=lambda track: -track['score'])
        kept = [track for track in own if track['score'] >= 0.5] or own[:1]
        values = []
        for t, path in enumerate(sorted((annotations / name).glob('*.png'))):
            truth = read(path) > 0
            found = np.zeros(truth.shape, bool)
            for track in kept:
                code = track['segmentations'][t]
                if code is not None:
                    found |= coco.decode(dict(size=code['size'], counts=code['counts'].encode())).astype(bool)
            inside, around = int(np.sum(truth & found)), int(np.sum(truth | found))
            values.append(inside / around if around else 1.0)
        means.append(sum(values) / len(values))
        recalls.append(sum(value > 0.5 for value in values) / len(values))
    return dict(J_mean=sum(means) / len(means), J_recall=sum(recalls) / len(recalls))


def camvid_figures(results, annotations, videos):
    """mIoU and VC8 from saved label maps; ``videos``: name -> stems of its frames.

    As in the scripts of VSPW, a pixel is consistent if its label is the same in all 8 frames, void is a class in this,
    and the last window of a video is left out.
    """
    inside, around, shares = defaultdict(int), defaultdict(int), []
    present = set()
    for name, frames in videos.items():
        truth = [read(annotations / f'{frame}.png') for frame in frames]
        found = [read(results / name / f'{frame}.png') for frame in frames]
        for true, label in zip(truth, found):
            present |= set(np.unique(true[true < VOID]))
            for c in range(VOID):
                inside[c] += int(np.sum((true == c) & (label == c)))
                around[c] += int(np.sum(((true == c) | (label == c)) & (true != VOID)))
        for start in range(len(frames) - 8):
            same, both = np.ones(truth[0].shape, bool), np.ones(truth[0].shape, bool)
            for t in range(start + 1, start + 8):
                same &= truth[t] == truth[start]
                both &= (truth[t] == truth[start]) & (found[t] == found[start])
            if same.any():
                shares.append(np.sum(both) / np.sum(same))
    ious = [inside[c] / around[c] for c in sorted(present)]
    return dict(mIoU=sum(ious) / len(ious), VC8=sum(shares) / len(shares))
