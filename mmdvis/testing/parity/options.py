"""Parity of the options that reduce time or memory.

Exact options must reproduce the official results. For options with lower precision, only the deviation is reported.
"""

from dataclasses import replace
from typing import Any

from .comparison import Comparison
from .dvis import Fixture, compare_results

Way = tuple[dict[str, Any], str]  # options of the model, precision of ``optimize_for_inference``
EXACT: dict[str, Way] = {
    'tuned': (dict(window=None), 'fp32'),
    'tuned, recompute, window 2': (dict(store='recompute', window=2), 'fp32'),
}
ROUNDED: dict[str, Way] = {
    'memory': (dict(store='memory'), 'fp32'),
    'disk': (dict(store='disk'), 'fp32'),
    'bf16': ({}, 'bf16'),
    'fp16': ({}, 'fp16'),
}
MAPS = ('.panoptic', '.masks', '.sem_seg')


def compare_options(fixture: Fixture) -> list[Comparison]:
    """Compares the results of every task with the options applied.

    Exact options can fail. For options with lower precision, the share of equal pixels is reported as ``'ok'``.
    """
    comparisons = []
    for variants, is_exact in ((EXACT, True), (ROUNDED, False)):
        for name, (options, precision) in variants.items():
            for result in compare_results(replace(fixture, options=options, precision=precision)):
                if is_exact or result.name.endswith(MAPS):
                    outcome = result.verdict if is_exact else 'ok'
                    comparisons.append(replace(result, name=f'{result.name} ({name})', verdict=outcome))
    return comparisons
