"""Contract of every registered segmenter, refiner and postprocessor."""

import pytest
import torch
from helpers import tiny

from mmdvis.models import postprocessors, refiners, segmenters
from mmdvis.models.detectors.chain import segment
from mmdvis.models.trackers import CosineTracker
from mmdvis.registry import MODELS
from mmdvis.structures import FactoredMasks, FrameQueries, FrameSize, StepContext, TrackQueries, VideoPrediction

SEGMENTERS = dict(mask2former=tiny.SEGMENTER, eomt=tiny.EOMT, videomt=tiny.VIDEOMT)
REFINERS = dict(temporal=tiny.REFINER)
POSTPROCESSORS = dict(
    panoptic=tiny.PANOPTIC,
    instance=dict(type='InstancePostprocessor', max_num=4),
    semantic=dict(type='SemanticPostprocessor'),
)


@pytest.mark.parametrize(
    'package, configs',
    [(segmenters, SEGMENTERS), (refiners, REFINERS), (postprocessors, POSTPROCESSORS)],
    ids=lambda x: getattr(x, '__name__', ''),
)
def test_every_registered_stage_is_under_contract(package, configs):
    assert {config['type'] for config in configs.values()} == set(package.__all__)


def build(config):
    torch.manual_seed(0)
    return MODELS.build(config).eval()


@pytest.mark.parametrize('config', SEGMENTERS.values(), ids=SEGMENTERS)
class TestSegmenters:
    @torch.no_grad()
    def test_a_batch_equals_one_by_one(self, config):
        segmenter, frames = build(config), torch.randn(2, 2, 3, 64, 96)
        together = segment(segmenter, frames)[0]
        assert isinstance(together, FrameQueries)
        for b in range(2):
            alone = segment(segmenter, frames[b : b + 1])[0]
            torch.testing.assert_close(together.class_logits[b : b + 1], alone.class_logits, atol=1e-4, rtol=1e-4)

    @torch.no_grad()
    def test_presence_is_handed_on(self, config):
        present = torch.tensor([[True, False]])
        assert torch.equal(segment(build(config), torch.randn(1, 2, 3, 32, 32), present)[0].present, present)

    def test_forward_leaves_the_module_as_it_was(self, config):
        segmenter = build(config)
        before = {k: v.clone() for k, v in segmenter.state_dict().items()}
        names = set(vars(segmenter))
        segment(segmenter, torch.randn(1, 1, 3, 32, 32))
        assert set(vars(segmenter)) == names
        assert all(torch.equal(v, before[k]) for k, v in segmenter.state_dict().items())

    def test_losses_are_named_and_finite(self, config):
        losses = build(config).train().loss(torch.randn(1, 2, 3, 64, 96), [tiny.targets(2)], StepContext())
        assert {'loss_cls', 'loss_mask', 'loss_dice'} <= set(losses)
        assert all(torch.isfinite(x) and x.dim() == 0 for x in losses.values())


@pytest.mark.parametrize('config', REFINERS.values(), ids=REFINERS)
class TestRefiners:
    def tracks(self, frames=4, batch=1, lengths=None):
        return CosineTracker()(tiny.frame_queries(frames, batch, lengths))[0]

    @torch.no_grad()
    def test_ids_validity_and_features_pass_through(self, config):
        tracks = self.tracks(4, 2, [4, 3])
        refined = build(config)(tracks)
        assert isinstance(refined, TrackQueries)
        assert torch.equal(refined.ids, tracks.ids) and torch.equal(refined.valid, tracks.valid)
        assert refined.mask_features is tracks.mask_features

    @torch.no_grad()
    def test_a_batch_equals_one_by_one(self, config):
        refiner, tracks = build(config), self.tracks(5, 3, [5, 2, 4])
        together = refiner(tracks)
        for b, length in enumerate((5, 2, 4)):
            alone = refiner(tracks.video(b, length))
            torch.testing.assert_close(together.video(b, length).class_logits, alone.class_logits, atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(together.video(b, length).mask_embeds, alone.mask_embeds, atol=1e-5, rtol=1e-4)

    @torch.no_grad()
    def test_a_clip_of_one_frame_works(self, config):
        assert build(config)(self.tracks(1)).class_logits.isfinite().all()

    @pytest.mark.parametrize('objects', [((2, 0), (1, 1)), ()], ids=['objects', 'no objects'])
    def test_every_parameter_gets_a_gradient(self, config, objects):
        refiner = build(config).train()
        losses = refiner.loss(self.tracks(3), [tiny.targets(3, (32, 48), objects)], StepContext(0.0))
        sum(losses.values()).backward()
        assert not [name for name, p in refiner.named_parameters() if p.grad is None]


@pytest.mark.parametrize('config', POSTPROCESSORS.values(), ids=POSTPROCESSORS)
class TestPostprocessors:
    def prediction(self, causal=False, scores=None):
        g = torch.Generator().manual_seed(0)
        masks = FactoredMasks(
            torch.randn(3, 7, 4, generator=g),
            torch.zeros(3, 7),
            torch.randn(3, 4, 8, 12, generator=g),
            FrameSize((32, 48), (30, 45), (20, 33)),
        )
        shape = (3, 7, 6) if causal else (7, 6)
        scores = (3 * torch.randn(*shape, generator=g)).softmax(-1) if scores is None else scores
        return VideoPrediction(torch.arange(7), scores, torch.ones(3, 7, dtype=torch.bool), masks)

    def result(self, config, prediction):
        return MODELS.build(config)(prediction)

    @pytest.mark.parametrize('causal', [False, True])
    def test_every_frame_is_answered_at_the_original_size(self, config, causal):
        result = self.result(config, self.prediction(causal))
        if hasattr(result, 'masks'):
            assert len(result.masks) == len(result.scores) == 4
            assert all(len(track) == 3 and track[0]['size'] == [20, 33] for track in result.masks)
        else:
            assert tuple(getattr(result, 'id_map', getattr(result, 'label_map', None)).shape) == (3, 20, 33)

    def test_a_video_without_objects_works(self, config):
        nothing = torch.full((7, 6), 0.01)
        nothing[:, -1] = 0.95
        result = self.result(config, self.prediction(scores=nothing))
        if hasattr(result, 'id_map'):
            assert not result.id_map.any() and result.id_map.shape == (3, 20, 33) and result.segments == ()
        elif hasattr(result, 'label_map'):
            assert result.label_map.shape == (3, 20, 33)
        else:
            assert len(result.masks) == len(result.scores) == 4 and result.scores.max() < 0.05

    def test_the_same_prediction_gives_the_same_result(self, config):
        a, b = (self.result(config, self.prediction()) for _ in range(2))
        for name in ('id_map', 'label_map', 'scores', 'labels', 'ids'):
            if hasattr(a, name):
                assert np_equal(getattr(a, name), getattr(b, name))
        assert getattr(a, 'masks', None) == getattr(b, 'masks', None)


def np_equal(a, b):
    return bool((torch.as_tensor(a) == torch.as_tensor(b)).all())
