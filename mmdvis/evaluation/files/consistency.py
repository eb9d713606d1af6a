"""Warns where the files of a benchmark contradict each other in ways that the official scripts do not notice."""

import warnings
from collections import Counter
from collections.abc import Sequence

from mmdvis.evaluation.functional.frame_table import UNLISTED, FrameTable, pixel_counts


class InconsistentFilesWarning(UserWarning):
    """Files contradict each other; the metric is computed as in the official scripts."""


def frame_faults(
    name: str, table: FrameTable, truth: Sequence[dict], predicted: Sequence[dict], areas: bool
) -> list[str]:
    """Sentences about contradictions between the PNGs and the JSON files of one frame.

    Args:
        name: Name of the frame.
        table: Segments and overlaps of the frame.
        truth: ``segments_info`` of the ground truth.
        predicted: ``segments_info`` of the prediction.
        areas: Whether the stated areas of the ground truth are compared with its PNG.
    """
    pixels, faults = pixel_counts(table.joint, 0), []
    if pixels.get(UNLISTED):
        faults.append(f'the PNG of the ground truth has {pixels[UNLISTED]} pixels of ids that its JSON file lacks')
    for number in table.truth:
        if number not in pixels:
            faults.append(f'the ground truth lists the id {number}, of which its PNG has no pixel')
    stated = Counter({s['id']: 0 for s in truth if s['area'] is not None})
    for segment in truth:
        if segment['area'] is not None:
            stated[segment['id']] += segment['area']
    for number, area in stated.items():
        if areas and number in pixels and area != pixels[number]:
            faults.append(
                f'the ground truth states an area of {area} for the id {number}, of which its PNG has '
                f'{pixels[number]} pixels'
            )
    for kind, segments in (('ground truth', truth), ('prediction', predicted)):
        repeated = [number for number, count in Counter(s['id'] for s in segments).items() if count > 1]
        if repeated:
            faults.append(f'the {kind} lists the id {repeated[0]} more than once')
    return [f'{name}: {fault}' for fault in faults]  # those of the ground truth first


def warn_of_faults(faults: Sequence[str]) -> None:
    """One warning for the contradictions of a video, with the first of them."""
    if faults:
        of_truth = [fault for fault in faults if 'the prediction lists' not in fault]
        more = f' ({len(faults) - 1} more in this video)' if len(faults) > 1 else ''
        warnings.warn(
            f'{[*of_truth, *faults][0]}{more}; the metric is computed as by the official scripts, but check these '
            'files',
            InconsistentFilesWarning,
            stacklevel=2,
        )
