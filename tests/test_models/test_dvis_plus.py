"""DVIS++ compared with a plain float64 implementation that uses the official weight names."""

import math

import pytest
import torch
import torch.nn.functional as F
from helpers import official_weights as official
from helpers import tiny
from scipy.optimize import linear_sum_assignment

from mmdvis.checkpoints import Checkpoint, load_weights
from mmdvis.checkpoints.converters import convert_detectron2
from mmdvis.models.functional.layer_predictions import fold_projection
from mmdvis.models.trackers import CosineTracker, DVISTracker
from mmdvis.registry import MODELS
from mmdvis.structures import FrameQueries, StepContext
from mmdvis.testing.parity.comparison import dense_masks

C, M, K, Q, LAYERS, HEADS, FFN = 16, 12, 5, 6, 2, 4, 24  # C is the segmenter width; tracker and refiner have 2 C
PIXEL = dict(num_layers=1, num_heads=2, ffn_channels=20, norm_groups=4)
STAGE = dict(
    num_classes=K, channels=2 * C, mask_channels=M, decoder=dict(num_layers=LAYERS, num_heads=HEADS, ffn_channels=FFN)
)


def weights():
    """Return a complete official state dict: ResNet, segmenter with re-identification, tracker and refiner."""
    channels = [32, 64, 128, 256]
    return official.draw(
        {
            **official.resnet50(8),
            **official.segmenter(channels, K, Q, C, M, 1, 20, 3, FFN, heads=2, reid=True),
            **official.tracker(K, 2 * C, M, LAYERS, FFN, plus=True),
            **official.refiner(K, 2 * C, M, LAYERS, FFN),
        }
    )


def build(**options):
    model = MODELS.build(
        dict(
            type='DVIS',
            num_classes=K,
            segmenter=dict(
                type='Mask2FormerSegmenter',
                num_queries=Q,
                channels=C,
                mask_channels=M,
                backbone=dict(type='mmdet.ResNet', depth=50, base_channels=8, norm_eval=True),
                in_channels=[32, 64, 128, 256],
                pixel_decoder=PIXEL,
                decoder=dict(num_layers=3, num_heads=2, ffn_channels=FFN),
                reid=True,
                normed_embeds=False,
            ),
            tracker=dict(type='DVISTracker', **tiny.PLUS, **STAGE),
            refiner=dict(type='TemporalRefiner', **STAGE),
            **options,
        )
    )
    result = convert_detectron2(weights())
    assert not result.leftover
    load_weights(model, Checkpoint(result.state_dict, {}, 'converted', 'detectron2'))
    model.tracker.double()
    model.refiner.double()
    return model.eval()


def in_double(queries):
    """Convert segmenter outputs from float32 to float64."""
    values = {name: getattr(queries, name) for name in queries.AXES}
    return FrameQueries(**{name: x.double() if x.is_floating_point() else x for name, x in values.items()})


