"""Ablation studies: rows that differ in some options, trained with several seeds, and compared with a baseline."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from prettytable import PrettyTable
from scipy.stats import t as student

from mmdvis.errors import OptionError
from mmdvis.io import atomic_write, write_json

Scores = dict[str, dict[int, dict[str, float]]]  # row -> seed -> metric -> value
CONFIDENCE = 0.95
LEGEND = (
    'In percent. Mean and sample standard deviation over the seeds. Differences to the baseline are paired by seed and '
    'have 95 % confidence intervals.'
)
TYPES: dict[str, tuple[type, ...]] = dict(  # of the fields of a plan that are no text
    rows=(dict,), options=(dict,), seeds=(list,), metrics=(list,), iters=(int,), published=(float, int)
)


@dataclass(frozen=True)
class Row:
    """One row of a study.

    Attributes:
        config: Path of the config.
        options: Overrides of the config.
        iters: Number of iterations, to which the schedule of the config is stretched; None keeps it.
        published: Figure of the paper, in its own unit; None if it has none.
    """

    config: str
    options: dict[str, Any] = field(default_factory=dict)
    iters: int | None = None
    published: float | None = None


@dataclass(frozen=True)
class Plan:
    """A study.

    Attributes:
        title: What is compared.
        rows: Name -> row, in the order of the table.
        baseline: Name of the row that the others are compared with.
        seeds: Seeds of the training; the same ones for all rows, so that rows are compared seed by seed.
        metrics: Names of the metrics of the table.
        start: Checkpoint that all rows start from, or the config of a stage that is trained once for all rows; None if
            the configs say where to start.
        options: Overrides of all rows.
        source: Where the published figures are from.
    """

    title: str
    rows: dict[str, Row]
    baseline: str
    seeds: tuple[int, ...]
    metrics: tuple[str, ...]
    start: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    source: str = ''


def read_plan(path: Path) -> Plan:
    """Reads the plan of a study from a YAML file; its fields are those of :class:`Plan` and :class:`Row`.

    Raises:
        OptionError: The file is missing or not YAML, a field is missing or unknown, or a config does not exist.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding='utf-8'))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise OptionError(f'{path} cannot be read as the plan of a study: {error}') from None
    fields = checked_fields(content, Plan, str(path))
    rows: dict[str, Row] = {}
    folders: dict[str, str] = {}
    for name, row in fields['rows'].items():
        rows[str(name)] = Row(**checked_fields(row, Row, f'{path}, row {name}'))
        if not Path(rows[str(name)].config).is_file():
            raise OptionError(f'{path}, row {name}: there is no config {rows[str(name)].config}')
        other = folders.setdefault(folder_name(str(name)), str(name))
        if other != str(name):
            raise OptionError(f'{path}: the rows {other} and {name} have the same folder; use other letters or digits')
    if str(fields['baseline']) not in rows:
        raise OptionError(f'{path}: baseline must be one of {", ".join(rows)}, got {fields["baseline"]}')
    if not fields['seeds'] or not fields['metrics']:
        raise OptionError(f'{path}: seeds and metrics must have at least one entry')
    lists = dict(seeds=tuple(fields['seeds']), metrics=tuple(fields['metrics']))
    return Plan(**{**fields, **lists, 'rows': rows, 'baseline': str(fields['baseline'])})


def checked_fields(content: Any, kind: type, where: str) -> dict[str, Any]:
    """Fields of an entry of a plan; raises OptionError if it is no mapping, or a field is missing or unknown."""
    if not isinstance(content, dict):
        raise OptionError(f'{where}: expected fields and values, got {type(content).__name__}')
    known = kind.__dataclass_fields__
    needed = {name for name in known if name not in ('options', 'iters', 'published', 'start', 'source')}
    for problem, names in (('unknown', content.keys() - known.keys()), ('missing', needed - content.keys())):
        if names:
            raise OptionError(
                f'{where}: the field {sorted(map(str, names))[0]} is {problem}; fields: {", ".join(known)}'
            )
    for name, value in content.items():
        kinds = TYPES.get(name, (str,))
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise OptionError(f'{where}: {name} must be of type {kinds[0].__name__}, got {value!r}')
    return dict(content)


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation; the deviation of one value is NaN."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else float('nan')


def spread(values: Sequence[float]) -> str:
    """Text ``mean ± sample standard deviation``; only the mean for one value, and nothing for none."""
    if not values:
        return ''
    mean, deviation = mean_and_deviation(values)
    return f'{mean:.1f}' + (f' ± {deviation:.1f}' if len(values) > 1 else '')


def paired_interval(values: Sequence[float], baseline: Sequence[float]) -> tuple[float, float]:
    """Mean of the differences and half the width of its 95 % confidence interval (Student's t); infinite for one pair.

    Args:
        values: A metric for several seeds.
        baseline: The metric of the baseline for the same seeds.
    """
    differences = np.asarray(values) - np.asarray(baseline)
    number = len(differences)
    if number < 2:
        return float(differences.mean()), float('inf')
    factor = float(student.ppf((1 + CONFIDENCE) / 2, number - 1))
    return float(differences.mean()), factor * float(differences.std(ddof=1)) / number**0.5


