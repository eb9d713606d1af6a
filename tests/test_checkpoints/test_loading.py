"""Loading checkpoints: which weights are loaded, ignored or refused."""

import pytest
import torch
from helpers import tiny

from mmdvis.checkpoints import (
    Checkpoint,
    checkpoint_format,
    plan_loading,
    stored_config,
    trained_options,
    with_trained_options,
)
from mmdvis.checkpoints.converters import RELEASED_OPTIONS, TRAINED_OPTIONS
from mmdvis.checkpoints.loading import missing_weights, option_conflicts
from mmdvis.errors import CheckpointError

WANTED = {
    'segmenter.x': torch.zeros(2),
    'segmenter.bn.num_batches_tracked': torch.zeros(()),
    'tracker.y': torch.zeros(3),
    'tracker.z': torch.zeros(4),
}


def test_recomputed_buffers_do_not_count():
    assert missing_weights(WANTED, {'segmenter.x': torch.zeros(2), 'tracker.y': torch.zeros(4)}) == [
        'tracker.y',
        'tracker.z',
    ]


OF_EOMT = {'segmenter.masked', 'segmenter.normed_state'}  # from the tensors of the file


def test_released_weights_name_every_switch():
    assert set(RELEASED_OPTIONS) == {'dvis', 'dvis_plus'}
    assert all(set(options) == set(TRAINED_OPTIONS) - OF_EOMT for options in RELEASED_OPTIONS.values())


def test_without_a_word_every_stage_is_required():
    with pytest.raises(ValueError, match='tracker.y is missing'):
        plan_loading(WANTED, {'segmenter.x': torch.ones(2)})


def test_all_of_it_is_taken():
    result = plan_loading(WANTED, dict(WANTED), ['segmenter', 'tracker'])
    assert set(result.weights) == set(WANTED) and not result.notes()


def test_a_stage_that_is_not_required_may_be_absent():
    result = plan_loading(WANTED, {'segmenter.x': torch.ones(2)}, ['segmenter'])
    assert result.new_stages == ('tracker',)
    assert result.notes() == ['it does not contain tracker, which stays randomly initialised']
    with pytest.raises(
        ValueError, match='the checkpoint does not fit: 2 weights are .* tracker.y is missing; tracker.z is m'
    ):
        plan_loading(WANTED, {'segmenter.x': torch.ones(2)}, ['segmenter', 'tracker'])


def test_half_a_stage_is_refused_even_where_it_is_not_required():
    with pytest.raises(ValueError, match='a.pth does not fit: 1 weights .* tracker.z is missing'):
        plan_loading(WANTED, {'segmenter.x': torch.ones(2), 'tracker.y': torch.ones(3)}, ['segmenter'], origin='a.pth')


def test_another_shape_and_an_unknown_name_are_refused_unless_allowed():
    weights = {**WANTED, 'tracker.y': torch.ones(5), 'tracker.new': torch.ones(1)}
    with pytest.raises(ValueError, match=r'tracker.new is unknown; tracker.y is \(5,\) and should be \(3,\)\.'):
        plan_loading(WANTED, weights, [])
    result = plan_loading(WANTED, weights, [], ['tracker.y', 'tracker.n'])
    assert set(result.weights) == {'segmenter.x', 'segmenter.bn.num_batches_tracked', 'tracker.z'}
    assert result.notes() == [
        'tracker.y stays randomly initialised, as allow_mismatch permits',
        'tracker.new is unknown to the model and was ignored, as allow_mismatch permits',
    ]


def test_allowed_names_are_beginnings_of_the_whole_name():
    with pytest.raises(ValueError, match='tracker.y'):
        plan_loading(WANTED, {**WANTED, 'tracker.y': torch.ones(5)}, [], ['y', 'segmenter.'])


