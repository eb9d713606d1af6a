"""Writes the viewer file of a video."""

import json
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

import numpy as np

from mmdvis.errors import BadInputError
from mmdvis.io import VideoWriter
from mmdvis.results import ClassInfo, FrameResult, SegmentedObject
from mmdvis.visualization import ResultVisualizer

from ..video_info import VideoInfo
from .comparison import ErrorLog
from .encoding import encode_file, encode_frame

PARTS = Path(__file__).parent
CRF = 24  # quality of the video in the file


class FrameResults(Protocol):
    """Results of the frames of a video, by index."""

    def __len__(self) -> int:
        """Number of frames."""

    def __getitem__(self, index: int) -> FrameResult:
        """The result of a frame."""


class EncodedResult:
    """The result of a video for the viewer: a table of identities, and compressed maps.

    Args:
        title: Name of the result.
        classes: Classes of the result.
    """

    def __init__(self, title: str, classes: ClassInfo) -> None:
        self.title, self.visualizer = title, ResultVisualizer(classes)
        self.file, self.size = cast(BinaryIO, tempfile.SpooledTemporaryFile(max_size=1 << 22)), 0
        self.compressor = zlib.compressobj(9)
        self.numbers: dict[tuple[int, int], int] = {}  # (id, label) -> position in the table
        self.table: list[dict[str, Any]] = []

    def number(self, segment: SegmentedObject, is_semantic: bool) -> int:
        """Position of an object in the table; a new identity or class of an identity is added."""
        key = (segment.id, segment.label)
        if key not in self.numbers:
            self.numbers[key] = len(self.table)
            colour = [int(value) for value in self.visualizer.colour(segment, is_semantic)]
            is_thing = segment.is_thing and not is_semantic
            self.table.append(dict(id=segment.id, name=segment.name, thing=is_thing, colour=colour))
        return self.numbers[key]

    def write(self, result: FrameResult) -> None:
        """Adds the next frame."""
        is_semantic = result.label_map is not None
        objects = [(self.number(segment, is_semantic), segment.score) for segment in result.objects]
        self.put(self.compressor.compress(encode_frame(objects, result.index_map())))

    def put(self, content: bytes) -> None:
        """Appends compressed bytes."""
        self.file.write(content)
        self.size += len(content)

    def finish(self) -> dict[str, Any]:
        """Ends the maps; returns the description for the file."""
        self.put(self.compressor.flush())
        self.file.seek(0)
        return dict(title=self.title, objects=self.table, bytes=self.size)


class HtmlViewer:
    """Writes ``viewer.html``.

    Args:
        folder: Folder to write to.
        info: Name, size, timing and classes of the video.
        other: Results that are shown beside it, one for each frame; None for none.
        other_classes: Classes of the other results.
        other_title: Name of the other results.
        is_truth: Whether the other results are the ground truth, so that misses and identity switches are marked.

    Raises:
        BadInputError: There are fewer other results than frames, or they have another size (when a frame is written).
    """

    def __init__(
        self,
        folder: Path,
        info: VideoInfo,
        other: FrameResults | None = None,
        other_classes: ClassInfo | None = None,
        other_title: str = 'comparison',
        is_truth: bool = False,
    ) -> None:
        self.path, self.info, self.other, self.count = folder / 'viewer.html', info, other, 0
        self.work = tempfile.TemporaryDirectory(prefix='.viewer-', dir=folder)
        self.video_path = Path(self.work.name) / 'video.mp4'
        self.video = VideoWriter(self.video_path, info.fps, info.audio, CRF).__enter__()
        self.results = [EncodedResult('result', info.classes)]
        if other is not None:
            self.results.append(EncodedResult(other_title, other_classes or info.classes))
        self.errors = ErrorLog() if is_truth else None

    def write(self, picture: np.ndarray, result: FrameResult) -> None:
        """Adds the next frame."""
        self.results[0].write(result)
        if self.other is not None:
            self.write_other(result)
        self.video.write(picture, self.info.variable_time(self.count))
        self.count += 1

    def write_other(self, result: FrameResult) -> None:
        """Adds the next frame of the other results."""
        if self.other is None or self.count >= len(self.other):
            raise BadInputError(f'the results to compare with end before frame {self.count} of {self.info.name}')
        other = self.other[self.count]
        if tuple(other.image_size) != tuple(result.image_size):
            raise BadInputError(
                f'frame {self.count} of the results to compare with is {tuple(other.image_size)} (height, width), but '
                f'the video is {tuple(result.image_size)}; compare results of the same video'
            )
        self.results[1].write(other)
        if self.errors is not None:
            self.errors.push(result, other)

    def close(self, is_complete: bool) -> None:
        """Writes the file."""
        try:
            self.video.__exit__(None if is_complete else RuntimeError, None, None)
            if is_complete:
                with open(self.path, 'w', encoding='utf-8') as file:
                    file.writelines(self.pieces())
        finally:
            self.work.cleanup()

    def pieces(self) -> Iterator[str]:
        """Yields the HTML file in pieces."""
        height, width = self.info.size
        described = dict(
            name=self.info.name,
            width=width,
            height=height,
            frames=self.count,
            fps=self.info.fps,
            times=None if self.info.times is None else [round(float(t), 4) for t in self.info.times[: self.count]],
            videoBytes=self.video_path.stat().st_size,
            results=[result.finish() for result in self.results],
            events=None if self.errors is None else self.errors.events,
        )
        page = (PARTS / 'viewer.html').read_text('utf-8')
        before, after = page.split('<!-- data -->')
        for name in ('viewer.css', 'viewer.js'):
            text = (PARTS / name).read_text('utf-8')
            before, after = before.replace(f'/* {name} */', text), after.replace(f'/* {name} */', text)
        yield before
        yield f'<script type="application/json" id="video-info">{json.dumps(described).replace("<", chr(92) + "u003c")}'
        yield '</script>\n<script type="text/plain" id="video-data">'
        with open(self.video_path, 'rb') as video:
            yield from encode_file(video)
        for k, result in enumerate(self.results):
            yield f'</script>\n<script type="text/plain" id="result-{k}">'
            yield from encode_file(result.file)
        yield f'</script>\n{after}'
