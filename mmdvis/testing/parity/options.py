"""Options that make a model quicker or smaller: exact ones keep what the official code gave, others say how near they come."""

from dataclasses import replace
from typing import Any

from .comparison import Comparison
from .dvis import Fixture, compare_results

Way = tuple[dict[str, Any], str]  # options of the model, precision that it is tuned to
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
    """Results of every task with exact options together, judged; and the pixels that agree with the others, told."""
    found = []
    for ways, judged in ((EXACT, True), (ROUNDED, False)):
        for name, (options, precision) in ways.items():
            for result in compare_results(replace(fixture, options=options, precision=precision)):
                if judged or result.name.endswith(MAPS):
                    verdict = result.verdict if judged else 'ok'
                    found.append(replace(result, name=f'{result.name} ({name})', verdict=verdict))
    return found