def verdict(mean: float, half: float) -> str:
    """What an interval says about a difference: ``'higher'``, ``'lower'`` or ``'undecided'``."""
    if mean - half > 0:
        return 'higher'
    return 'lower' if mean + half < 0 else 'undecided'


def compared(scores: Scores, plan: Plan, row: str, metric: str) -> tuple[float, float]:
    """Mean difference of a row to the baseline, paired by seed, and half its confidence interval.

    Only seeds that both rows have are used; without any, the mean is NaN.
    """
    seeds = sorted(scores.get(row, {}).keys() & scores.get(plan.baseline, {}).keys())
    if not seeds:
        return float('nan'), float('inf')
    values, baseline = ([scores[name][seed][metric] for seed in seeds] for name in (row, plan.baseline))
    return paired_interval(values, baseline)


def study_table(plan: Plan, scores: Scores) -> PrettyTable:
    """Table of a study in percent: mean and deviation of each metric, and difference to the baseline with its verdict.

    Args:
        plan: The study.
        scores: Metrics in [0, 1] of the finished runs.
    """
    differences = [f'{metric} - {plan.baseline}' for metric in plan.metrics]
    has_published = any(row.published is not None for row in plan.rows.values())
    table = PrettyTable(['row', 'runs', *plan.metrics, *differences, *(['published'] if has_published else [])])
    table.align, table.align['row'] = 'r', 'l'
    for name, row in plan.rows.items():
        runs, cells = scores.get(name, {}), []
        for metric in plan.metrics:
            cells.append(spread([100 * run[metric] for run in runs.values()]))
        for metric in plan.metrics:
            mean, half = compared(scores, plan, name, metric)
            is_empty = name == plan.baseline or np.isnan(mean)
            width = f' ± {100 * half:.1f}' if np.isfinite(half) else ''
            cells.append('' if is_empty else f'{100 * mean:+.1f}{width} {verdict(mean, half)}')
        published = [] if not has_published else ['' if row.published is None else str(row.published)]
        table.add_row([name, len(runs), *cells, *published])
    return table


def write_study(plan: Plan, scores: Scores, folder: Path) -> None:
    """Writes ``results.json``, ``table.md`` and ``plot.png`` of a study.

    Args:
        plan: The study.
        scores: Metrics in [0, 1] of the finished runs.
        folder: Existing folder.
    """
    from prettytable import TableStyle

    rows = {name: {str(seed): run for seed, run in runs.items()} for name, runs in scores.items()}
    write_json(folder / 'results.json', dict(title=plan.title, baseline=plan.baseline, rows=rows), indent=1)
    table = study_table(plan, scores)
    table.set_style(TableStyle.MARKDOWN)
    source = f'\n\nPublished: {plan.source}.' if plan.source else ''
    with atomic_write(folder / 'table.md') as temporary:
        temporary.write_text(f'# {plan.title}\n\n{table}\n\n{LEGEND}{source}\n')
    plot_study(plan, scores, folder / 'plot.png')


def plot_study(plan: Plan, scores: Scores, path: Path) -> None:
    """Plots every run, and the mean of each row, one panel for each metric."""
    from matplotlib.figure import Figure

    names = [name for name in plan.rows if scores.get(name)]
    figure = Figure(figsize=(4 * len(plan.metrics), 0.5 * len(names) + 1.6), layout='constrained')
    panels = figure.subplots(1, len(plan.metrics), sharey=True, squeeze=False)[0]
    for panel, metric in zip(panels, plan.metrics):
        for k, name in enumerate(names):
            values = [100 * run[metric] for run in scores[name].values()]
            panel.plot(values, [k] * len(values), 'o', alpha=0.4, color='C0' if name == plan.baseline else 'C1')
            panel.plot([np.mean(values)], [k], '|', markersize=18, markeredgewidth=2, color='black')
        panel.set_xlabel(f'{metric} (%)')
        panel.grid(axis='x', alpha=0.3)
    panels[0].set_yticks(range(len(names)), names)
    panels[0].set_ylim(len(names) - 0.5, -0.5)
    figure.suptitle(plan.title)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format='png', dpi=110)


def read_scores(plan: Plan, folder: Path) -> Scores:
    """Metrics of the finished runs in ``<folder>/<row>/seed-<seed>/metrics.json``.

    Raises:
        OptionError: A run has no metric of a name in the plan.
    """
    scores: Scores = {}
    for name in plan.rows:
        for path in sorted((folder / folder_name(name)).glob('seed-*/metrics.json')):
            run = json.loads(path.read_text())
            missing = [metric for metric in plan.metrics if metric not in run]
            if missing:
                raise OptionError(f'{path} has no metric {missing[0]}; it has {", ".join(run)}')
            scores.setdefault(name, {})[int(path.parent.name.removeprefix('seed-'))] = run
    return scores


def folder_name(row: str) -> str:
    """Name of the folder of a row: other characters than letters, digits, ``-`` and ``_`` become ``-``."""
    return ''.join(c if c.isalnum() or c in '-_' else '-' for c in row)


def run_folder(folder: Path, row: str, seed: int) -> Path:
    """Folder of one run."""
    return folder / folder_name(row) / f'seed-{seed}'
