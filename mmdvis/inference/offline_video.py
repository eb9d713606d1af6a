"""Offline segmentation of whole videos of any length: masks are made frame by frame once all queries are known."""

import logging
import shutil
import tempfile
from collections.abc import Iterator

import numpy as np
import torch
from tqdm import tqdm

from mmdvis.checks import check_choice
from mmdvis.errors import DataError, OptionError
from mmdvis.io import CountedFrames, CutDetector, FramesFrom, LiveFrames, MemoryNeed, read_clips, split_at_cuts
from mmdvis.models.detectors import DVIS
from mmdvis.models.detectors.chain import is_stateful, keeps_compact
from mmdvis.results import FrameResult, VideoResult, shift_ids
from mmdvis.structures import FrameSource

from .video_stream import ON_CUT, processed_frames

LOGGER = logging.getLogger('mmdvis')


def memory_need(model: DVIS, source: FrameSource) -> MemoryNeed:
    """Memory that each frame of a video requires, at the size that the model processes.

    Raises:
        OptionError: The model is an exported one, or has no segmenter with queries.
    """
    segmenter = getattr(model, 'segmenter', None)
    if segmenter is None or not hasattr(segmenter, 'query_feat'):
        raise OptionError(
            'max_memory requires a model with queries in PyTorch, such as MinVIS or DVIS, because the memory of others '
            'and of exported models is not known in advance; leave out max_memory'
        )
    num_queries, channels = segmenter.query_feat.weight.shape
    width = model.tracker.decoder_norm.weight.numel() if hasattr(model.tracker, 'decoder_norm') else channels
    masks = segmenter.mask_channels
    height, length = model.data_preprocessor.padded(source.size)
    item = 4 if model.options.precision == 'fp32' else 2  # bytes per number of a matrix product
    queries = num_queries * (4 * 5 * width + item * (2 * masks + model.num_classes + 1))
    stride = segmenter.compact_stride if keeps_compact(model) else 4
    return MemoryNeed(
        queries, 2 * masks * (height // stride) * (length // stride), source.original[0] * source.original[1]
    )


class OfflineVideo:
    """Segments whole videos; a refiner processes all frames of a video together.

    Args:
        model: Model with a postprocessor and without causal scores.
        short_edge: Short edge of the frames that the model processes, in pixels; None keeps the size.
        max_edge: Limit of the long edge, in pixels.
        max_memory: Number of bytes that a video may add to the memory; it determines the storage of the mask features.
            None keeps them in memory in half precision.
        progress: Whether to show a progress bar while the video is segmented and tracked.
        store: Storage of the mask features, see :func:`feature_store`; None selects it by ``max_memory``.
        on_cut: Whether :meth:`frames` lets identities ``'continue'`` after a cut to another scene, or ``'reset'``
            segments each scene as a video of its own, with new ids.

    Attributes:
        cuts: Frames that begin a new scene, of the video that :meth:`frames` read.

    Raises:
        ValueError: If the model is causal.
    """

    def __init__(
        self,
        model: DVIS,
        short_edge: int | None = None,
        max_edge: int | None = None,
        max_memory: int | None = None,
        progress: bool = True,
        store: str | None = None,
        on_cut: str = 'continue',
    ) -> None:
        if model.options.causal:
            raise ValueError('offline mode uses the whole video, so the model must not be causal; set causal=False')
        self.model, self.short_edge, self.max_edge = model, short_edge, max_edge
        check_choice('on_cut', on_cut, ON_CUT)
        self.max_memory, self.progress, self.store = max_memory, progress, store
        self.on_cut = on_cut
        self.cuts: list[int] = []

    @torch.no_grad()
    def result(self, source: FrameSource) -> VideoResult:
        """Result of a whole video.

        Raises:
            ValueError: If the queries alone exceed ``max_memory``.
        """
        resized = processed_frames(self.model, source, self.short_edge, self.max_edge)
        store = self.choose_store(resized)
        with tqdm(total=len(source), unit='frame', desc='tracking', disable=not self.progress) as bar:
            ((_, prediction),) = self.model.predictions([CountedFrames(resized, bar)], store)
        return self.model.result(prediction)

    def frames(self, source: FrameSource | LiveFrames) -> Iterator[tuple[np.ndarray, FrameResult]]:
        """Segments a video, which is read two or three times, and once more to find cuts if ``on_cut`` is ``'reset'``.

        Args:
            source: Video to segment.

        Raises:
            DataError: The source is live.

        Yields:
            Image (H, W, 3) uint8 RGB and result of every frame.
        """
        if isinstance(source, LiveFrames):
            raise DataError(f'{source.describe()} has no known end, so it cannot be processed offline; do not set it')
        detector = CutDetector()
        self.cuts, is_divided = detector.cuts, self.on_cut == 'reset'
        if is_divided:
            for _ in split_at_cuts(read_clips(source, 1), detector):
                pass
        starts = [0, *(self.cuts if is_divided else ()), len(source)]
        if is_divided:  # too little memory is an error before the first scene
            longest = max((FramesFrom(source, *scene) for scene in zip(starts, starts[1:])), key=len)
            self.choose_store(processed_frames(self.model, longest, self.short_edge, self.max_edge))
        largest = 0
        for start, stop in zip(starts, starts[1:]):
            scene, offset = FramesFrom(source, start, stop), largest
            result = self.result(scene)
            for t in range(len(scene)):
                shifted = shift_ids(result.frame(t), offset)
                largest = max([largest, *(segment.id for segment in shifted.objects)])
                image = scene.read(t, t + 1)[0].permute(1, 2, 0).numpy()
                if not is_divided:
                    detector.push(image)
                yield image, shifted

    def choose_store(self, source: FrameSource) -> str:
        """Selects and logs the storage of the mask features."""
        if self.store is not None or self.max_memory is None:
            return self.store or 'memory'
        need, length = memory_need(self.model, source), len(source)
        free = shutil.disk_usage(tempfile.gettempdir()).free
        store = need.choose(length, self.max_memory, free, not is_stateful(self.model.segmenter))
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
