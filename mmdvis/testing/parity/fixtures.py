"""Which kinds of parity fixtures a folder holds, and what compares each."""

from pathlib import Path

from .adapter import compare_adapters
from .comparison import Comparison, compare_equal
from .dvis import Fixture, compare_results, compare_stages, compare_windows
from .options import compare_options
from .parts import compare_losses, compare_parts


def compare_dvis(folder: Path) -> list[Comparison]:
    """Everything that a folder with ``info.json``, ``official_state_dict.npz`` and ``expected.npz`` asks for."""
    fixture = Fixture.read(folder)
    return [
        compare_equal('leftover names', list(fixture.leftover), []),
        *compare_stages(fixture),
        *compare_results(fixture),
        *compare_windows(fixture),
        *compare_options(fixture),
    ]


FIXTURE_KINDS = (  # files that tell a kind, and what compares it
    (('official_state_dict.npz', 'expected.npz', 'info.json'), compare_dvis),
    (('*_tracker_state_dict.npz', '*_refiner_state_dict.npz', 'info.json'), compare_parts),
    (('adapter_*_state_dict.npz', 'info.json'), compare_adapters),
    (('inputs.npz', 'expected.json'), compare_losses),
)


def compare_fixtures(folder: Path) -> list[Comparison]:
    """All quantities of a folder.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it holds no fixtures.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f'there is no folder {folder}')
    kinds = [compare for files, compare in FIXTURE_KINDS if all(any(folder.glob(name)) for name in files)]
    if not kinds:
        known = '; '.join(' + '.join(files) for files, _ in FIXTURE_KINDS)
        raise ValueError(f'{folder} holds no fixtures; a folder of fixtures has one of: {known}')
    return [comparison for compare in kinds for comparison in compare(folder)]
