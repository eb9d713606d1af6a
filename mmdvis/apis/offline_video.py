"""Offline segmentation of whole videos of any length: masks are made frame by frame once all queries are known."""

import logging
import shutil
import tempfile
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from mmdvis.io import MemoryNeed, transform_frames
from mmdvis.io.frame_views import FrameView
from mmdvis.models.detectors import DVIS
from mmdvis.structures import FrameResult, FrameSource, VideoResult

LOGGER = logging.getLogger('mmdvis')


def memory_need(model: DVIS, source: FrameSource) -> MemoryNeed:
    """The memory that one frame of a video adds, at the size that the model processes."""
    segmenter = model.segmenter
    num_queries, channels = segmenter.query_feat.weight.shape
    width = model.tracker.decoder_norm.weight.numel() if hasattr(model.tracker, 'decoder_norm') else channels
    masks = segmenter.mask_channels
    height, length = model.data_preprocessor.padded(source.size)
    item = 4 if model.options.precision == 'fp32' else 2  # bytes per number of a matrix product
    queries = num_queries * (4 * 5 * width + item * (2 * masks + model.num_classes + 1))
    return MemoryNeed(queries, 2 * masks * (height // 4) * (length // 4), source.original[0] * source.original[1])


class CountedFrames(FrameView):
    """A source that advances a progress bar as it is read."""

    def __init__(self, source: FrameSource, bar: tqdm) -> None:
        super().__init__(source)
        self.bar = bar

    def read(self, start: int, stop: int) -> Tensor:
        """Frames [start, stop) as uint8 (t, 3, H, W)."""
        self.bar.update(stop - start)
        return self.source.read(start, stop)


class OfflineVideo:
    """Segments whole videos; a refiner processes all frames of a video together.

    Args:
        model: a model with a postprocessor, whose scores are not causal.
        short_edge: length of the short edge that the model processes; None keeps the size.
        max_edge: limit of the long edge.
        max_memory: number of bytes that a video may add to the memory; determines where mask features are kept.
            None: in half precision in memory.
        progress: show a progress bar for the pass that segments and tracks.
        store: where mask features are kept, see :func:`feature_store`; None: determined by ``max_memory``.
    """

    def __init__(
        self,
        model: DVIS,
        short_edge: int | None = None,
        max_edge: int | None = None,
        max_memory: int | None = None,
        progress: bool = True,
        store: str | None = None,
    ) -> None:
        if model.options.causal:
            raise ValueError('an offline video is scored as a whole, so the model must not be causal; set causal=False')
        self.model, self.short_edge, self.max_edge = model, short_edge, max_edge
        self.max_memory, self.progress, self.store = max_memory, progress, store

    @torch.no_grad()
    def result(self, source: FrameSource) -> VideoResult:
        """The result of a whole video.

        Raises:
            ValueError: the queries alone exceed ``max_memory``.
        """
        resized = transform_frames(source, self.short_edge, self.max_edge)
        store = self.choose_store(resized)
        with tqdm(total=len(source), unit='frame', desc='tracking', disable=not self.progress) as bar:
            ((_, prediction),) = self.model.predictions([CountedFrames(resized, bar)], store)
        return self.model.result(prediction)

    def frames(self, source: FrameSource) -> Iterator[tuple[np.ndarray, FrameResult]]:
        """Yields the picture (H, W, 3) uint8 RGB and the result of every frame. Reads the video two or three times."""
        result = self.result(source)
        for t in range(len(source)):
            yield source.read(t, t + 1)[0].permute(1, 2, 0).numpy(), result.frame(t)

    def choose_store(self, source: FrameSource) -> str:
        """Where mask features are kept, by ``max_memory``; the decision is logged."""
        if self.store is not None or self.max_memory is None:
            return self.store or 'memory'
        need, length = memory_need(self.model, source), len(source)
        store = need.choose(length, self.max_memory, shutil.disk_usage(tempfile.gettempdir()).free)
        LOGGER.info(
            '%d frames x (%d bytes of queries + %d of mask features): %.0f + %.0f MB, %.0f allowed; features: %s',
            length,
            need.queries,
            need.features,
            *(length * x / 2**20 for x in (need.queries, need.features)),
            self.max_memory / 2**20,
            store,
        )
        return store
