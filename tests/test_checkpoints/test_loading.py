"""What a model takes over from a checkpoint."""

import pytest
import torch
from helpers import tiny

from mmdvis.checkpoints import option_conflicts, plan_loading, trained_options
from mmdvis.checkpoints.converters import RELEASED_OPTIONS
from mmdvis.checkpoints.loading import TRAINED_OPTIONS, missing_weights

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


def test_released_weights_name_every_switch():
    assert all(set(switches) == set(TRAINED_OPTIONS) for switches in RELEASED_OPTIONS.values())


def test_without_a_word_every_stage_is_required():
    with pytest.raises(ValueError, match='tracker.y is missing'):
        plan_loading(WANTED, {'segmenter.x': torch.ones(2)})


def test_all_of_it_is_taken():
    result = plan_loading(WANTED, dict(WANTED), ['segmenter', 'tracker'])
    assert set(result.weights) == set(WANTED) and not result.notes()


def test_a_stage_that_is_not_required_may_be_absent():
    result = plan_loading(WANTED, {'segmenter.x': torch.ones(2)}, ['segmenter'])
    assert result.fresh == ('tracker',) and result.notes() == ['tracker is not in it and begins anew']
    with pytest.raises(
        ValueError, match='the checkpoint does not fit: 2 weights are .* tracker.y is missing; tracker.z is m'
    ):
        plan_loading(WANTED, {'segmenter.x': torch.ones(2)}, ['segmenter', 'tracker'])


def test_half_a_stage_is_refused_even_where_it_is_not_required():
    with pytest.raises(ValueError, match='a.pth does not fit: 1 weights .* tracker.z is missing'):
        plan_loading(WANTED, {'segmenter.x': torch.ones(2), 'tracker.y': torch.ones(3)}, ['segmenter'], origin='a.pth')


def test_another_shape_and_an_unknown_name_are_refused_unless_allowed():
    found = {**WANTED, 'tracker.y': torch.ones(5), 'tracker.new': torch.ones(1)}
    with pytest.raises(ValueError, match=r'tracker.new is unknown; tracker.y is \(5,\) and should be \(3,\)\.'):
        plan_loading(WANTED, found, [])
    result = plan_loading(WANTED, found, [], ['tracker.y', 'tracker.n'])
    assert set(result.weights) == {'segmenter.x', 'segmenter.bn.num_batches_tracked', 'tracker.z'}
    assert result.notes() == [
        'tracker.y begins anew, as allow_mismatch permits',
        'tracker.new has no place in the model and was left out, as allow_mismatch permits',
    ]


def test_allowed_names_are_beginnings_of_the_whole_name():
    with pytest.raises(ValueError, match='tracker.y'):
        plan_loading(WANTED, {**WANTED, 'tracker.y': torch.ones(5)}, [], ['y', 'segmenter.'])


def test_later_stages_are_dropped_and_strangers_are_not():
    result = plan_loading(WANTED, {**WANTED, 'refiner.a': torch.ones(1)}, ['segmenter'])
    assert result.dropped == ('refiner',) and 'refiner.a' not in result.weights
    assert result.notes() == ['the weights of the later stage refiner were dropped']
    with pytest.raises(ValueError, match='ema.a is unknown'):
        plan_loading(WANTED, {**WANTED, 'ema.a': torch.ones(1)}, [])


def test_what_released_weights_need_is_compared():
    needs = {'tracker.legacy_inverse_match': True, 'tracker.context': 'first_frame', 'segmenter.normed_embeds': True}
    sentences = option_conflicts(tiny.model('dvis', True), needs)
    assert len(sentences) == 2
    assert sentences[0].startswith(
        'its weights were trained with tracker.legacy_inverse_match=True and this config says False'
    )
    assert "set model.tracker.context='first_frame'" in sentences[1]


def test_switches_of_absent_stages_do_not_matter():
    """What a refiner reads is nobody's business without one, and MinVIS needs nothing."""
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
    """Its letters would allow everything."""
    with pytest.raises(ValueError, match='must be a list of names, none of them empty'):
        plan_loading(WANTED, {}, **options)


def test_a_crooked_word_on_switches_is_ignored():
    assert option_conflicts(tiny.model('dvis'), None) == []
    assert option_conflicts(tiny.model('dvis'), {'tracker.nothing': 3, 'x': torch.ones(2)}) == []


def test_the_direction_of_matching_is_nothing_without_matching():
    assert option_conflicts(tiny.model('dvis_unmatched'), {'tracker.legacy_inverse_match': True}) == []
