"""The hooks by themselves, and what starts from where."""
from types import SimpleNamespace

import pytest
import tiny
import torch
from torch import nn

from mmdvis.engine.hooks import ClassCountHook, StageHandoverHook
from mmdvis.engine.hooks.stage_handover import uncovered
from mmdvis.structures import missing_weights


def runner(model, loaded=False, classes=('a', 'b', 'c', 'd', 'e')):
    dataset = SimpleNamespace(metainfo=dict(classes=classes) if classes else {})
    return SimpleNamespace(model=model, _has_loaded=loaded, train_dataloader=SimpleNamespace(dataset=dataset))


def state(model, *prefixes):
    return {k: v for k, v in model.state_dict().items() if k.startswith(prefixes)}


def test_what_is_uncovered():
    wanted = {'a.x': torch.zeros(2), 'a.y': torch.zeros(3), 'b.z': torch.zeros(1), 'a.bn.num_batches_tracked': torch.zeros(())}
    found = {'a.x': torch.zeros(2), 'a.y': torch.zeros(4)}
    assert missing_weights(wanted, found) == ['a.y', 'b.z']
    assert uncovered(wanted, found, ['a'], []) == ['a.y']
    assert uncovered(wanted, found, ['a', 'b'], ['a.y']) == ['b.z']
    assert uncovered(wanted, found, [], []) == []


def test_a_prefix_is_a_whole_name():
    assert uncovered({'tracker2.x': torch.zeros(1)}, {}, ['tracker'], []) == []


@pytest.mark.parametrize('tracker, refiner, needed', [
    ('cosine', False, []), ('dvis', False, ['segmenter']), ('dvis', True, ['segmenter', 'tracker'])])
def test_frozen_stages_are_required(tracker, refiner, needed):
    assert StageHandoverHook().prefixes(tiny.model(tracker, refiner)) == needed


def test_a_covered_stage_goes_on():
    model = tiny.model('dvis')
    hook = StageHandoverHook()
    hook.after_load_checkpoint(runner(model), dict(state_dict=state(model, 'segmenter.')))
    hook.before_train(runner(model, loaded=True))


def test_a_learning_stage_need_not_be_covered_unless_said():
    model = tiny.model('dvis')
    content = dict(state_dict=state(model, 'segmenter.'))
    with pytest.raises(ValueError, match='under tracker.cls_embed, tracker.decoder_norm'):
        StageHandoverHook(required=('tracker', )).after_load_checkpoint(runner(model), content)
    StageHandoverHook(required=('tracker', ), allow_mismatch=('tracker.', )).after_load_checkpoint(runner(model), content)


def test_weights_of_a_wrapped_model_are_looked_at():
    model = tiny.model('dvis')
    wrapped = nn.DataParallel(model)
    with pytest.raises(ValueError, match='lacks .* tensors that this stage needs'):
        StageHandoverHook().after_load_checkpoint(runner(wrapped), dict(state_dict=state(model, 'tracker.')))


def test_class_counts_are_compared():
    model = tiny.model('dvis')
    ClassCountHook().before_train(runner(model))
    ClassCountHook().before_train(runner(model, classes=None))
    with pytest.raises(ValueError, match='segmenter.cls_embed tells 5 classes apart, the dataset has 2; set num_classes=2'):
        ClassCountHook().before_train(runner(model, classes=('a', 'b')))


def test_initialisation_reaches_the_backbone_and_spares_the_stages():
    """mmengine asks every module that has ``init_weights``; the stages' own start is that of their constructors."""
    model = tiny.model('dvis', True)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    model.init_weights()
    changed = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert changed and all(name.startswith('segmenter.backbone.') for name in changed)


def test_swin_is_a_backbone_too():
    from mmdvis.registry import MODELS
    swin = dict(type='mmdet.SwinTransformer', embed_dims=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2), window_size=4,
                drop_path_rate=0.)
    segmenter = MODELS.build(dict(tiny.SEGMENTER, backbone=swin)).eval()
    with torch.no_grad():
        queries = segmenter(torch.randn(1, 2, 3, 64, 96))
    assert queries.class_logits.shape == (1, 2, tiny.QUERIES, tiny.CLASSES + 1)