def test_later_stages_are_dropped_and_strangers_are_not():
    result = plan_loading(WANTED, {**WANTED, 'refiner.a': torch.ones(1)}, ['segmenter'])
    assert result.dropped_stages == ('refiner',) and 'refiner.a' not in result.weights
    assert result.notes() == ['the weights of the later stage refiner were dropped']
    with pytest.raises(ValueError, match='ema.a is unknown'):
        plan_loading(WANTED, {**WANTED, 'ema.a': torch.ones(1)}, [])


def test_what_released_weights_need_is_compared():
    needs = {'tracker.legacy_inverse_match': True, 'tracker.context': 'first_frame', 'segmenter.normed_embeds': True}
    sentences = option_conflicts(tiny.model('dvis', True), needs)
    assert len(sentences) == 2
    assert sentences[0].startswith(
        'its weights were trained with tracker.legacy_inverse_match=True and this config has False'
    )
    assert "set model.tracker.context='first_frame'" in sentences[1]


def test_switches_of_absent_stages_do_not_matter():
    """Options that only the refiner reads are ignored without a refiner; MinVIS needs no option."""
    needs = {'tracker.legacy_inverse_match': True, 'tracker.context': 'first_frame'}
    assert option_conflicts(tiny.model('cosine'), needs) == []
    assert len(option_conflicts(tiny.model('dvis'), needs)) == 1
    assert option_conflicts(tiny.model('dvis_legacy'), needs) == []
    assert trained_options(tiny.model('cosine')) == {}
    assert trained_options(tiny.model('dvis', True))['tracker.normed_outputs'] is True


@pytest.mark.parametrize(
    'options', [dict(allow_mismatch='tracker.y'), dict(required='tracker'), dict(allow_mismatch=[''])]
)
def test_one_text_is_no_list_of_names(options):
    """Iterating over a string would yield single letters, which are prefixes of every name."""
    with pytest.raises(ValueError, match='must be a list of non-empty names'):
        plan_loading(WANTED, {}, **options)


def test_a_crooked_word_on_switches_is_ignored():
    assert option_conflicts(tiny.model('dvis'), None) == []
    assert option_conflicts(tiny.model('dvis'), {'tracker.nothing': 3, 'x': torch.ones(2)}) == []


def test_the_direction_of_matching_is_nothing_without_matching():
    assert option_conflicts(tiny.model('dvis_unmatched'), {'tracker.legacy_inverse_match': True}) == []


def checkpoint(**options):
    return Checkpoint({}, dict(switches=options), 'a.pth', 'mmdvis')


def test_options_that_the_config_does_not_state_are_those_of_the_training():
    model = dict(type='DVIS', segmenter=dict(), tracker=dict(type='DVISTracker', decoder=dict(num_layers=2)))
    options = {
        'tracker.legacy_inverse_match': True,
        'tracker.cross_attention': 'standard',
        'tracker.context': 'first_frame',
    }
    result = with_trained_options(model, checkpoint(**options))
    assert result['tracker'] == dict(
        type='DVISTracker', decoder=dict(num_layers=2, cross_attention='standard'), legacy_inverse_match=True
    )
    assert model['tracker'] == dict(type='DVISTracker', decoder=dict(num_layers=2))
    offline = with_trained_options(dict(model, refiner=dict(type='TemporalRefiner')), checkpoint(**options))
    assert offline['tracker']['context'] == 'first_frame'


def test_options_of_the_config_take_precedence():
    model = dict(type='DVIS', segmenter=dict(), tracker=dict(type='DVISTracker', legacy_inverse_match=False))
    assert with_trained_options(model, checkpoint(**{'tracker.legacy_inverse_match': True})) == model
    minvis = dict(type='DVIS', segmenter=dict(), tracker=dict(type='CosineTracker'))
    assert with_trained_options(minvis, checkpoint(**{'tracker.legacy_inverse_match': True})) == minvis
    assert with_trained_options(minvis, checkpoint(**{'tracker.cross_attention': 'referring'})) == minvis
    assert with_trained_options(minvis, checkpoint()) == minvis
    assert with_trained_options(minvis, Checkpoint({}, dict(switches='x'), 'a.pth', 'mmdvis')) == minvis


