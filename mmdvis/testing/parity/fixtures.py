"""Detects the kinds of parity fixtures in a folder and runs their comparisons."""

from pathlib import Path

from .adapter import compare_adapters
from .comparison import Comparison, compare_equal
from .dvis import Fixture, compare_results, compare_stages, compare_windows
from .options import compare_options
from .parts import compare_losses, compare_parts


def compare_dvis(folder: Path) -> list[Comparison]:
    """Runs all comparisons for a folder with ``info.json``, ``official_state_dict.npz`` and ``expected.npz``."""
    fixture = Fixture.read(folder)
    return [
        compare_equal('leftover names', list(fixture.leftover), []),
        *compare_stages(fixture),
        *compare_results(fixture),
        *compare_windows(fixture),
        *compare_options(fixture),
    ]


FIXTURE_KINDS = (  # files that identify a kind, and its comparison function
    (('official_state_dict.npz', 'expected.npz', 'info.json'), compare_dvis),
    (('*_tracker_state_dict.npz', '*_refiner_state_dict.npz', 'info.json'), compare_parts),
    (('adapter_*_state_dict.npz', 'info.json'), compare_adapters),
    (('inputs.npz', 'expected.json'), compare_losses),
)


def compare_fixtures(folder: Path) -> list[Comparison]:
    """Compares all quantities of a folder of parity fixtures.

    Raises:
        FileNotFoundError: If the folder does not exist.
        ValueError: If the folder contains no fixtures.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f'there is no folder {folder}')
    kinds = [compare for files, compare in FIXTURE_KINDS if all(any(folder.glob(name)) for name in files)]
    if not kinds:
        supported = '; '.join(' + '.join(files) for files, _ in FIXTURE_KINDS)
        raise ValueError(f'{folder} contains no fixtures; a folder of fixtures must contain one of: {supported}')
    return [comparison for compare in kinds for comparison in compare(folder)]
