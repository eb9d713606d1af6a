"""tools/score.py reproduces every score of the public scripts."""

import json
import shutil

import numpy as np
import pytest
from helpers.metric_fixtures import CITY, EXPECTED, IMAGES, NAMES, SET, TRACKS, VIPER, VIPSEG, VSS
from PIL import Image


def close(found, wanted, tolerance=1e-9):
    for name, value in wanted.items():
        assert found[name] == pytest.approx(value, abs=tolerance), name


@pytest.mark.parametrize('workers', [1, 2, None])
def test_vipseg(score, workers):
    code, scores = score('vpq', *VIPSEG, workers=workers)
    expected = EXPECTED['vpq_vipseg']
    assert code == 0 and set(scores) == {'VPQ', 'VPQ_Th', 'VPQ_St', 'VPQ1', 'VPQ2', 'VPQ4', 'VPQ6', 'VPQ_12468'}
    close(scores, {f'VPQ{k}': expected['per_window'][str(k)]['All']['pq'] for k in (1, 2, 4, 6)})
    close(
        scores,
        {
            name: expected['VPQ_1246'][group] / 100
            for name, group in (('VPQ', 'All'), ('VPQ_Th', 'Things'), ('VPQ_St', 'Stuff'))
        },
    )
    assert round(100 * scores['VPQ_12468'], 2) == pytest.approx(
        expected['script_as_is_final_12468']['vpq_all'], abs=0.01
    )


def test_details_hold_every_class_and_video(score, tmp_path):
    score('vpq', *VIPSEG, '--details', tmp_path / 'd' / 'details.json')
    details, expected = json.loads((tmp_path / 'd' / 'details.json').read_text()), EXPECTED['vpq_vipseg']
    for k in (1, 2, 4, 6, 8):
        for category, figures in expected['per_window'][str(k)]['per_class'].items():
            name = next(n for c, n in NAMES.items() if c == int(category))
            assert details['per_class'][name][f'VPQ{k}'] == pytest.approx(figures['pq'], abs=1e-9)
    for video, counts in expected['per_video'].items():
        quality = [iou / (tp + fp / 2 + fn / 2) for iou, tp, fp, fn in counts['k1'].values() if tp + fp + fn]
        assert details['per_video'][video]['VPQ1'] == pytest.approx(np.mean(quality), abs=1e-9)
    score('vss', *VSS, '--details', tmp_path / 'vss.json')
    per_class = json.loads((tmp_path / 'vss.json').read_text())['per_class']
    for category, counts in EXPECTED['vss_vspw']['per_class'].items():
        union = counts['gt'] + counts['pred'] - counts['inter']
        assert per_class[category]['IoU'] == pytest.approx(counts['inter'] / union, abs=1e-9)
    score('vis', *TRACKS, '--details', tmp_path / 'vis.json')
    per_class = json.loads((tmp_path / 'vis.json').read_text())['per_class']
    for category, value in EXPECTED['ytvis_ap_per_category'].items():
        ap = per_class[f'obj{category}' if f'obj{category}' in per_class else category]['AP']
        assert ap != ap if value is None else ap == pytest.approx(value, abs=1e-8)
    score('pq', *IMAGES, '--details', tmp_path / 'pq.json')
    assert len(json.loads((tmp_path / 'pq.json').read_text())['per_class']) == EXPECTED['image_pq']['All']['n']


def test_stq(score):
    code, scores = score('stq', *VIPSEG)
    expected = EXPECTED['stq_vipseg']
    assert code == 0 and set(scores) == {f'{n}{s}' for n in ('STQ', 'AQ', 'SQ') for s in ('', '_corrected')}
    close(scores, {name: expected['official_script'][name] for name in ('STQ', 'AQ', 'SQ')})
    close(
        scores,
        {f'{name}_corrected': expected['instance_numbers_from_1_crowd_is_0'][name] for name in ('STQ', 'AQ', 'SQ')},
    )


