"""Ablation studies: rows that differ in some options, trained with several seeds, and compared with a baseline."""

from collections.abc import Sequence
from dataclasses import MISSING, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from prettytable import PrettyTable, TableStyle
from scipy.stats import t as student

from mmdvis.errors import OptionError
from mmdvis.io import atomic_write, write_json

Scores = dict[str, dict[int, dict[str, float]]]  # row -> seed -> metric -> value
CONFIDENCE = 0.95
LEGEND = (
    'In percent. Mean and sample standard deviation over the seeds. Differences to the baseline are paired by seed and '
    'have 95 % confidence intervals.'
)
TYPES: dict[str, tuple[type, ...]] = dict(  # of the fields that are not text
    rows=(dict,), options=(dict,), seeds=(list,), metrics=(list,), iters=(int,), published=(float, int), tta=(list,)
)


@dataclass(frozen=True)
class Row:
    """One row of a study.

    Attributes:
        config: Path of the config.
        options: Overrides of the config.
        iters: Number of iterations, to which the schedule of the config is stretched; None keeps it, and 0 only scores
            the row named by ``start`` with other options.
        published: Figure of the paper, in its own unit; None if it has none.
        start: Name of the row whose checkpoint of the same seed it starts from; None: what the plan starts from.
        tta: Short edges in pixels of the passes that are fused; only for rows that are scored without training.
        weights: Name of a model (``mmdvis models``) whose weights replace the training of this stage; its stages that
            ``config`` does not have are left out. Only for the first entry of ``start``.
    """

    config: str
    options: dict[str, Any] = field(default_factory=dict)
    iters: int | None = None
    published: float | None = None
    start: str | None = None
    tta: tuple[int, ...] = ()
    weights: str | None = None


@dataclass(frozen=True)
class Plan:
    """A study.

    Attributes:
        title: What is compared.
        rows: Name -> row, in the order of the table.
        baseline: Name of the row that the others are compared with.
        seeds: Seeds of the training; the same ones for all rows, so that rows are compared seed by seed.
        metrics: Names of the metrics of the table.
        start: Stages that are trained once, one after the other, for all rows to start from; empty if the configs say
            where to start.
        options: Overrides of all rows.
        source: Where the published figures are from.
    """

    title: str
    rows: dict[str, Row]
    baseline: str
    seeds: tuple[int, ...]
    metrics: tuple[str, ...]
    start: tuple[Row, ...] = ()
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
    fields = checked_fields(content, Plan, str(path), start=(list,))
    rows = {str(name): read_row(row, f'{path}, row {name}') for name, row in fields['rows'].items()}
    stages = tuple(read_row(row, f'{path}, start') for row in fields.get('start', ()))
    check_starts(rows, stages, path)
    if str(fields['baseline']) not in rows:
        raise OptionError(f'{path}: baseline must be one of {", ".join(rows)}, got {fields["baseline"]}')
    if not fields['seeds'] or not fields['metrics']:
        raise OptionError(f'{path}: seeds and metrics must have at least one entry')
    for name, kind in (('seeds', int), ('metrics', str)):
        if not all(type(x) is kind for x in fields[name]) or len(set(fields[name])) < len(fields[name]):
            raise OptionError(f'{path}: {name} must be different {kind.__name__} values, got {fields[name]}')
    lists = dict(seeds=tuple(fields['seeds']), metrics=tuple(fields['metrics']), start=stages)
    return Plan(**{**fields, **lists, 'rows': rows, 'baseline': str(fields['baseline'])})


def check_starts(rows: dict[str, Row], stages: Sequence[Row], path: Path) -> None:
    """Checks that every row and stage has a valid starting point.

    Args:
        rows: Name -> row.
        stages: Entries of ``start``.
        path: Path of the plan, for messages.

    Raises:
        OptionError: A starting point is missing or not allowed.
    """
    for name, row in rows.items():
        earlier = list(rows)[: list(rows).index(name)]
        if row.iters == 0 and row.start is None:
            raise OptionError(f'{path}, row {name}: without training (iters: 0), start must name the row to score')
        if row.start is not None and row.start not in earlier:
            raise OptionError(f'{path}, row {name}: start must be a row above it, got {row.start}')
        if row.weights is not None:
            raise OptionError(f'{path}, row {name}: weights is only allowed in the first entry of start; remove it')
    if any(stage.weights is not None for stage in stages[1:]):
        raise OptionError(f'{path}, start: weights is only allowed in the first entry of start')
    if any(stage.weights is not None and stage.iters is not None for stage in stages):
        raise OptionError(f'{path}, start: an entry with weights is not trained; remove its iters')
    if any(stage.iters == 0 for stage in stages):
        raise OptionError(f'{path}, start: a stage to start from must be trained; iters must not be 0')


def read_row(content: Any, where: str) -> Row:
    """Reads a row; raises OptionError if a field is wrong or its config does not exist."""
    row = Row(**checked_fields(content, Row, where))
    if row.tta and (row.iters != 0 or not all(type(edge) is int and edge > 0 for edge in row.tta)):
        raise OptionError(f'{where}: tta must be positive numbers of pixels, and only with iters: 0, got {row.tta}')
    if not Path(row.config).is_file():
        raise OptionError(f'{where}: there is no config {row.config}')
    return replace(row, tta=tuple(row.tta))


def checked_fields(content: Any, kind: type, where: str, **kinds: tuple[type, ...]) -> dict[str, Any]:
    """Fields of an entry of a plan; raises OptionError if it is not a mapping, or a field is missing or unknown."""
    if not isinstance(content, dict):
        raise OptionError(f'{where}: expected fields and values, got {type(content).__name__}')
    known = kind.__dataclass_fields__
    needed = {name for name, entry in known.items() if entry.default is MISSING and entry.default_factory is MISSING}
    for problem, names in (('unknown', content.keys() - known.keys()), ('missing', needed - content.keys())):
        if names:
            raise OptionError(
                f'{where}: the field {sorted(map(str, names))[0]} is {problem}; fields: {", ".join(known)}'
            )
    for name, value in content.items():
        allowed = {**TYPES, **kinds}.get(name, (str,))
        if not isinstance(value, allowed) or isinstance(value, bool):
            raise OptionError(f'{where}: {name} must be of type {allowed[0].__name__}, got {value!r}')
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


def write_study(plan: Plan, scores: Scores, folder: Path, names: dict[tuple[str, int], str]) -> None:
    """Writes ``results.json``, ``table.md`` and ``plot.png`` of a study.

    Args:
        plan: The study.
        scores: Metrics in [0, 1] of the finished runs.
        folder: Existing folder.
        names: Name of each run, by row and seed.
    """
    rows = {name: {str(seed): run for seed, run in runs.items()} for name, runs in scores.items()}
    runs = {name: {str(seed): names[name, seed] for seed in seeds} for name, seeds in scores.items()}
    write_json(folder / 'results.json', dict(title=plan.title, baseline=plan.baseline, rows=rows, runs=runs), indent=1)
    with atomic_write(folder / 'table.md') as temporary:
        temporary.write_text(f'# {plan.title}\n\n{study_text(plan, scores)}\n')
    plot_study(plan, scores, folder / 'plot.png')


def study_text(plan: Plan, scores: Scores) -> str:
    """Markdown of a study: its table, and what its figures are."""
    table = study_table(plan, scores)
    table.set_style(TableStyle.MARKDOWN)
    source = f'\n\nPublished: {plan.source}.' if plan.source else ''
    return f'{table}\n\n{LEGEND}{source}'


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
