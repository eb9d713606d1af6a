"""Training runs of a study: what they train, what they start from, and the folders they are kept in."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.config import Config

from mmdvis.analysis.ablation import Plan, Row, Scores
from mmdvis.checkpoints import Checkpoint, load_weights, trained_options
from mmdvis.checkpoints.zoo import find_entry
from mmdvis.errors import OptionError
from mmdvis.io import atomic_write
from mmdvis.registry import MODELS

SetIterations = Callable[[Config, int], None]
DATA_FOLDER, DEFAULT_FOLDER = 'TOY_DATA', 'data/toy'  # environment variable of the configs, and its default


@dataclass(frozen=True)
class Run:
    """A training and its scores.

    Runs with the same settings and the same start have the same name, so rows and studies share them.

    Attributes:
        stem: Name of the config.
        settings: Text of the resolved config, without the checkpoint it starts from.
        identity: The same as JSON, with the default folder of the toy videos, and the name of the file of ``weights``.
        start: The run that it starts from; None if the config says where to start.
        is_trained: Whether it trains; otherwise it scores the checkpoint of ``start``, or the weights of a model.
        tta: Short edges in pixels of the passes that are fused when it is scored.
        weights: Name of the model whose weights it takes instead of training; None if it has none.
    """

    stem: str
    settings: str
    identity: str
    start: 'Run | None' = None
    is_trained: bool = True
    tta: tuple[int, ...] = ()
    weights: str | None = None

    @property
    def name(self) -> str:
        """Name of its folder: name of the config, and a hash of the settings, of the weights and of its start."""
        text = self.identity + (self.start.name if self.start else '') + ('' if self.is_trained else ' scored only')
        text += f' fused {self.tta}' if self.tta else ''
        return f'{self.stem}_{hashlib.blake2b(text.encode(), digest_size=5).hexdigest()}'


def run_of(row: Row, plan: Plan, seed: int | None, start: Run | None, set_iterations: SetIterations) -> Run:
    """The run of a row, or of a stage that the study starts from.

    Args:
        row: The row.
        plan: Its study.
        seed: Seed of the training; None keeps that of the config.
        start: The run that it starts from.
        set_iterations: Changes the number of iterations of a config in place.

    Raises:
        CheckpointError: There are no weights of the model that the row names.
    """
    config = Config.fromfile(row.config)
    config.merge_from_dict({**plan.options, **row.options})
    if seed is not None:
        config.merge_from_dict({'randomness.seed': seed})
    if row.iters:
        set_iterations(config, row.iters)
    if start is not None:
        config.load_from = None
    identity = json.dumps(config.to_dict(), sort_keys=True, default=repr)
    if os.environ.get(DATA_FOLDER):
        identity = identity.replace(f'"{os.environ[DATA_FOLDER]}/', f'"{DEFAULT_FOLDER}/')
    if row.weights is not None:
        identity += f' with {weights_file(row.weights).name}'
    is_trained = row.iters != 0 and row.weights is None
    return Run(Path(row.config).stem, config.pretty_text, identity, start, is_trained, row.tta, row.weights)


def study_runs(plan: Plan, set_iterations: SetIterations) -> dict[tuple[str, int], Run]:
    """The runs of a study by row and seed; those they start from are their ``start``.

    Args:
        plan: The study.
        set_iterations: Changes the number of iterations of a config in place.
    """
    common = None
    for stage in plan.start:
        common = run_of(stage, plan, None, common, set_iterations)
    runs: dict[tuple[str, int], Run] = {}
    for seed in plan.seeds:
        for name, row in plan.rows.items():
            start = common if row.start is None else nearest_trained(runs[row.start, seed])
            runs[name, seed] = run_of(row, plan, seed, start, set_iterations)
    return runs


def weights_file(name: str) -> Path:
    """Path that the weights of a model have, or will have when they are downloaded.

    Raises:
        CheckpointError: There is no such model, or it has no weights that can be downloaded.
    """
    entry = find_entry(name)
    return entry.place_of_weights or entry.find_weights()


def write_start(config: Path, name: str, path: Path) -> None:
    """Writes a checkpoint with the weights of a model, without the stages that the config does not have.

    Args:
        config: Path of the config.
        name: Name of the model with the weights; they are downloaded if necessary.
        path: Path of the checkpoint.

    Raises:
        CheckpointError: There are no weights of the model, or they do not fit the config.
    """
    checkpoint = Checkpoint.read(find_entry(name).find_weights())
    model = MODELS.build(Config.fromfile(config).model)
    load_weights(model, checkpoint)
    meta = dict(dataset_meta=checkpoint.meta.get('dataset_meta'), switches=trained_options(model))
    with atomic_write(path) as temporary:
        torch.save(dict(meta=meta, state_dict=model.state_dict()), temporary)


def nearest_trained(run: Run) -> Run:
    """The run itself if it trains, else the one whose checkpoint it scores."""
    while not run.is_trained and run.start is not None:
        run = run.start
    return run


def chain(run: Run) -> Iterator[Run]:
    """The runs that a run starts from, the first one first, and the run itself."""
    if run.start is not None:
        yield from chain(run.start)
    yield run


def in_order(runs: Iterable[Run]) -> list[Run]:
    """Runs and those they start from, each once; starts come first, so that few runs wait for others."""
    parts = {part.name: part for run in runs for part in chain(run)}
    return sorted(parts.values(), key=lambda part: len(list(chain(part))))


def known_scores(plan: Plan, runs: dict[tuple[str, int], Run], path: Path) -> Scores:
    """Metrics of earlier runs with the same settings, from a file written by :func:`write_study`; empty without one.

    Args:
        plan: The study.
        runs: Its runs.
        path: The file.
    """
    scores: Scores = {}
    if not path.is_file():
        return scores
    content = json.loads(path.read_text())
    for (name, seed), run in runs.items():
        if content.get('runs', {}).get(name, {}).get(str(seed)) == run.name:
            values = content['rows'][name][str(seed)]
            if all(metric in values for metric in plan.metrics):
                scores.setdefault(name, {})[seed] = values
    return scores


def read_scores(plan: Plan, runs: dict[tuple[str, int], Run], folder: Path, known: Scores | None = None) -> Scores:
    """Metrics of the finished runs in ``<folder>/<name of the run>/metrics.json``, and of known ones.

    Raises:
        OptionError: A run has no metric of a name in the plan.
    """
    scores: Scores = {name: dict(seeds) for name, seeds in (known or {}).items()}
    for (name, seed), run in runs.items():
        path = folder / run.name / 'metrics.json'
        if not path.exists():
            continue
        values = json.loads(path.read_text())
        missing = [metric for metric in plan.metrics if metric not in values]
        if missing:
            raise OptionError(f'{path} has no metric {missing[0]}; it has {", ".join(values)}')
        scores.setdefault(name, {})[seed] = values
    return scores
