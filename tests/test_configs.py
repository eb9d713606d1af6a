"""Every config is loaded, dumped, reloaded, built and stepped once on tiny inputs."""
from pathlib import Path

import pytest
import tiny
import torch
from mmengine.config import Config

from mmdvis.registry import MODELS, OPTIM_WRAPPER_CONSTRUCTORS
from mmdvis.structures import ArrayFrames, VideoDataSample

CONFIGS = Path(__file__).parent.parent / 'configs'
LEAVES = sorted(p for p in CONFIGS.rglob('*.py') if '_base_' not in p.parts)


@pytest.mark.parametrize('path', LEAVES, ids=lambda p: p.stem)
def test_a_config_survives_being_dumped(path, tmp_path):
    config = Config.fromfile(path)
    config.dump(tmp_path / 'dumped.py')
    again = Config.fromfile(tmp_path / 'dumped.py')
    assert again.model == config.model and again.train_dataloader == config.train_dataloader


@pytest.mark.parametrize('path', LEAVES, ids=lambda p: p.stem)
def test_stages_agree_and_start_from_each_other(path):
    config = Config.fromfile(path)
    classes = {config.model[s].num_classes for s in ('segmenter', 'tracker', 'refiner')
               if 'num_classes' in (config.model.get(s) or {})}
    assert classes == {config.num_classes}
    if config.model.tracker.type == 'DVISTracker':
        assert config.load_from, 'a later stage needs the checkpoint of the one before'
        if config.model.segmenter.get('reid') and not config.model.get('refiner'):
            assert config.load_from.startswith('checkpoints/')  # its segmenter cannot be trained here
            return
        before = Path(config.load_from).parent.name
        assert any(p.stem == before for p in LEAVES)
        assert config.load_from.endswith(f"iter_{Config.fromfile(next(CONFIGS.rglob(before + '.py'))).train_cfg.max_iters}.pth")


@pytest.mark.parametrize('path', [p for p in LEAVES if 'bench' not in p.stem], ids=lambda p: p.stem)
def test_a_config_is_built_and_stepped_once(path):
    torch.manual_seed(0)
    config = Config.fromfile(path)
    for name in ('segmenter', 'tracker', 'refiner'):
        if 'loss' in (config.model.get(name) or {}):
            config.model[name].loss.num_points = 64  # the only thing that a test makes smaller
    model = MODELS.build(config.model).train()
    constructor = OPTIM_WRAPPER_CONSTRUCTORS.get(config.optim_wrapper.constructor)
    wrapper = constructor(
        {k: v for k, v in config.optim_wrapper.items() if k not in ('constructor', 'paramwise_cfg')},
        config.optim_wrapper.paramwise_cfg)(model)
    frames = min(config.train_dataloader.dataset.clip.num_frames, 3)
    sample = VideoDataSample()
    sample.set_field(tiny.targets(frames), 'gt_targets')
    before = [p.detach().clone() for p in model.parameters() if p.requires_grad]
    losses = model(torch.randn(1, frames, 3, 64, 96), [sample], mode='loss')
    loss, _ = model.parse_losses(losses)
    wrapper.update_params(loss)
    changed = [not torch.equal(a, b) for a, b in zip(before, (p for p in model.parameters() if p.requires_grad))]
    assert torch.isfinite(loss) and sum(changed) > 0.9 * len(changed)
    video = ArrayFrames(torch.randint(0, 256, (2, 3, 40, 50), dtype=torch.uint8))
    result = model.eval().predict([video], [VideoDataSample()])[0]
    assert result.pred_panoptic.id_map.shape == (2, 40, 50)


def test_the_three_vipseg_stages_follow_the_recipe():
    """The recipe of the DVIS paper: clip lengths 1, 5 and 21, reversal and crop in the refiner, 20k iterations."""
    found = {}
    for folder, stem in (('minvis', 'minvis_r50_8xb1-t1-20k'), ('dvis', 'dvis-online_r50_8xb1-t5-20k'),
                         ('dvis', 'dvis-offline_r50_8xb1-t21-20k')):
        config = Config.fromfile(CONFIGS / folder / f'{stem}_vipseg-720p.py')
        data = config.train_dataloader.dataset
        found[stem] = (data.clip.num_frames, data.clip.get('reverse', 0), data.augment.get('crop'))
        assert (config.train_cfg.max_iters, config.param_scheduler.milestones) == (20000, [14000])
        assert (config.optim_wrapper.optimizer.lr, config.optim_wrapper.clip_grad.max_norm) == (1e-4, 0.01)
        assert config.test_dataloader.dataset.test == dict(short_edge=720, max_edge=1333)
    assert list(found.values()) == [(1, 0, None), (5, 0, None), (21, 0.5, dict(size=(608, 608)))]