@pytest.mark.parametrize(
    'name, kind',
    [
        ('sem_seg_head.predictor.class_embed.weight', 'detectron2'),
        ('tracker.transformer_ffn_layers.0.norm.bias', 'detectron2'),
        ('offline_tracker.decoder_norm.bias', 'detectron2'),
        ('panoptic_head.cls_embed.weight', 'mmdet'),
        ('track_head.cls_embed.weight', 'mmdet'),
        ('model.transformer_module.queries_features.weight', 'transformers'),
        ('segmenter.cls_embed.weight', 'mmdvis'),
        ('tracker.layers.0.norms.0.bias', 'mmdvis'),
    ],
)
def test_the_format_is_recognised_by_the_names(name, kind):
    assert checkpoint_format({name: torch.zeros(1)}) == kind


def test_unknown_tensors_of_another_project_are_refused():
    content = {'sem_seg_head.predictor.class_embed.weight': torch.zeros(2, 3), 'ema.x': torch.zeros(1)}
    with pytest.raises(CheckpointError, match='a.pth is a detectron2 checkpoint with 1 tensors .* such as ema.x'):
        Checkpoint.from_content(content, 'a.pth')
    loaded = Checkpoint.from_content(content, 'a.pth', allow_leftover=['ema.'])
    assert list(loaded.weights) == ['segmenter.cls_embed.weight'] and loaded.format == 'detectron2'


def test_the_config_of_a_checkpoint_is_read_without_executing_it():
    text = "lr = 1e-4\nmodel = dict(type='DVIS', size=(1, -2), tags=['a', None, True], table={'x.y': dict(z=3)})\n"
    config = stored_config(dict(cfg=text), 'a.pth')
    assert stored_config(dict(cfg="a = dict({'x.y': 1}, z=2)\n"), 'a.pth').a == {'x.y': 1, 'z': 2}
    assert config.model.size == (1, -2) and config.model.table['x.y'].z == 3 and config.lr == 1e-4


@pytest.mark.parametrize(
    'text',
    [
        'import os\n',
        "model = __import__('os').system('true')\n",
        "model = dict(**{'a': 1})\n",
        "model = dict({'a': 1}, {'b': 2})\n",
        "model = dict({'a': open('x')})\n",
        "x = [i for i in 'ab']\n",
        "model = dict(a=open('x'))\n",
        'x = (',
        'a.b = 3\n',
    ],
)
def test_anything_but_literals_in_a_stored_config_is_refused(text):
    with pytest.raises(CheckpointError, match='the config in a.pth cannot be read .*; name the config file as well'):
        stored_config(dict(cfg=text), 'a.pth')


def test_a_checkpoint_without_config_says_so():
    with pytest.raises(CheckpointError, match='a.pth does not contain its config; name the config file as well'):
        stored_config({}, 'a.pth')


def test_a_stage_without_an_option_does_not_get_it():
    """A tracker of one's own has no options of DVISTracker, with which a checkpoint was trained."""
    from mmdvis.registry import MODELS

    @MODELS.register_module(name='OwnTracker', force=True)
    class OwnTracker(torch.nn.Module):
        pass

    checkpoint = Checkpoint({}, dict(switches={'tracker.legacy_inverse_match': True}), 'a.pth', 'mmdvis')
    own = with_trained_options(dict(tracker=dict(type='OwnTracker')), checkpoint)
    assert own == dict(tracker=dict(type='OwnTracker'))
    known = with_trained_options(dict(tracker=dict(type='DVISTracker')), checkpoint)
    assert known['tracker']['legacy_inverse_match'] is True
    MODELS.module_dict.pop('OwnTracker')


@pytest.mark.parametrize('text', ["filename = 'x'\n", 'a = ' + '-' * 100_000 + '1\n'])
def test_a_stored_config_with_reserved_names_or_without_end_is_refused(text):
    with pytest.raises(CheckpointError, match='the config in a.pth cannot be read'):
        stored_config(dict(cfg=text), 'a.pth')
