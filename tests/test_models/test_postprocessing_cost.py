"""Cost of postprocessing: only masks of kept rows, and never all classes of all frames."""

import warnings
from dataclasses import dataclass, field

import pytest
import torch
from helpers.largest_tensor import largest

from mmdvis.analysis.flops import count_ops
from mmdvis.models.functional import panoptic_fusion, panoptic_numba
from mmdvis.models.functional.panoptic_fusion import assign_pixels, assign_row_by_row, bands
from mmdvis.models.postprocessors import InstancePostprocessor, PanopticPostprocessor, SemanticPostprocessor, semantic
from mmdvis.structures import VideoPrediction

CLASSES, SIZE = 6, (24, 40)


@dataclass(frozen=True, eq=False)
class Recorded:
    """Random masks that record the requested frame and number of rows."""

    asked: list[tuple[int, int]] = field(default_factory=list)

    def logits(self, rows, frame):
        self.asked.append((frame, len(rows)))
        return torch.randn(len(rows), *SIZE, generator=torch.Generator().manual_seed(frame))

    def probs(self, rows, frame):
        return self.logits(rows, frame).sigmoid()


def prediction(slots, frames=3, kept=4, causal=False):
    """Return a prediction whose first ``kept`` rows have high scores; the other rows are no object."""
    scores = torch.zeros(slots, CLASSES + 1)
    scores[:, -1] = 1.0
    scores[:kept] = torch.eye(CLASSES + 1)[torch.arange(kept) % CLASSES] * 0.9 + 0.01
    scores = scores.expand(frames, -1, -1) if causal else scores
    return VideoPrediction(torch.arange(slots), scores, torch.ones(frames, slots, dtype=torch.bool), Recorded())


@pytest.mark.parametrize('causal', [False, True])
@pytest.mark.parametrize('postprocessor', [PanopticPostprocessor(2, 0.5, 0.0), InstancePostprocessor(4)])
def test_masks_are_those_of_kept_rows_however_many_there_are(postprocessor, causal):
    predictions = {slots: prediction(slots, causal=causal) for slots in (10, 100)}
    for video in predictions.values():
        postprocessor(video)
    passes = 2 if causal and isinstance(postprocessor, InstancePostprocessor) else 1  # masks of each frame, too
    asked = [(t, 4) for t in range(3)] * passes
    assert predictions[10].masks.asked == predictions[100].masks.asked == asked


def test_tensors_of_a_fusion_do_not_grow_with_the_queries():
    run = PanopticPostprocessor(2, 0.5, 0.0)
    few, many = (largest(lambda: run(prediction(slots))) for slots in (10, 300))
    assert few == many
    assert largest(lambda: run(prediction(10, kept=8))) == 2 * few  # memory grows with the kept rows


@pytest.mark.parametrize('causal', [False, True])
def test_no_tensor_of_semantic_results_holds_more_for_longer_videos(causal):
    run, frame = SemanticPostprocessor(), SIZE[0] * SIZE[1]
    sizes = [largest(lambda: run(prediction(8, frames, causal=causal))) for frames in (2, 9)]
    assert sizes[0] == sizes[1] == 8 * frame  # masks of one frame, less than CLASSES * 9 frames


def test_votes_in_stripes_are_votes(monkeypatch):
    whole = SemanticPostprocessor()(prediction(8)).label_map
    monkeypatch.setattr(semantic, 'MAX_VOTES', CLASSES * SIZE[1] * 5)  # stripes of five rows, the last has four
    video, run = prediction(8), SemanticPostprocessor()
    assert (run(video).label_map == whole).all()
    assert whole.dtype == 'uint8' and len(set(whole.ravel().tolist())) > 1
    assert [frame for frame, _ in video.masks.asked] == [0, 1, 2]


@pytest.mark.parametrize('classes, dtype', [(255, 'uint8'), (300, 'uint16')])
def test_labels_take_the_bytes_they_need(classes, dtype):
    scores = torch.zeros(1, classes + 1)
    scores[0, classes - 1] = 1.0
    only = VideoPrediction(torch.arange(1), scores, torch.ones(2, 1, dtype=torch.bool), Recorded())
    labels = SemanticPostprocessor()(only).label_map
    assert labels.dtype == dtype and (labels == classes - 1).all() and labels.shape == (2, *SIZE)