@pytest.mark.parametrize('folder', ['submission', 'pred_dense'])
def test_cityscapes(score, folder):
    """Predictions for all 30 frames of a video are reduced to the annotated frames."""
    code, scores = score('vpq', *CITY, SET / 'cityscapes_vps' / folder)
    expected = EXPECTED['vpq_cityscapes_vps']['per_window']
    assert code == 0 and set(scores) == {'VPQ', 'VPQ_Th', 'VPQ_St', 'VPQ@0', 'VPQ@5', 'VPQ@10', 'VPQ@15'}
    close(scores, {f'VPQ@{k}': expected[str(k)]['All']['pq'] for k in (0, 5, 10, 15)})
    for name, group in (('VPQ', 'All'), ('VPQ_Th', 'Things'), ('VPQ_St', 'Stuff')):
        assert scores[name] == pytest.approx(np.mean([expected[str(k)][group]['pq'] for k in (0, 5, 10, 15)]), abs=1e-9)


def test_a_dense_prediction_without_names_is_cut_by_position(score, tmp_path):
    folder = tmp_path / 'dense'
    shutil.copytree(SET / 'cityscapes_vps' / 'pred_dense', folder)
    content = json.loads((folder / 'pred.json').read_text())
    for frame in content['annotations']:
        frame.pop('image_id')
    (folder / 'pred.json').write_text(json.dumps(content))
    close(score('vpq', *CITY, folder)[1], {'VPQ@0': EXPECTED['vpq_cityscapes_vps']['per_window']['0']['All']['pq']})


def test_viper(score):
    code, scores = score('vpq', *VIPER)
    expected = EXPECTED['vpq_viper']['per_window_frames']
    assert code == 0 and set(scores) == {'VPQ', 'VPQ_Th', 'VPQ_St', 'VPQ@1', 'VPQ@5', 'VPQ@10', 'VPQ@15'}
    close(scores, {f'VPQ@{k}': expected[str(k)]['All']['pq'] for k in (1, 5, 10, 15)})
    left_out = score('vpq', *VIPER, '--exclude-classes', '0', '2')[1]
    classes = {c: v['pq'] for c, v in expected['1']['per_class'].items() if c not in ('0', '2')}
    assert left_out['VPQ@1'] == pytest.approx(np.mean(list(classes.values())), abs=1e-9)


def test_vspw(score):
    code, scores = score('vss', *VSS)
    expected = EXPECTED['vss_vspw']
    close(scores, {name: expected[name] for name in ('mIoU', 'fwIoU', 'pixel_acc', 'mean_class_acc', 'VC8', 'VC16')})
    assert code == 0 and scores['VC16_with_VC8'] == pytest.approx(
        expected['dvis_plus_script_as_printed']['VC16'], abs=1e-9
    )


def test_image_pq(score):
    code, scores = score('pq', *IMAGES)
    expected = EXPECTED['image_pq']
    close(
        scores,
        dict(
            PQ=expected['All']['pq'],
            SQ=expected['All']['sq'],
            RQ=expected['All']['rq'],
            PQ_Th=expected['Things']['pq'],
            PQ_St=expected['Stuff']['pq'],
        ),
    )
    assert code == 0 and set(scores) == {'PQ', 'SQ', 'RQ', 'PQ_Th', 'PQ_St'}


@pytest.mark.parametrize('ovis', [False, True])
def test_tracks(score, ovis):
    code, scores = score('vis', *TRACKS, *(['--ovis'] if ovis else []))
    names = {name: name.replace('occ_medium', 'moderate').replace('occ_', '') for name in EXPECTED['ovis_ap']}
    expected = {names[name]: value for name, value in EXPECTED['ovis_ap' if ovis else 'ytvis_ap'].items()}
    assert code == 0 and set(scores) == set(expected)
    close(scores, expected, 1e-8)


def test_classes_and_videos_are_shown(score, capsys):
    score('vpq', *VIPSEG, '--per-class', '--per-video')
    text = capsys.readouterr().out
    assert '| 743_class_flip ' in text and '| 1900_exact ' in text and text.count('| VPQ1') + text.count(' VPQ1 ') >= 3
    score('vis', *TRACKS, '--per-class')
    assert '| obj1 ' in capsys.readouterr().out


