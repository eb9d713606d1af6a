"""What all video datasets share: a clip in training, a source of frames at test time."""
from typing import List, Optional

from mmengine.dataset import BaseDataset

from .transforms import CropClip, FlipClip, LoadClip, OpenVideo, PackClip, ResizeClip, SampleClip


def train_transforms(clip: dict, short_edges: Optional[List[int]] = None, max_edge: Optional[int] = None,
                     crop: Optional[List[int]] = None, flip: float = 0.5) -> list:
    """The transforms of a training clip.

    Args:
        clip: arguments of :class:`SampleClip`.
        short_edges, max_edge: of :class:`ResizeClip`; None keeps the size.
        crop: (height, width) of :class:`CropClip`; None does not crop.
        flip: probability of mirroring.
    """
    steps = [SampleClip(**clip), LoadClip()]
    if short_edges is not None:
        steps.append(ResizeClip(short_edges, max_edge))
    if crop is not None:
        steps.append(CropClip(crop))
    return [*steps, FlipClip(flip), PackClip()]


class ClipDataset(BaseDataset):
    """Base of the datasets: a subclass reads its official files in ``load_data_list``.

    A record is ``dict(video_id, frames=[dict(name, image, mask, segments={id: label})])``.

    Args:
        clip: arguments of :class:`SampleClip`, for training.
        augment: arguments of :func:`train_transforms` besides ``clip``.
        test: arguments of :class:`OpenVideo`.
        pipeline: transforms to use instead of those that the options above give.
        **kwargs: as in mmengine's BaseDataset.
    """

    def __init__(self, clip: Optional[dict] = None, augment: Optional[dict] = None, test: Optional[dict] = None,
                 pipeline: Optional[list] = None, test_mode: bool = False, **kwargs: object) -> None:
        if pipeline is None:
            pipeline = [OpenVideo(**(test or {}))] if test_mode else train_transforms(
                clip or dict(num_frames=1), **(augment or {}))
        super().__init__(pipeline=pipeline, test_mode=test_mode, **kwargs)
