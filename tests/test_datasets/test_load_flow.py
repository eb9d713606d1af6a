"""Optical flow of training clips follows the frames through every transform."""

import numpy as np
import pytest
import torch
from helpers import tiny  # noqa: F401  registers the parts

from mmdvis.datasets.base import train_transforms
from mmdvis.datasets.transforms import CropClip, FlipClip, JitterClip, LoadFlow, PackClip, ResizeClip, RotateClip
from mmdvis.errors import DataError, OptionError
from mmdvis.io import FlowFiles, write_flow
from mmdvis.models.detectors.clip_preprocessor import with_targets
from mmdvis.structures import quarter_flow

HEIGHT, WIDTH = 48, 80


def field(a=0.1, b=-0.05, c=3.0, d=-2.0):
    """Linear flow (2, H, W): displacements of points x, y (pixel centres) by (a x + c, b y + d)."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    return np.stack([a * x + c, b * y + d]).astype(np.float32)


def clip(root, flow=None, indices=(1, 0)):
    (root / 'v').mkdir(exist_ok=True)
    write_flow(root / 'v' / '00001__00000.flo', torch.from_numpy(field() if flow is None else flow))
    frames = [dict(name=f'0000{k}.jpg') for k in range(2)]
    images = np.random.default_rng(0).integers(0, 256, (len(indices), HEIGHT, WIDTH, 3), np.uint8)
    maps = np.zeros((1, len(indices), HEIGHT, WIDTH), np.uint8)
    maps[..., 4:20, 4:20] = 1
    ids, labels = np.array([7]), np.array([2])
    known = dict(video_id='v', frames=frames, frame_indices=list(indices), truth='panoptic')
    return dict(known, clip=images, maps=maps, ids=ids, labels=labels)


def test_flow_is_loaded_by_the_names_of_the_frames(tmp_path):
    results = LoadFlow(str(tmp_path)).transform(clip(tmp_path))
    assert results['flows'].shape == (1, 2, HEIGHT, WIDTH) and np.array_equal(results['flows'][0], field())
    assert not LoadFlow(str(tmp_path)).transform(clip(tmp_path, indices=(1,)))['flows'].any()
    assert not LoadFlow(str(tmp_path)).transform(clip(tmp_path, indices=(0, 0)))['flows'].any()  # a repeated frame
    with pytest.raises(DataError, match=r'there is no flow .*00000__00001.flo or .npz'):
        LoadFlow(str(tmp_path)).transform(clip(tmp_path, indices=(0, 1)))
    with pytest.raises(DataError, match=r'from 00001 into 00000 .* is \(47, 80\) .* its frames are \(48, 80\)'):
        LoadFlow(str(tmp_path)).transform(clip(tmp_path, field()[:, 1:]))


@pytest.mark.parametrize('short_edge', [24, 96, 61])
def test_resizing_scales_positions_and_displacements(tmp_path, short_edge):
    """A point x moves to s x and its displacement a x + c to s (a x + c)."""
    loaded = LoadFlow(str(tmp_path)).transform(clip(tmp_path))
    resized = ResizeClip([short_edge]).transform(loaded)
    height, width = resized['clip'].shape[1:3]
    y, x = np.mgrid[:height, :width] + 0.5
    expected = np.stack([0.1 * x + 3.0 * width / WIDTH, -0.05 * y - 2.0 * height / HEIGHT])
    np.testing.assert_allclose(resized['flows'][0][:, 4:-4, 4:-4], expected[:, 4:-4, 4:-4], atol=2e-3)


def test_crops_flips_and_padding(tmp_path):
    loaded = LoadFlow(str(tmp_path)).transform(clip(tmp_path))
    np.random.seed(3)
    cropped = CropClip((20, 30)).transform(loaded)
    top, left = place(loaded['clip'], cropped['clip'])
    assert np.array_equal(cropped['flows'], loaded['flows'][..., top : top + 20, left : left + 30])
    flipped = FlipClip(1.0).transform(loaded)
    assert np.array_equal(flipped['flows'][:, 0], -loaded['flows'][:, 0, :, ::-1])
    assert np.array_equal(flipped['flows'][:, 1], loaded['flows'][:, 1, :, ::-1])
    jittered = JitterClip(100, (0.5, 0.5)).transform(loaded)
    assert jittered['flows'].shape == (1, 2, 100, 100) and not jittered['flows'][..., 50:, :].any()
    with pytest.raises(OptionError, match='RotateClip moves each frame differently, so LoadFlow cannot be used'):
        RotateClip().transform(loaded)


def place(whole, part):
    """Row and column of a crop in a clip."""
    height, width = part.shape[1:3]
    for top in range(whole.shape[1] - height + 1):
        for left in range(whole.shape[2] - width + 1):
            if np.array_equal(whole[:, top : top + height, left : left + width], part):
                return top, left
    raise AssertionError('the crop is not a part of the clip')


def test_flow_of_the_transformed_pair_is_that_of_flow_files(tmp_path):
    """Contract (e): a file for the transformed pair gives at test time what the transforms give in training."""
    loaded = LoadFlow(str(tmp_path)).transform(clip(tmp_path))
    changed = FlipClip(1.0).transform(ResizeClip([32]).transform(loaded))
    sample = with_targets(PackClip().transform(changed)['data_samples'], (32, 64))
    assert sample.flows.shape == (1, 2, 32, 64) and not sample.flows[..., 56:].any()
    height, width = changed['clip'].shape[1:3]
    y, x = np.mgrid[:height, :width] + 0.5
    flipped = np.stack([-(0.1 * (width - x) + 3 * width / WIDTH), -0.05 * y - 2 * height / HEIGHT])
    write_flow(tmp_path / 'v' / '00001__00000.flo', torch.from_numpy(flipped.astype(np.float32)))
    frame = torch.zeros(3, height, width)
    expected = FlowFiles(str(tmp_path))(frame, frame[None], ('v', '00001', '00000'))
    found = quarter_flow(sample.flows[0], (8, 16))
    torch.testing.assert_close(found[:, 1:-1, 1:13], expected[0, :, 1:-1, 1:13], atol=2e-3, rtol=0)
    torch.testing.assert_close(found[:, 1:-1, 13], expected[0, :, 1:-1, 13], atol=0.05, rtol=0)  # beside the border


def test_the_option_of_the_datasets(tmp_path):
    steps = [type(step).__name__ for step in train_transforms(dict(num_frames=2), flow=str(tmp_path))]
    assert steps == ['SampleClip', 'LoadClip', 'LoadFlow', 'FlipClip', 'PackClip']
    assert 'LoadFlow' not in [type(step).__name__ for step in train_transforms(dict(num_frames=2))]
