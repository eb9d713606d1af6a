"""Training hooks: checkpoint loading, class counts and weight initialisation."""

from types import SimpleNamespace

import pytest
import torch
from helpers import tiny
from mmengine.logging import MMLogger
from torch import nn

from mmdvis.engine.hooks import CheckpointLoadingHook, ClassCountHook


def runner(model, loaded=False, classes=('a', 'b', 'c', 'd', 'e')):
    dataset = SimpleNamespace(metainfo=dict(classes=classes) if classes else {})
    return SimpleNamespace(model=model, _has_loaded=loaded, train_dataloader=SimpleNamespace(dataset=dataset))


def state(model, *prefixes):
    return {k: v for k, v in model.state_dict().items() if k.startswith(prefixes)}


@pytest.mark.parametrize(
    'tracker, refiner, needed',
    [('cosine', False, []), ('dvis', False, ['segmenter']), ('dvis', True, ['segmenter', 'tracker'])],
)
def test_frozen_stages_are_required(tracker, refiner, needed):
    model, hook = tiny.model(tracker, refiner), CheckpointLoadingHook()
    assert hook.stages(model) == needed
    learner = ['refiner'] if refiner else ['segmenter'] if tracker == 'cosine' else ['tracker']
    assert hook.stages(model, resume=True) == needed + learner


def test_a_covered_stage_goes_on():
    model = tiny.model('dvis')
    hook = CheckpointLoadingHook()
    content = dict(state_dict={**state(model, 'segmenter.'), 'refiner.x': torch.ones(1)})
    hook.after_load_checkpoint(runner(model), content)
    assert set(content['state_dict']) == set(state(model, 'segmenter.'))
    hook.before_train(runner(model, loaded=True))
    with pytest.raises(ValueError, match='must come from the previous stage'):
        hook.before_train(runner(model, loaded=False))


def test_a_learning_stage_is_there_as_a_whole_or_not_at_all():
    model = tiny.model('dvis')
    hook, part = CheckpointLoadingHook(), state(model, 'segmenter.', 'tracker.layers.0.')
    with pytest.raises(ValueError, match='tracker.decoder_norm.weight is missing'):
        hook.after_load_checkpoint(runner(model), dict(state_dict=part))
    CheckpointLoadingHook(allow_mismatch=('tracker.',)).after_load_checkpoint(runner(model), dict(state_dict=part))
    with pytest.raises(ValueError, match='tracker.layers.0.rca.in_proj_weight is missing'):
        CheckpointLoadingHook(required=('tracker',)).after_load_checkpoint(
            runner(model), dict(state_dict=state(model, 'segmenter.'))
        )


def test_options_are_lists_of_names():
    with pytest.raises(
        ValueError, match='must be lists of names, got None and .segmenter.cls_embed.; put a single name into a list'
    ):
        CheckpointLoadingHook(allow_mismatch='segmenter.cls_embed')
    with pytest.raises(
        ValueError, match=r"required must contain names of stages \(segmenter, tracker, refiner\), got 'head'"
    ):
        CheckpointLoadingHook(required=['head'])


def test_a_resumed_run_needs_all_and_allows_nothing():
    model = tiny.model('dvis')
    resumed = runner(model)
    resumed._resume = True
    with pytest.raises(ValueError, match='tracker.* is missing'):
        CheckpointLoadingHook(required=(), allow_mismatch=('tracker.',)).after_load_checkpoint(
            resumed, dict(state_dict=state(model, 'segmenter.'))
        )


def test_weights_of_a_wrapped_model_are_looked_at():
    model = tiny.model('dvis')
    wrapped = nn.DataParallel(model)
    with pytest.raises(ValueError, match='work/x.pth does not fit: .* segmenter.* is missing'):
        CheckpointLoadingHook().after_load_checkpoint(
            runner(wrapped), dict(state_dict=state(model, 'tracker.'), filename='work/x.pth')
        )


def test_notes_and_contradictions_are_logged(capfd):
    MMLogger.get_instance('handover', logger_name='handover')
    model = tiny.model('dvis')
    content = dict(
        state_dict=tiny.model('dvis', True).state_dict(),
        filename='v1.pth',
        meta=dict(switches={'tracker.legacy_inverse_match': True}),
    )
    CheckpointLoadingHook().after_load_checkpoint(runner(model), content)
    text = ''.join(capfd.readouterr())
    assert 'v1.pth: the weights of the later stage refiner were dropped' in text
    assert 'WARNING' in text and 'v1.pth: its weights were trained with tracker.legacy_inverse_match=True' in text
    assert not any(name.startswith('refiner') for name in content['state_dict'])


def test_a_saved_checkpoint_keeps_the_switches():
    content = dict(meta={})
    CheckpointLoadingHook().before_save_checkpoint(runner(tiny.model('dvis_legacy')), content)
    assert content['meta']['switches'] == {
        'segmenter.normed_embeds': True,
        'tracker.legacy_inverse_match': True,
        'tracker.start': 'matched',
        'tracker.cross_attention': 'referring',
    }


def test_class_counts_are_compared():
    model = tiny.model('dvis')
    ClassCountHook().before_train(runner(model))
    ClassCountHook().before_train(runner(model, classes=None))
    with pytest.raises(
        ValueError, match='the model has num_classes=5 and the dataset has 2 classes; set model.num_classes=2'
    ):
        ClassCountHook().before_train(runner(model, classes=('a', 'b')))


def test_initialisation_reaches_the_backbone_and_spares_the_stages():
    """mmengine calls ``init_weights`` of every module; the stages keep the initialisation of their constructors."""
    model = tiny.model('dvis', True)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    model.init_weights()
    changed = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert changed and all(name.startswith('segmenter.backbone.') for name in changed)


def test_swin_is_a_backbone_too():
    from mmdvis.registry import MODELS

    swin = dict(
        type='mmdet.SwinTransformer',
        embed_dims=8,
        depths=(1, 1, 1, 1),
        num_heads=(1, 1, 2, 2),
        window_size=4,
        drop_path_rate=0.0,
    )
    segmenter = MODELS.build(dict(tiny.SEGMENTER, backbone=swin)).eval()
    with torch.no_grad():
        queries = segmenter(torch.randn(1, 2, 3, 64, 96))
    assert queries.class_logits.shape == (1, 2, tiny.QUERIES, tiny.CLASSES + 1)
