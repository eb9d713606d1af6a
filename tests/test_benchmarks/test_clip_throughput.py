"""Clip throughput benchmark: both paths give the same targets, and the dataset reads the written json."""

import pytest
from helpers.commands import load

from mmdvis.datasets.vipseg import VIPSegDataset
from mmdvis.datasets.youtube_vis import YouTubeVISDataset


@pytest.fixture
def tool(monkeypatch):
    module = load('benchmarks/clip_throughput.py')
    for name, value in dict(HEIGHT=72, WIDTH=128, S11=(48, 80)).items():
        monkeypatch.setattr(module, name, value)
    return module


def test_both_routes_are_compared_and_timed(tool, tmp_path):
    tool.write_videos(tmp_path, None, number=2)
    dataset = VIPSegDataset(data_root=str(tmp_path), ann_file='train.json', data_prefix=dict(img='images', seg='masks'))
    clocks = tool.run_clips(dataset, 3)  # raises if the targets differ
    assert all(
        set(clock.cpu) == {'decode', 'transform', 'pack'} and min(clock.wall.values()) > 0 for clock in clocks.values()
    )
    assert clocks['masks'].size > clocks['maps'].size
    assert set(tool.parts_of_decode(dataset, 4)) == {'image', 'mask'}


def test_the_json_has_the_size_it_claims(tool, tmp_path):
    tool.write_tracks(tmp_path / 'train.json', videos=5)
    dataset = YouTubeVISDataset(version=2021, data_root=str(tmp_path), ann_file='train.json')
    masks = [mask for k in range(5) for track in dataset.get_data_info(k)['tracks'] for mask in track['masks']]
    assert len(masks) == 5 * 30 * 2 and {len(mask['counts']) for mask in masks} == {600}
