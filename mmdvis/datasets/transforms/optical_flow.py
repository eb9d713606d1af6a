"""Optical flow of training clips."""

from pathlib import Path

import numpy as np
from mmcv.transforms import BaseTransform

from mmdvis.errors import DataError
from mmdvis.io import read_flow_between
from mmdvis.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadFlow(BaseTransform):
    """Loads the flow from the first frame of a clip into each of the others from files, after :class:`LoadClip`.

    VPSNet uses it in place of its flow estimator. The files are ``<root>/<video>/<key>__<reference>.flo`` or ``.npz``,
    with the names of the frames without suffix.

    Args:
        root: Folder of the files.
    """

    def __init__(self, root: str) -> None:
        self.root = Path(root)

    def transform(self, results: dict) -> dict:
        """Add ``flows`` float32 (T - 1, 2, H, W) in pixels; for a clip of one frame, zero flow into itself.

        Raises:
            DataError: A file is missing or damaged, or its size is not that of the frames.
        """
        size = results['clip'].shape[1:3]
        key, *others = [Path(results['frames'][index]['name']).stem for index in results['frame_indices']]
        if not others:
            return dict(results, flows=np.zeros((1, 2, *size), np.float32))
        flows = []
        for other in others:
            same = other == key
            flow = np.zeros((2, *size), np.float32) if same else self.read(results['video_id'], key, other)
            if flow.shape[1:] != size:
                raise DataError(
                    f'the flow of video {results["video_id"]} from {key} into {other} in {self.root} is '
                    f'{flow.shape[1:]} (height, width), but its frames are {size}; both must have the same size'
                )
            flows.append(flow)
        return dict(results, flows=np.stack(flows))

    def read(self, video: object, key: str, other: str) -> np.ndarray:
        """Flow (2, H, W) between two frames of a video."""
        return read_flow_between(self.root, video, key, other).numpy()
