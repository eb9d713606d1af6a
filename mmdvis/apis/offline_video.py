"""A whole video at once, as long as it may be: its masks are made frame by frame when all its queries are known."""

import logging
import shutil
import tempfile
from collections.abc import Iterator

from torch import Tensor
from tqdm import tqdm

from mmdvis.io import MemoryNeed, transform_frames
from mmdvis.io.frame_views import FrameView
from mmdvis.models.detectors import DVIS
from mmdvis.structures import FrameSource

from .video_stream import Frame

LOGGER = logging.getLogger('mmdvis')


def memory_need(model: DVIS, source: FrameSource) -> MemoryNeed:
    """What a frame of a video, at the size that the model sees, adds to the memory."""
    segmenter = model.segmenter
    slots, channels = segmenter.query_feat.weight.shape
    width = model.tracker.decoder_norm.weight.numel() if hasattr(model.tracker, 'decoder_norm') else channels
    masks = segmenter.pixel_decoder.mask_feature.out_channels
    height, length = model.data_preprocessor.padded(source.size)
    product = 4 if model.precision == 'fp32' else 2  # bytes of what comes right from a product
    queries = slots * (4 * 5 * width + product * (2 * masks + segmenter.cls_embed.out_features))
    return MemoryNeed(queries, 2 * masks * (height // 4) * (length // 4), source.original[0] * source.original[1])


class CountedFrames(FrameView):
    """A source that moves a progress bar as it is read."""

    def __init__(self, source: FrameSource, bar: tqdm) -> None:
        super().__init__(source)
        self.bar = bar

    def read(self, start: int, stop: int) -> Tensor:
        """Frames [start, stop) as uint8 (t, 3, H, W)."""
        self.bar.update(stop - start)
        return self.source.read(start, stop)


class OfflineVideo:
    """Feeds a whole video to a model with a panoptic postprocessor; a refiner then sees all of it.

    Args:
        model: whose scores are not causal; its ``store`` is set, see :func:`memory_need`.
        short_edge: length of the short edge the model sees; None keeps the size.
        max_edge: limit of the long edge.
        max_memory: bytes that the video may add to the memory; decides where mask features are kept. None: in half precision
            in memory.
        progress: show a bar for the pass that segments and tracks.
    """

    def __init__(
        self,
        model: DVIS,
        short_edge: int | None = None,
        max_edge: int | None = None,
        max_memory: int | None = None,
        progress: bool = True,
    ) -> None:
        if model.causal:
            raise ValueError('a whole video is fused by the scores of the whole video; set model.causal=False')
        self.model, self.short_edge, self.max_edge = model, short_edge, max_edge
        self.max_memory, self.progress = max_memory, progress

    def frames(self, source: FrameSource, clip_len: int | None = None) -> Iterator[Frame]:
        """Frame by frame: the picture (H, W, 3), its map of ids (H, W) and the segments that have a pixel in it.

        Args:
            source: the video; it is read twice, or three times where mask features are made again.
            clip_len: not used.

        Raises:
            ValueError: the queries alone are more than ``max_memory``.
        """
        seen = transform_frames(source, self.short_edge, self.max_edge)
        self.model.store = self.choose(seen)
        with tqdm(total=len(source), unit='frame', desc='tracking', disable=not self.progress) as bar:
            ((_, prediction),) = self.model.predictions([CountedFrames(seen, bar)])
        found = self.model.postprocessor.fuse(prediction)
        for t in range(len(source)):
            id_map = found.map(t)
            there = set(id_map.unique().tolist())
            picture = source.read(t, t + 1)[0].permute(1, 2, 0).numpy()
            yield picture, id_map.numpy(), [segment for segment in found.segments if segment.id in there]

    def choose(self, source: FrameSource) -> str:
        """Where the mask features go; says how that was found."""
        if self.max_memory is None:
            return 'memory'
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
