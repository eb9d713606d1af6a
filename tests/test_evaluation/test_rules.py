"""Each rule of the public scripts matters: change one, and a figure of the fixtures moves."""
import importlib
import json
import sys
import tempfile
import types
from pathlib import Path

import numpy as np
import pytest
from test_scoring import EXPECTED, SET

from mmdvis.evaluation.functional.panoptic_files import vipseg_truth

PACKAGE = 'mmdvis.evaluation.functional'
MODULES = ('official_json', 'frame_table', 'vpq', 'stq', 'vss', 'vis_ap', 'panoptic_files', 'track_files', 'scoring')
V = SET / 'vipseg'
RULES = {  # what is changed: module, its text, the changed text, the measure that moves
    'window stride': ('vpq', 'range(len(tables) - length + 1)', 'range(0, len(tables) - length + 1, length)', 'vpq'),
    '> to >=': ('vpq', 'if iou > 0.5:', 'if iou >= 0.5:', 'vpq'),
    'void left in the union': ('vpq', ' - joint.get((VOID, p), 0)\n', '\n', 'vpq'),
    'crowd ignored': ('frame_table', "bool(s.get('iscrowd', 0))", 'False', 'vpq'),
    'class of the last frame': ('vpq', 'first.category, first.last_category, first.area + entry.area',
                                'entry.category, first.last_category, first.area + entry.area', 'vpq'),
    'short videos padded': ('vpq', 'range(len(tables) - length + 1)', 'range(max(len(tables) - length, 0) + 1)', 'vpq'),
    'mean over all classes': ('vpq', 'values = [self.classes[c].quality for c in categories if c in self.classes]',
                              'values = [self.classes[c].quality if c in self.classes else (0., 0., 0.) for c in categories]',
                              'vpq'),
    'area of the json': ('vpq', 'true_area + area[p] - count', 'true_area + predicted[p].area - count', 'areas'),
    'false positives are not forgiven': ('vpq', 'and not forgiven / area[p] > 0.5', '', 'vpq'),
    'crowd of a class: the first': ('frame_table', 'for g, entry in truth.items() if entry.is_crowd}',
                                    'for g, entry in reversed(truth.items()) if entry.is_crowd}', 'vpq'),
    'instance numbers': ('stq', "0 if numbering == 'official' else 1", '1', 'stq'),
    'void prediction in SQ': ('stq', 'seen = union > 0', 'seen = (union > 0) & (np.arange(len(union)) < len(union) - 1)', 'stq'),
    'small tubes count': ('vpq', 'min_truth_area=32 * 32', 'min_truth_area=0', 'viper'),
    'last window of VC': ('vss', 'tuple(found[:-1])', 'tuple(found)', 'vss'),
    'list of VC not emptied': ('vss', "result.update({f'VC{n}': mean(np.array(found)) for n, found in values.items()})",
                               "result.update(VC8=mean(np.array(values[8])), VC16=mean(np.array(values[8] + values[16])))",
                               'vss'),
    'mIoU over predicted classes': ('vss', 'mIoU=mean(iou[seen])', 'mIoU=mean(iou[union > 0])', 'vss'),
    'detections of other sizes count': ('vis_ap', 'ignored | (~hit & ~ignored & outside)', 'ignored', 'vis'),
    'best detections last': ('vis_ap', "np.argsort([-d['score'] for d", "np.argsort([d['score'] for d", 'vis')}


