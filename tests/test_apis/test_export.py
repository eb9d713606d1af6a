"""Exported models: graphs equal to the stages, and the same results from video to maps."""

import json
import shutil

import pytest
import torch
from helpers import tiny

from mmdvis.apis import VideoSegInferencer, load, optimize_for_inference
from mmdvis.cli.export import main
from mmdvis.errors import CheckpointError, OptionError
from mmdvis.inference import OfflineVideo, VideoStream, export_model, load_exported
from mmdvis.inference.export import graphs_of
from mmdvis.inference.graphs import RefinerGraph
from mmdvis.io import ArrayFrames
from mmdvis.registry import MODELS

SIZE = (64, 96)
TRACKERS = ['cosine', 'cosine_memory', 'dvis', 'dvis_plus', 'dvis_from_output', 'dvis_unmatched', 'dvis_legacy']


def video(number=6, size=SIZE, seed=0):
    g = torch.Generator().manual_seed(seed)
    return ArrayFrames(torch.randint(0, 256, (number, 3, *size), generator=g, dtype=torch.uint8))


@pytest.fixture(scope='module')
def program(tmp_path_factory):
    """Offline model as programs of torch, which need no other package."""
    model = tiny.model('dvis_first_frame', True).eval()
    return model, export_model(model, tmp_path_factory.mktemp('exported') / 'model', SIZE, 'torch_export')


@pytest.fixture(scope='module')
def loaded(program):
    """The exported model; reading its programs takes seconds."""
    return load_exported(program[1])


def clip_of(num_frames):
    queries = tiny.frame_queries(num_frames)
    return tiny.model('cosine').tracker(queries)[0]


def share(first, second):
    return float((first.id_map == second.id_map).float().mean())


def test_offline_and_streamed_results_are_the_same(program, loaded):
    model, exported = program[0], loaded
    assert exported.trainable == () and not list(exported.parameters())
    whole = [OfflineVideo(m, progress=False).result(video()) for m in (model, exported)]
    assert share(*whole) > 0.999 and [s.id for s in whole[0].segments] == [s.id for s in whole[1].segments]
    streams = [VideoStream(m) for m in (model, exported)]
    for start in (0, 2, 5):
        results = [stream.push(video().read(start, min(start + 3, 6))) for stream in streams]
        assert share(*results) > 0.999
        assert [s.id for s in results[0].segments] == [s.id for s in results[1].segments]


@pytest.mark.parametrize(
    'tracker', ['dvis_plus', *(pytest.param(name, marks=pytest.mark.slow) for name in TRACKERS if name != 'dvis_plus')]
)
def test_all_trackers(tmp_path, tracker):
    model = tiny.model(tracker).eval()
    export_model(model, tmp_path, SIZE, 'torch_export')
    exported = load_exported(tmp_path)
    frames = torch.randn(1, 5, 3, *SIZE)
    with torch.no_grad():
        expected, state = model.step(frames[:, :3])
        found, graph_state = exported.step(frames[:, :3])
        later, later_found = model.step(frames[:, 3:], state)[0], exported.step(frames[:, 3:], graph_state)[0]
    for a, b in ((expected, found), (later, later_found)):
        for name in a.AXES:
            torch.testing.assert_close(getattr(b, name), getattr(a, name), atol=1e-4, rtol=1e-4, msg=name)


def test_a_segmenter_whose_queries_pass_through_the_backbone(tmp_path):
    model = tiny.model('cosine', segmenter=tiny.EOMT).eval()
    export_model(model, tmp_path, SIZE, 'torch_export')
    results = [OfflineVideo(m, progress=False).result(video()) for m in (model, load_exported(tmp_path))]
    assert share(*results) > 0.999


def test_the_padding_of_the_model_is_exported(tmp_path):
    preprocessor = dict(type='ClipPreprocessor', square=True, fill='black')
    model = tiny.model('cosine', segmenter=tiny.EOMT, data_preprocessor=preprocessor).eval()
    exported = load_exported(export_model(model, tmp_path, (40, 90), 'torch_export'))
    frames = video(2, (40, 90)).read(0, 2)
    size = exported.data_preprocessor.padded((40, 90))
    assert size == (96, 96) and torch.equal(
        exported.data_preprocessor.normalise(frames, size), model.data_preprocessor.normalise(frames, size)
    )


def test_the_refiner_takes_clips_of_any_length(program, loaded):
    model, exported = program[0], loaded
    for length in (1, 2, 7):
        clip = clip_of(length)
        with torch.no_grad():
            expected, found = model.refiner(clip), exported.refiner(clip)
        for name in ('embeds', 'class_logits', 'mask_embeds'):
            torch.testing.assert_close(getattr(found, name), getattr(expected, name), atol=1e-4, rtol=1e-4)


