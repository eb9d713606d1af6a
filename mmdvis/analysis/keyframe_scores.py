"""Scores and speed of a stream that runs the model on keyframes only."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import Evaluator

from mmdvis.inference import KeyframeStream, VideoStream
from mmdvis.inference.keyframes import CONFIDENT
from mmdvis.io import original_frames
from mmdvis.models.detectors import DVIS
from mmdvis.results import (
    ClassInfo,
    FrameResult,
    VideoInstances,
    VideoPanoptic,
    VideoResult,
    VideoSemantic,
    encode_mask,
)
from mmdvis.structures import Segment


def video_result(results: Sequence[FrameResult], classes: ClassInfo) -> VideoResult:
    """The result of a video from those of its frames, at least one."""
    if results[0].label_map is not None:
        return VideoSemantic(torch.from_numpy(np.stack([result.label_map for result in results])), classes)
    if results[0].id_map is not None:
        by_frame = tuple(
            tuple(Segment(s.id, s.id - 1, s.label, s.is_thing, s.score or 0.0) for s in result.objects)
            for result in results
        )
        latest = {segment.id: segment for segments in by_frame for segment in segments}
        maps = torch.from_numpy(np.stack([result.id_map for result in results]))
        return VideoPanoptic(maps, tuple(latest.values()), classes, by_frame)
    latest = {segment.id: segment for result in results for segment in result.objects}
    ranked = sorted(latest.values(), key=lambda segment: -(segment.score or 0.0))
    empty = encode_mask(np.zeros(results[0].image_size, bool))
    masks = [
        [next((encode_mask(s.mask) for s in result.objects if s.id == track.id), empty) for result in results]
        for track in ranked
    ]
    return VideoInstances(
        torch.tensor([segment.score or 0.0 for segment in ranked]),
        torch.tensor([segment.label for segment in ranked], dtype=torch.int64),
        torch.tensor([segment.id for segment in ranked], dtype=torch.int64),
        masks,
        classes,
        len(results),
        results[0].image_size,
    )


def keyframe_scores(
    model: DVIS,
    dataset: Sequence[dict[str, Any]],
    evaluator: Evaluator,
    distance: int,
    short_edge: int | None = None,
    confidence: float = CONFIDENT,
    watch: Callable = iter,
) -> dict[str, float]:
    """Metrics of a dataset, frames per second, and the share of the frames that the model processed.

    Args:
        model: Model with a postprocessor.
        dataset: Test set.
        evaluator: Metrics.
        distance: Distance of the keyframes.
        short_edge: Short edge of the frames that the model processes, in pixels; None keeps the size.
        confidence: See :class:`KeyframeStream`.
        watch: Wraps the indices of the videos; can display progress.
    """
    seconds, num_frames, num_keys = 0.0, 0, 0
    for index in watch(range(len(dataset))):
        item = dataset[index]
        stream = KeyframeStream(VideoStream(model, short_edge), distance, confidence)
        start = time.perf_counter()
        results = [result for _, result in stream.frames(original_frames(item['inputs']))]
        seconds += time.perf_counter() - start
        num_frames, num_keys = num_frames + len(results), num_keys + len(stream.processed)
        sample = video_result(results, model.classes).pack(item['data_samples'])
        evaluator.process([sample])
    metrics = evaluator.evaluate(len(dataset))
    return {**metrics, 'frames_per_second': num_frames / seconds, 'keyframes': num_keys / num_frames}
