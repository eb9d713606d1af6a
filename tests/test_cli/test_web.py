"""The web demo, in Chromium, with the model of the package."""

import sys

import numpy as np
import pytest
from helpers.browser import open_page
from helpers.commands import free_port

from mmdvis.cli import main as cli
from mmdvis.datasets.toy.scene import draw_scene, render
from mmdvis.io import VideoWriter

gradio = pytest.importorskip('gradio')


@pytest.fixture
def clip(tmp_path):
    rng = np.random.default_rng(3)
    scene = draw_scene(rng)
    with VideoWriter(tmp_path / 'shapes.mp4', 6) as writer:
        for t in range(8):
            writer.write(render(scene, t, rng)[0])
    return tmp_path / 'shapes.mp4'


@pytest.fixture
def demo(tmp_path):
    from mmdvis.cli.web_demo import WebDemo

    demo, port = WebDemo('cpu', tmp_path / 'out'), free_port()
    page = demo.serve(port=port, is_blocking=False)
    yield demo, f'http://127.0.0.1:{port}'
    page.close()


@pytest.mark.slow
def test_a_video_is_uploaded_segmented_played_and_downloaded(demo, clip, tmp_path):
    demo, url = demo
    with open_page() as page:
        page.goto(url)
        page.wait_for_selector('#segment')
        page.locator('input[type=file]').first.set_input_files(str(clip))
        page.wait_for_function("() => document.querySelectorAll('video').length > 0", timeout=20_000)
        page.locator('#segment').click()
        page.wait_for_function(
            "() => document.querySelector('#summary').innerText.includes('8 frames')", timeout=120_000
        )
        page.wait_for_function(
            "() => [...document.querySelectorAll('#drawn video')].some((v) => v.readyState > 1)", timeout=20_000
        )
        seconds = page.evaluate("() => document.querySelector('#drawn video').duration")
        assert seconds == pytest.approx(8 / 6, abs=0.2)
        assert 'viewer.html' in page.locator('#files').inner_text().replace('\n', '')
        with page.expect_download() as download:
            page.locator('#files a[download]').first.click()
        assert download.value.path().stat().st_size > 0
    assert {path.name for path in (tmp_path / 'out' / '0001').iterdir()} == {
        'video.mp4',
        'result.json',
        'tracks.csv',
        'coco.json',
        'viewer.html',
    }


def test_bad_input_is_explained(demo, clip):
    demo, _ = demo
    with pytest.raises(gradio.Error, match='choose a video'):
        demo.segment(None, 'dvis-offline_toy', False, '', 0.5, [], [], progress=lambda *a, **k: None)
    with pytest.raises(gradio.Error, match='the model has no class dog'):
        demo.segment(str(clip), 'dvis-offline_toy', False, 'dog', 0.5, [], [], progress=lambda *a, **k: None)
    first = demo.model
    *_, counts, summary = demo.segment(
        str(clip), 'dvis-offline_toy', True, '', 0.5, [], ['boxes'], progress=lambda *a, **k: None
    )
    assert counts and summary.startswith('8 frames') and demo.model is first  # loaded once


def test_the_demo_describes_models(demo):
    demo, _ = demo
    assert (
        demo.describe('minvis_r50_coco-panoptic')
        == 'VPS, 133 classes · COCO panoptic · licence Apache-2.0 · PQ 52.0 on COCO'
    )


def test_temporary_results_are_deleted():
    from mmdvis.cli.web_demo import WebDemo

    demo = WebDemo('cpu')
    assert demo.out_dir.is_dir()
    demo.close()
    assert not demo.out_dir.exists()


def test_a_missing_gradio_is_explained(monkeypatch):
    monkeypatch.setitem(sys.modules, 'gradio', None)
    monkeypatch.delitem(sys.modules, 'mmdvis.cli.web_demo', raising=False)
    with pytest.raises(SystemExit, match=r'needs gradio, which is not installed; pip install "mmdvis\[web\]"'):
        cli.main(['web'])