def test_other_options_of_the_refiner():
    """Without temporal attention, convolution or cross-attention, the graph still is the refiner."""
    for option in ('time_attention', 'convolution', 'cross_attention'):
        config = dict(tiny.REFINER, decoder=dict(tiny.REFINER['decoder'], **{option: False}))
        refiner, clip = MODELS.build(config).eval(), clip_of(4)
        with torch.no_grad():
            found, expected = RefinerGraph(refiner)(clip.embeds[0], clip.context[0]), refiner(clip)
        torch.testing.assert_close(found[0], expected.embeds[0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(found[1], expected.class_logits[0, 0], atol=1e-5, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize('kind, package', [('onnx', 'onnxruntime'), ('openvino', 'openvino')])
def test_other_runtimes_give_the_same_maps(tmp_path, kind, package):
    pytest.importorskip(package)
    pytest.importorskip('onnxscript')
    model = load('dvis-offline_toy').model
    exported = load_exported(export_model(model, tmp_path / kind, (96, 160), kind))
    frames = video(5, (96, 160))
    results = [OfflineVideo(m, progress=False).result(frames) for m in (model, exported)]
    assert share(*results) >= 0.999
    assert [(s.id, s.label) for s in results[0].segments] == [(s.id, s.label) for s in results[1].segments]
    assert share(*(VideoStream(m).push(frames.read(0, 5)) for m in (model, exported))) >= 0.999


def test_smaller_frames_are_padded_and_larger_ones_refused(loaded):
    exported = VideoSegInferencer(loaded)
    for size in ((64, 96), (120, 100), (30, 200), (200, 300)):
        (result,) = list(exported(video(1, size).frames[0].permute(1, 2, 0).numpy()))
        assert result.image_size == size
    with pytest.raises(ValueError, match=r'exported for frames of up to 64 x 96 .*, got 90 x 60'):
        exported.model.data_preprocessor.padded((90, 60))
    two = [video(2), video(2, seed=1)]
    with pytest.raises(ValueError, match='an exported model processes one video at a time'):
        list(exported.model.predictions(two))


@pytest.mark.slow
def test_the_command(tmp_path, capsys):
    assert (
        main(['dvis-offline_toy', '--format', 'torch_export', '--size', '90', '150', '--out', str(tmp_path / 'e')]) == 0
    )
    assert capsys.readouterr().out.strip() == str(tmp_path / 'e')
    content = json.loads((tmp_path / 'e' / 'model.json').read_text())
    assert content['size'] == [96, 160] and content['model']['dataset_meta']['num_things'] == 6
    model = load(str(tmp_path / 'e'))
    assert model.classes == load('dvis-offline_toy').classes
    with pytest.raises(SystemExit, match='--size must be two positive numbers'):
        main(['dvis-offline_toy', '--size', '0', '5', '--out', str(tmp_path)])


def test_faults_are_named(program, tmp_path, monkeypatch):
    model, folder = program
    with pytest.raises(ValueError, match="format must be 'onnx', 'openvino' or 'torch_export', got 'tflite'"):
        export_model(model, tmp_path, SIZE, 'tflite')
    with pytest.raises(OptionError, match='only models of the type DVIS can be exported, got Linear'):
        export_model(torch.nn.Linear(1, 1), tmp_path, SIZE)
    with pytest.raises(OptionError, match='the model needs a postprocessor'):
        export_model(without_postprocessor(), tmp_path, SIZE, 'torch_export')
    broken = tmp_path / 'broken'
    shutil.copytree(folder, broken)
    (broken / 'segmenter.pt2').unlink()
    with pytest.raises(CheckpointError, match='has no segmenter.pt2; export the model again'):
        load_exported(broken)
    (broken / 'segmenter.pt2').write_bytes(b'no program')
    with pytest.raises(CheckpointError, match='segmenter.pt2 cannot be read'):
        load_exported(broken)
    (broken / 'model.json').write_text('{}')
    with pytest.raises(CheckpointError, match='model.json cannot be read as the description'):
        load_exported(broken)
    monkeypatch.setitem(__import__('sys').modules, 'onnxscript', None)
    with pytest.raises(
        OptionError, match=r'the format onnx needs the package onnxscript; pip install "mmdvis\[export\]"'
    ):
        export_model(model, tmp_path / 'x', SIZE, 'onnx')
    assert not (tmp_path / 'x').exists()


def without_postprocessor():
    config = dict(type='DVIS', num_classes=tiny.CLASSES, segmenter=tiny.SEGMENTER, tracker=tiny.TRACKERS['cosine'])
    return MODELS.build(config).eval()


def test_a_failed_export_leaves_nothing(tmp_path, monkeypatch):
    from mmdvis.inference import export

    monkeypatch.setattr(export, 'write_program', lambda *args: (_ for _ in ()).throw(OSError('disk full')))
    with pytest.raises(OSError, match='disk full'):
        export_model(tiny.model('cosine', segmenter=tiny.EOMT).eval(), tmp_path / 'e', SIZE, 'torch_export')
    assert not list((tmp_path / 'e').iterdir())


def test_options_of_an_exported_model(program, loaded, tmp_path, monkeypatch):
    model, folder = program
    assert (
        VideoSegInferencer(str(folder), options={'model.postprocessor.score_thr': 0.7}).model.postprocessor.score_thr
        == 0.7
    )
    with pytest.raises(OptionError, match='is an exported model, which contains its weights'):
        VideoSegInferencer(str(folder), 'weights.pth', 'cpu')
    with pytest.raises(OptionError, match='this model is an exported one'):
        export_model(loaded, tmp_path, SIZE, 'torch_export')
    with pytest.raises(OptionError, match='models of the DVIS family that are not exported'):
        VideoSegInferencer(loaded, precision='int8')
    with pytest.raises(OptionError, match='leave out max_memory'):
        OfflineVideo(loaded, max_memory=10**9, progress=False).result(video())
    with pytest.raises(OptionError, match='only models in float32 on the CPU'):
        export_model(tiny.model('dvis').eval().double(), tmp_path, SIZE, 'torch_export')
    with pytest.raises(OptionError, match='only models in float32 on the CPU'):
        export_model(optimize_for_inference(tiny.model('dvis').eval(), 'int8'), tmp_path, SIZE, 'torch_export')
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'dvis-offline_toy').mkdir()  # a folder of this name is no exported model
    assert load('dvis-offline_toy').model.num_classes == 11


def test_minvis_has_one_graph():
    assert list(graphs_of(tiny.model('cosine').eval(), SIZE)) == ['segmenter']
    assert list(graphs_of(tiny.model('dvis', True).eval(), SIZE)) == [
        'segmenter',
        'tracker_first',
        'tracker_next',
        'refiner',
    ]