class Plain:
    """Plain implementation, one frame at a time; ``w`` is the official state dict."""

    def __init__(self, w):
        self.w = {name: x.double() for name, x in w.items()}

    def linear(self, name, x):
        return F.linear(x, self.w[f'{name}.weight'], self.w[f'{name}.bias'])

    def norm(self, name, x):
        return F.layer_norm(x, x.shape[-1:], self.w[f'{name}.weight'], self.w[f'{name}.bias'])

    def mlp(self, name, x):
        x = F.relu(self.linear(f'{name}.layers.0', x))
        return self.linear(f'{name}.layers.2', F.relu(self.linear(f'{name}.layers.1', x)))

    def attend(self, name, query, memory):
        """Multi-head attention of (N, C) to (S, C), head by head."""
        width = query.shape[-1]
        w, b, d = self.w[f'{name}.in_proj_weight'], self.w[f'{name}.in_proj_bias'], width // HEADS
        q, k, v = (
            F.linear(x, w[i * width : (i + 1) * width], b[i * width : (i + 1) * width])
            for i, x in enumerate((query, memory, memory))
        )
        heads = [
            torch.softmax(q[:, h : h + d] @ k[:, h : h + d].T / math.sqrt(d), -1) @ v[:, h : h + d]
            for h in range(0, width, d)
        ]
        return self.linear(f'{name}.out_proj', torch.cat(heads, -1))

    def feed(self, name, x):
        return self.norm(f'{name}.norm', x + self.linear(f'{name}.linear2', F.relu(self.linear(f'{name}.linear1', x))))

    def block(self, k, identity, reference, frame):
        """Apply one block of the tracker to (Q, C)."""
        cross, own = (f'tracker.transformer_{kind}_attention_layers.{k}' for kind in ('cross', 'self'))
        x = self.norm(f'{cross}.norm', identity + self.attend(f'{cross}.multihead_attn', reference, frame))
        x = self.norm(f'{own}.norm', x + self.attend(f'{own}.self_attn', x, x))
        return self.feed(f'tracker.transformer_ffn_layers.{k}', x)

    def track(self, normed, raw):
        """Return outputs before the norm and references, each (T, Q, C), from the concatenated segmenter embeddings."""
        outputs, references, chain = [], [], None
        for e_normed, e in zip(normed, raw):
            if chain is None:
                chain, x = e_normed, e
                references.append(self.mlp('tracker.ref_proj', e))
                for k in range(LAYERS):
                    x = self.block(k, x, self.mlp('tracker.ref_proj', x), e)
            else:
                # rows belong to the current frame
                cost = 1 - F.normalize(e_normed, dim=-1) @ F.normalize(chain, dim=-1).T
                rows, columns = linear_sum_assignment(cost.T.numpy())
                chain, x = e_normed[columns], e[columns]
                references.append(self.mlp('tracker.ref_proj', outputs[-1]))
                for k in range(LAYERS):
                    x = self.block(k, x, references[-1], e)
            outputs.append(x)
        return torch.stack(outputs), torch.stack(references)

    def refine(self, x, context):
        """Apply the blocks of the refiner to (T, Q, C) and return the normalised output."""
        frames, slots = x.shape[:2]
        for k in range(LAYERS):
            time, objects, cross = (
                f'refiner.transformer_{kind}_layers.{k}'
                for kind in ('time_self_attention', 'obj_self_attention', 'cross_attention')
            )
            x = self.norm(
                f'{time}.norm',
                x + torch.stack([self.attend(f'{time}.self_attn', x[:, q], x[:, q]) for q in range(slots)], 1),
            )
            y = x.permute(1, 2, 0)  # (Q, C, T)
            for part, reach in ((0, 2), (2, 1)):
                name = f'refiner.conv_short_aggregate_layers.{k}.{part}'
                y = F.conv1d(
                    F.pad(y, (reach, reach), mode='replicate'), self.w[f'{name}.weight'], self.w[f'{name}.bias']
                )
                y = F.relu(y) if part == 0 else y
            x = self.norm(f'refiner.conv_norms.{k}', x + y.permute(2, 0, 1))
            x = self.norm(f'{objects}.norm', x + torch.stack([self.attend(f'{objects}.self_attn', f, f) for f in x]))
            x = self.norm(
                f'{cross}.norm',
                x + torch.stack([self.attend(f'{cross}.multihead_attn', f, c) for f, c in zip(x, context)]),
            )
            x = self.feed(f'refiner.transformer_ffn_layers.{k}', x)
        return self.norm('refiner.decoder_norm', x)