def figures(scoring, measure):
    """Name -> value of a measure on the fixtures, and what the public scripts give."""
    if measure == 'vpq':
        found = scoring.score_vpq('vipseg', V / 'panoptic_gt_VIPSeg_val.json', V / 'panomasksRGB', V / 'submission').figures
        return found, {f'VPQ{k}': EXPECTED['vpq_vipseg']['per_window'][str(k)]['All']['pq'] for k in (1, 2, 4, 6)}
    if measure == 'areas':  # the same predictions, whose json states areas that are none
        with tempfile.TemporaryDirectory() as folder:
            content = json.loads((V / 'submission' / 'pred.json').read_text())
            for segment in (s for v in content['annotations'] for f in v['annotations'] for s in f['segments_info']):
                segment['area'] = 10**6
            (Path(folder) / 'pred.json').write_text(json.dumps(content))
            (Path(folder) / 'pan_pred').symlink_to(V / 'submission' / 'pan_pred')
            found = scoring.score_vpq('vipseg', V / 'panoptic_gt_VIPSeg_val.json', V / 'panomasksRGB', Path(folder)).figures
        return found, {f'VPQ{k}': EXPECTED['vpq_vipseg']['per_window'][str(k)]['All']['pq'] for k in (1, 2, 4, 6)}
    if measure == 'viper':
        root = SET / 'viper'
        found = scoring.score_vpq('viper', root / 'panoptic_gt_viper.json', root / 'panomasksRGB', root / 'submission').figures
        return found, {f'VPQ@{k}': EXPECTED['vpq_viper']['per_window_frames'][str(k)]['All']['pq'] for k in (1, 5, 10, 15)}
    if measure == 'stq':
        found = scoring.score_stq('vipseg', V / 'panoptic_gt_VIPSeg_val.json', V / 'panomasksRGB', V / 'submission').figures
        return found, {name: EXPECTED['stq_vipseg']['official_script'][name] for name in ('STQ', 'AQ', 'SQ')}
    if measure == 'vss':
        found = scoring.score_vss(SET / 'vspw', SET / 'vspw' / 'val.txt', SET / 'vspw' / 'pred').figures
        return found, {name: EXPECTED['vss_vspw'][name] for name in ('mIoU', 'fwIoU', 'VC8', 'VC16')}
    found = scoring.score_vis(SET / 'ytvis' / 'gt.json', SET / 'ytvis' / 'results.json').figures
    return found, {name: EXPECTED['ytvis_ap'][name] for name in ('AP', 'AP50', 'AR1', 'AR10', 'AP_small')}


def changed(monkeypatch, module, old, new):
    """The scoring module of a copy of the package in which one text is another."""
    originals = {name: importlib.import_module(f'{PACKAGE}.{name}') for name in MODULES}
    for name, original in originals.items():
        text = open(original.__file__).read()
        if name == module:
            assert text.count(old) == 1, f'{old!r} stands {text.count(old)} times in {name}'
            text = text.replace(old, new)
        copy = types.ModuleType(f'{PACKAGE}.{name}')
        copy.__file__, copy.__package__ = original.__file__, PACKAGE
        monkeypatch.setitem(sys.modules, f'{PACKAGE}.{name}', copy)
        monkeypatch.setattr(importlib.import_module(PACKAGE), name, copy)
        exec(compile(text, original.__file__, 'exec'), copy.__dict__)
    return sys.modules[f'{PACKAGE}.scoring']


def furthest(found, wanted):
    return max(abs(found[name] - value) if not np.isnan(found[name]) else 1. for name, value in wanted.items())


@pytest.mark.parametrize('measure', ['vpq', 'areas', 'viper', 'stq', 'vss', 'vis'])
def test_unchanged_rules_give_the_figures(monkeypatch, measure):
    """The harness itself changes nothing."""
    assert furthest(*figures(changed(monkeypatch, None, '', ''), measure)) < 1e-8


@pytest.mark.parametrize('rule', RULES)
def test_a_changed_rule_is_seen_by_a_figure(monkeypatch, rule):
    module, old, new, measure = RULES[rule]
    assert furthest(*figures(changed(monkeypatch, module, old, new), measure)) > 1e-6


def test_the_fixtures_are_those_of_the_public_scripts():
    """Every window of the published figures is there."""
    truth = vipseg_truth(V / 'panoptic_gt_VIPSeg_val.json', V / 'panomasksRGB')
    for k, figures in EXPECTED['vpq_vipseg']['per_window'].items():
        assert sum(max(len(frames) - int(k) + 1, 0) for frames in truth.videos.values()) == figures['num_windows']
    assert EXPECTED['vpq_vipseg']['per_window']['1']['num_windows'] == 105