@pytest.mark.parametrize('assign', [assign_pixels, assign_row_by_row])
@pytest.mark.parametrize('num_rows, size', [(0, (6, 5)), (1, (6, 5)), (7, (40, 3000)), (260, (5, 7))])
def test_assigned_pixels_equal_the_argmax(num_rows, size, assign):
    g = torch.Generator().manual_seed(num_rows)
    top = torch.randint(1, 4, (num_rows,), generator=g) / 4  # few values, so that rows are often equal
    probs = torch.randint(0, 5, (num_rows, *size), generator=g) / 4
    parts = [assign(top, lines) for lines in bands(probs)]
    winner, areas = torch.cat([part for part, _ in parts]), sum(counts for _, counts in parts)
    if not num_rows:
        assert winner.eq(0).all() and areas.shape == (3, 0)
        return
    won = (top[:, None, None] * probs).argmax(0)
    assigned = probs.gather(0, won[None])[0] >= 0.5
    assert torch.equal(winner.long(), won.where(assigned, num_rows))
    assert areas[0].tolist() == [int((won == k).sum()) for k in range(num_rows)]
    assert areas[1].tolist() == [int((won == k)[assigned].sum()) for k in range(num_rows)]
    assert areas[2].tolist() == (probs >= 0.5).flatten(1).sum(1).tolist()


@pytest.mark.parametrize('num_rows', [1, 2, 30, 300])
def test_the_kernel_is_exact(num_rows):
    """Also where probabilities are NaN, which win nothing, and keep later rows from winning."""
    g = torch.Generator().manual_seed(num_rows)
    top, probs = torch.rand(num_rows, generator=g), (3 * torch.randn(num_rows, 40, 50, generator=g)).sigmoid()
    probs[torch.rand(probs.shape, generator=g) < 0.01] = float('nan')
    for values in (probs, probs.transpose(1, 2)):
        found, expected = panoptic_numba.numba_assign(top, values), assign_row_by_row(top, values)
        assert torch.equal(found[0].to(expected[0].dtype), expected[0]) and torch.equal(found[1], expected[1])


def test_pixels_are_assigned_by_the_kernel_where_it_can(monkeypatch):
    monkeypatch.setattr(panoptic_numba, 'numba_assign', lambda top, probs: (torch.zeros(2, 2), 'numba'))
    monkeypatch.setattr(panoptic_fusion, 'assign_row_by_row', lambda top, probs: (torch.zeros(2, 2), 'rows'))
    monkeypatch.setattr(panoptic_fusion, 'numba_assigns', lambda: True)
    top, probs = torch.rand(3), torch.rand(3, 2, 2)
    assert assign_pixels(top, probs)[1] == 'numba'
    assert assign_pixels(top.double(), probs)[1] == assign_pixels(top, probs.double())[1] == 'rows'
    assert assign_pixels(top[:0], probs[:0])[1] == assign_pixels(top, probs.clone().requires_grad_())[1] == 'rows'
    assert assign_pixels(torch.zeros(1 << 15), torch.zeros(1 << 15, 1, 1))[1] == 'rows'
    assert (
        assign_pixels(top.to('meta'), probs.to('meta'))[1]
        == count_ops(lambda: assign_pixels(top, probs))[0][1]
        == 'rows'
    )
    for module, name in ((torch.compiler, 'is_compiling'), (torch.jit, 'is_tracing')):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, lambda: True)
            assert assign_pixels(top, probs)[1] == 'rows'
    monkeypatch.setattr(panoptic_fusion, 'numba_assigns', lambda: False)
    assert assign_pixels(top, probs.detach())[1] == 'rows'


def test_without_the_kernel_there_is_one_warning(monkeypatch):
    def fail(*_):
        raise ImportError('no LLVM')

    top, probs = torch.rand(3), torch.rand(3, 2, 2)
    expected = assign_pixels(top, probs)
    panoptic_fusion.numba_assigns.cache_clear()
    try:
        monkeypatch.setattr(panoptic_numba, 'numba_assign', fail)
        with pytest.warns(UserWarning, match='Numba is not usable .ImportError: no LLVM., so panoptic fusion runs'):
            found = assign_pixels(top, probs)
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            assert torch.equal(assign_pixels(top, probs)[0], found[0])
        assert torch.equal(found[0], expected[0]) and torch.equal(found[1], expected[1])
    finally:
        panoptic_fusion.numba_assigns.cache_clear()


@pytest.mark.parametrize('shape', [(5, 2, 3), (2, 2, 3), (3, 6)], ids=str)
def test_arguments_of_the_kernel_that_do_not_match_are_refused(shape):
    with pytest.raises(ValueError, match='expected scores .k,. and probabilities .k, H, W., got .3,., '):
        panoptic_numba.numba_assign(torch.rand(3), torch.rand(shape))


def test_default_devices_do_not_matter():
    top, probs = torch.rand(3), torch.rand(3, 2, 2)
    expected = panoptic_numba.numba_assign(top, probs)
    with torch.device('meta'):
        found = panoptic_numba.numba_assign(top, probs)
    assert torch.equal(found[0], expected[0]) and torch.equal(found[1], expected[1])
