"""Fixtures of the public metric scripts, and the arguments of tools/score.py for them."""

import json

from .commands import DATA

SET = DATA / 'metrics'
EXPECTED = json.loads((SET / 'expected.json').read_text())
NAMES = {
    c['id']: c['name'] for c in json.loads((SET / 'vipseg' / 'panoptic_gt_VIPSeg_val.json').read_text())['categories']
}
VIPSEG = [
    '--gt-json',
    SET / 'vipseg' / 'panoptic_gt_VIPSeg_val.json',
    '--gt-dir',
    SET / 'vipseg' / 'panomasksRGB',
    '--pred',
    SET / 'vipseg' / 'submission',
]
CITY = [
    '--flavour',
    'cityscapes',
    '--gt-json',
    SET / 'cityscapes_vps' / 'panoptic_gt_val_city_vps.json',
    '--gt-dir',
    SET / 'cityscapes_vps' / 'panoptic_video',
    '--pred',
]
VIPER = [
    '--flavour',
    'viper',
    '--gt-json',
    SET / 'viper' / 'panoptic_gt_viper.json',
    '--gt-dir',
    SET / 'viper' / 'panomasksRGB',
    '--pred',
    SET / 'viper' / 'submission',
]
VSS = ['--gt', SET / 'vspw', '--list', SET / 'vspw' / 'val.txt', '--pred', SET / 'vspw' / 'pred']
IMAGES = [
    '--gt-json',
    SET / 'image_pq' / 'panoptic_gt.json',
    '--gt-dir',
    SET / 'image_pq' / 'panoptic_gt',
    '--pred-json',
    SET / 'image_pq' / 'panoptic_pred.json',
    '--pred-dir',
    SET / 'image_pq' / 'panoptic_pred',
]
TRACKS = ['--gt', SET / 'ytvis' / 'gt.json', '--pred', SET / 'ytvis' / 'results.json']