@torch.no_grad()
def test_the_complete_chain_equals_its_formulas():
    model, plain = build(), Plain(weights())
    frames = torch.randn(1, 5, 3, 64, 96)
    states, features = model.segmenter.decode(frames)  # covered by the parity checks of DVIS
    raw, features = states[-1].double(), features[0].double()
    normed = plain.norm('sem_seg_head.predictor.decoder_norm', raw)
    reid = plain.mlp('sem_seg_head.predictor.reid_embed', normed)
    queries = in_double(model.segmenter(frames))
    torch.testing.assert_close(queries.match_embeds[0], torch.cat([normed, reid], -1), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(queries.embeds[0], torch.cat([raw, reid], -1), atol=1e-5, rtol=1e-4)
    normed, raw = queries.match_embeds[0], queries.embeds[0]  # float64 from here on
    outputs, references = plain.track(normed, raw)
    x = plain.norm('tracker.decoder_norm', outputs)
    projected = F.conv2d(
        features, plain.w['tracker.mask_feature_proj.weight'], plain.w['tracker.mask_feature_proj.bias']
    )
    tracks, _ = model.tracker(queries)
    close = dict(atol=1e-9, rtol=1e-7)
    torch.testing.assert_close(tracks.embeds[0], outputs, **close)
    torch.testing.assert_close(
        tracks.class_logits[0], plain.linear('tracker.class_embed', torch.cat([references, x], -1)), **close
    )
    torch.testing.assert_close(
        dense_masks(tracks)[0].transpose(0, 1),
        torch.einsum('tqm,tmhw->tqhw', plain.mlp('tracker.mask_embed', x), projected),
        **close,
    )
    refined, y = model.refine(tracks), plain.refine(outputs, raw)
    share = plain.linear('refiner.activation_proj', y).softmax(0)
    torch.testing.assert_close(
        refined.class_logits[0, 2], plain.linear('refiner.class_embed', (share * y).sum(0)), **close
    )
    torch.testing.assert_close(
        dense_masks(refined)[0].transpose(0, 1),
        torch.einsum('tqm,tmhw->tqhw', plain.mlp('refiner.mask_embed', y), features),
        **close,
    )


@torch.no_grad()
def test_matching_uses_the_normed_embeddings_and_decoding_the_others():
    model = build()
    queries = model.segmenter(torch.randn(1, 3, 3, 64, 96))
    assert queries.embeds.shape == queries.match_embeds.shape == (1, 3, Q, 2 * C)
    assert not torch.allclose(queries.embeds[..., :C], queries.match_embeds[..., :C])
    assert torch.equal(queries.embeds[..., C:], queries.match_embeds[..., C:])
    assert torch.equal(model.tracker(in_double(queries))[0].context, queries.embeds.double())


@torch.no_grad()
def test_minvis_on_such_a_segmenter_compares_the_re_identification_alone():
    queries = build().segmenter(torch.randn(1, 4, 3, 64, 96))
    tracks, state = CosineTracker(last_channels=C)(queries)
    assert state.match_embeds.shape == (1, Q, C)
    previous = queries.match_embeds[0, 0, :, C:]
    for t in range(1, 4):
        current = queries.match_embeds[0, t, :, C:]
        cost = 1 - F.normalize(previous, dim=-1) @ F.normalize(current, dim=-1).T
        order = torch.as_tensor(linear_sum_assignment(cost.numpy())[1])
        previous = current[order]
        torch.testing.assert_close(tracks.class_logits[0, t], queries.class_logits[0, t][order])


def test_a_projection_folds():
    m, f = torch.randn(3, M, dtype=torch.float64), torch.randn(M, 7, dtype=torch.float64)
    w, b = torch.randn(M, M, dtype=torch.float64), torch.randn(M, dtype=torch.float64)
    embeds, bias = fold_projection(m, w, b)
    torch.testing.assert_close(m @ (w @ f + b[:, None]), embeds @ f + bias[:, None])


def test_a_re_identifying_segmenter_cannot_learn():
    segmenter = MODELS.build(dict(tiny.SEGMENTER, reid=True))
    with pytest.raises(ValueError, match='set reid=dict\\(contrast=2.0, .* or load trained weights'):
        segmenter.loss(torch.randn(1, 1, 3, 32, 32), [tiny.targets(1)], StepContext())


def test_projections_start_as_the_public_ones():
    """Matrices are Kaiming-uniform with a = 1; biases are zero."""
    torch.manual_seed(0)
    mlp = DVISTracker(3, refer='mlp').ref_proj
    for layer in mlp[::2]:
        largest = layer.weight.abs().max().item()
        assert 0.99 * (3 / 256) ** 0.5 < largest <= (3 / 256) ** 0.5 and not layer.bias.any()


@pytest.mark.parametrize(
    'option, allowed',
    [
        ('start', "'matched' or 'unmatched' or 'output' or 'zero'"),
        ('refer', "'output' or 'mlp'"),
        ('context', "'embeds' or 'first_frame'"),
    ],
)
def test_options_that_there_are_not(option, allowed):
    with pytest.raises(ValueError, match=f"{option} must be {allowed}, got 'other'"):
        DVISTracker(3, **{option: 'other'})
