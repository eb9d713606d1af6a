"""Oracle substitutions for tracks: results in which one kind of error is replaced by the ground truth."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from pycocotools import mask as coco_mask

from .vis_ap import run_length, track_ious

MATCH_IOU = 0.5  # a mask or a track matches another one above it


@dataclass(frozen=True, eq=False)
class TracksOfVideo:
    """Predicted and ground-truth tracks of a video, with masks in the compressed form of pycocotools.

    Attributes:
        found: Predicted tracks: ``category_id``, ``score`` and ``segmentations``.
        truths: Ground-truth tracks that are no crowds, in the same form.
    """

    found: tuple[dict, ...]
    truths: tuple[dict, ...]

    @classmethod
    def of(cls, found: Sequence[dict], truths: Sequence[dict], size: tuple[int, int]) -> 'TracksOfVideo':
        """Tracks from results and annotations of a video of ``size`` (height, width)."""

        def packed(tracks: Sequence[dict]) -> tuple[dict, ...]:
            return tuple(dict(t, segmentations=[run_length(m, size) for m in t['segmentations']]) for t in tracks)

        return cls(packed(found), packed([truth for truth in truths if not truth.get('iscrowd', 0)]))

    def matched_by_frame(self) -> np.ndarray:
        """Index (D, T) of the ground-truth track that each mask matches; -1 for none.

        If a mask matches none, or there is no mask, it is -1. A mask that matches several matches the best one.
        """
        frames = max((len(track['segmentations']) for track in (*self.truths, *self.found)), default=0)
        matched = np.full((len(self.found), frames), -1)
        for t in range(frames):
            sides = [
                [(k, track['segmentations'][t]) for k, track in enumerate(tracks) if track['segmentations'][t]]
                for tracks in (self.found, self.truths)
            ]
            if not (sides[0] and sides[1]):
                continue
            iou = coco_mask.iou([m for _, m in sides[0]], [m for _, m in sides[1]], [0] * len(sides[1]))
            best = iou.argmax(1)
            for row, (k, _) in enumerate(sides[0]):
                if iou[row, best[row]] > MATCH_IOU:
                    matched[k, t] = sides[1][best[row]][0]
        return matched

    def followed(self, matched: np.ndarray) -> list[int]:
        """Ground-truth track that each predicted track matches in most frames; -1 for none."""
        return [int(np.bincount(row[row >= 0]).argmax()) if (row >= 0).any() else -1 for row in matched]

    def ious(self) -> np.ndarray:
        """IoU (D, G) of whole tracks."""
        return track_ious(*([track['segmentations'] for track in tracks] for tracks in (self.found, self.truths)))

    def pairs(self) -> dict[int, int]:
        """Predicted track -> ground-truth track of the same class with an IoU above 0.5, by descending score."""
        iou, pairs = self.ious(), {}
        for k in sorted(range(len(self.found)), key=lambda k: -self.found[k]['score']):
            free = [
                g
                for g, truth in enumerate(self.truths)
                if g not in pairs.values()
                and truth['category_id'] == self.found[k]['category_id']
                and iou[k, g] > MATCH_IOU
            ]
            if free:
                pairs[k] = max(free, key=lambda g: iou[k, g])
        return pairs


def with_true_classes(video: TracksOfVideo) -> list[dict]:
    """Tracks get the class of the ground-truth track that they match in most frames."""
    followed = video.followed(video.matched_by_frame())
    return [
        dict(track, category_id=video.truths[g]['category_id']) if g >= 0 else track
        for track, g in zip(video.found, followed)
    ]


def with_true_identities(video: TracksOfVideo) -> list[dict]:
    """Where a track follows another object than in most frames, it gets a predicted mask of its own object, or none."""
    matched = video.matched_by_frame()
    changed = []
    for k, (track, g) in enumerate(zip(video.found, video.followed(matched))):
        masks = list(track['segmentations'])
        for t in np.flatnonzero((matched[k] >= 0) & (matched[k] != g)):
            others = np.flatnonzero(matched[:, t] == g)
            best = max(others, key=lambda j: video.found[j]['score'], default=None)
            masks[t] = None if best is None else video.found[best]['segmentations'][t]
        changed.append(dict(track, segmentations=masks))
    return changed


def with_true_masks(video: TracksOfVideo) -> list[dict]:
    """Masks that match one of the ground truth (IoU above 0.5) are replaced by it."""
    matched = video.matched_by_frame()
    return [
        dict(
            track,
            segmentations=[
                mask if g < 0 else video.truths[g]['segmentations'][t]
                for t, (mask, g) in enumerate(zip(track['segmentations'], row, strict=True))
            ],
        )
        for track, row in zip(video.found, matched)
    ]


def with_missed(video: TracksOfVideo) -> list[dict]:
    """Frames in which a track misses its object get the true mask, and ground-truth tracks without one are added."""
    matched = video.matched_by_frame()
    filled = []
    for track, row, g in zip(video.found, matched, video.followed(matched)):
        true = video.truths[g]['segmentations'] if g >= 0 else [None] * len(track['segmentations'])
        is_missed = [k < 0 and mask is not None for k, mask in zip(row, true, strict=True)]
        rows = zip(track['segmentations'], true, is_missed, strict=True)
        masks = [other if missed else mask for mask, other, missed in rows]
        filled.append(dict(track, segmentations=masks))
    known = set(TracksOfVideo(tuple(filled), video.truths).pairs().values())
    added = [
        dict(category_id=truth['category_id'], score=1.0, segmentations=truth['segmentations'])
        for g, truth in enumerate(video.truths)
        if g not in known
    ]
    return filled + added


def without_false(video: TracksOfVideo) -> list[dict]:
    """Tracks without a ground-truth track of their class (IoU above 0.5), and repeated ones, are removed."""
    pairs = video.pairs()
    return [track for k, track in enumerate(video.found) if k in pairs]


SUBSTITUTIONS: dict[str, Callable[[TracksOfVideo], list[dict]]] = dict(
    classes=with_true_classes,
    association=with_true_identities,
    masks=with_true_masks,
    missed=with_missed,
    false=without_false,
)


def substituted(
    found: Sequence[dict], truths: Sequence[dict], parts: Sequence[str], size: tuple[int, int]
) -> list[dict]:
    """Predicted tracks of a video with the errors of some kinds replaced, one kind after the other.

    Args:
        found: Predicted tracks.
        truths: Ground-truth tracks.
        parts: Keys of ``SUBSTITUTIONS``.
        size: (height, width) of the video.
    """
    video = TracksOfVideo.of(found, truths, size)
    for part in parts:
        video = TracksOfVideo(tuple(SUBSTITUTIONS[part](video)), video.truths)
    return list(video.found)
