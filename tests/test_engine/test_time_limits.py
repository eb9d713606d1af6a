"""A data loader worker or process that does not answer ends the run with one sentence."""

import multiprocessing
import time

import pytest
import torch
import torch.distributed as dist
from helpers import tiny_config
from mmengine.config import Config

from mmdvis.datasets import VIPSegDataset
from mmdvis.engine.launch import load_config, train
from mmdvis.engine.time_limits import group_timeout, limit_waiting, report_hanging, time_limit
from mmdvis.errors import HungProcessError


def test_the_limit_is_that_of_the_process_group():
    config = Config(
        dict(
            env_cfg=dict(dist_cfg=dict(timeout=7)),
            train_dataloader=dict(num_workers=2),
            val_dataloader=dict(num_workers=0),
        )
    )
    limit_waiting(config)
    assert time_limit(config) == 7 == group_timeout(config).seconds and config.train_dataloader.timeout == 7
    assert 'timeout' not in config.val_dataloader  # torch refuses one without workers
    assert time_limit(Config(dict())) == 1800
    own = Config(dict(train_dataloader=dict(num_workers=2, timeout=3)))
    limit_waiting(own)
    assert own.train_dataloader.timeout == 3


def test_a_hung_worker_ends_the_run(toy_root, tmp_path, monkeypatch):
    path = tiny_config.write(tmp_path, 'minvis', toy_root, iters=3)
    options = {'train_dataloader.num_workers': 1, 'env_cfg.dist_cfg.timeout': 2}
    config = load_config(str(path), str(tmp_path), options)
    monkeypatch.setattr(VIPSegDataset, '__getitem__', lambda dataset, index: time.sleep(60))
    start = time.monotonic()
    with pytest.raises(HungProcessError, match=r'a data loader worker has not answered for 2 seconds \(env_cfg'):
        train(config)
    assert time.monotonic() - start < 40


@pytest.mark.parametrize('text', ['the shape is wrong', 'CUDA error: the launch timed out and was terminated'])
def test_other_errors_are_not_touched(text):
    with pytest.raises(RuntimeError, match=text) as caught, report_hanging(Config(dict())):
        raise RuntimeError(text)
    assert not isinstance(caught.value, HungProcessError)


def wait_for_the_other(rank, file, pipe):
    config = Config(dict(env_cfg=dict(dist_cfg=dict(timeout=3))))
    dist.init_process_group(
        'gloo', init_method=f'file://{file}', rank=rank, world_size=2, timeout=group_timeout(config)
    )
    if rank == 1:
        time.sleep(60)
    try:
        with report_hanging(config):
            dist.all_reduce(torch.ones(1))
    except BaseException as error:
        pipe.send((type(error).__name__, str(error)))


def test_a_hung_process_ends_the_others(tmp_path):
    context = multiprocessing.get_context('fork')
    receiver, sender = context.Pipe(duplex=False)
    processes = [context.Process(target=wait_for_the_other, args=(rank, tmp_path / 'store', sender)) for rank in (0, 1)]
    for process in processes:
        process.start()
    try:
        assert receiver.poll(50)
        kind, text = receiver.recv()
        assert kind == 'HungProcessError' and text.startswith('another process has not answered for 3 seconds')
    finally:
        for process in processes:
            process.kill()
            process.join()