@pytest.mark.parametrize(
    'case',
    json.loads((SET / 'deeplab2' / 'expected.json').read_text())['pq_mean_over_classes'],
    ids=lambda c: '+'.join(c['images']),
)
def test_image_pq_of_deeplab2(case, tmp_path):
    """In the test images of deeplab2 a segment is a pair of class and instance; class 0 is void."""
    from mmdvis.evaluation.functional.frame_table import frame_table
    from mmdvis.evaluation.functional.vpq import WindowCounts, count_video

    folder, total = SET / 'deeplab2', WindowCounts()
    expected = json.loads((folder / 'expected.json').read_text())
    palette = {
        (0, 0, 0): 0,
        (0, 0, 255): 1,
        (255, 0, 0): 2,
        (0, 255, 0): 3,
        (255, 0, 255): 4,
        (0, 255, 255): 5,
        (255, 255, 0): 6,
    }

    def grey(name):
        return np.asarray(Image.open(folder / name).convert('L')).astype(int)

    def classes(name):
        rgb = np.asarray(Image.open(folder / name).convert('RGB')).astype(int)
        return np.array([palette[tuple(p)] for p in rgb.reshape(-1, 3)]).reshape(rgb.shape[:2])

    def listed(ids):
        return [dict(id=int(i), category_id=int(i) // 1000, area=int((ids == i).sum())) for i in np.unique(ids) if i]

    for name in case['images']:
        true_name = f'{name}_gt_instance.png' if name == 'team' else f'{name}_gt.png'
        instance = grey(true_name)
        lookup = {int(k): v for k, v in expected['encoding']['gt_grey_value_to_class'][true_name].items()}
        gt = np.vectorize(lambda i: 0 if lookup[i] == 0 else lookup[i] * 1000 + i)(instance)
        pred_classes = classes(f'{name}_pred_class.png')
        predicted = np.where(pred_classes == 0, 0, pred_classes * 1000 + grey(f'{name}_pred_instance.png'))
        total += count_video([frame_table(gt, listed(gt), predicted, listed(predicted))], [1])[1]
    quality = total.mean(range(1, case['num_classes']))
    for value, name in zip(quality, ('pq', 'sq', 'rq')):
        assert value == pytest.approx(case['expected'][name], abs=10 ** -case['places'])


@pytest.mark.parametrize('index', [3, 9, 27])
def test_an_annotation_with_id_0_is_never_found(score, tmp_path, index):
    """The public evaluation has this behaviour; mmdet's port of it gives the expected scores."""
    from mmdet.evaluation.functional import YTVIS, YTVISeval

    content = json.loads((SET / 'ytvis' / 'gt.json').read_text())
    content['annotations'][index]['id'] = 0
    (tmp_path / 'gt.json').write_text(json.dumps(content))
    gt = YTVIS(str(tmp_path / 'gt.json'))
    public = YTVISeval(gt, gt.loadRes(str(SET / 'ytvis' / 'results.json')), 'segm')
    public.evaluate()
    public.accumulate()
    public.summarize()
    scores = score('vis', '--gt', tmp_path / 'gt.json', '--pred', SET / 'ytvis' / 'results.json')[1]
    assert scores['AP'] == pytest.approx(public.stats[0], abs=1e-8) and scores['AP'] < EXPECTED['ytvis_ap']['AP'] - 1e-3
    assert scores['AR10'] == pytest.approx(public.stats[7], abs=1e-8)


def test_the_fixtures_are_those_of_the_public_scripts():
    """Every window of the published figures is present."""
    truth = json.loads((SET / 'vipseg' / 'panoptic_gt_VIPSeg_val.json').read_text())
    lengths = [len(video['annotations']) for video in truth['annotations']]
    for k, figures in EXPECTED['vpq_vipseg']['per_window'].items():
        assert sum(max(length - int(k) + 1, 0) for length in lengths) == figures['num_windows']
    assert sum(lengths) == EXPECTED['vpq_vipseg']['per_window']['1']['num_windows'] == 105


def test_short_and_long_videos(score):
    scores = score('vis', *TRACKS, '--long-min-frames', 6)[1]
    assert scores['AP_SL'] == (scores['AP_S'] + scores['AP_L']) / 2 and scores['AP_S'] != scores['AP_L']
    assert score('vis', *TRACKS, '--long-min-frames', 999)[1]['AP_SL'] == -1.0
