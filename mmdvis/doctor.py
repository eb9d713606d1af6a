"""Checks the installation: prints versions, problems and the commands that fix them.

Usage: ``mmdvis doctor`` or ``python -m mmdvis.doctor``.
"""

import argparse
import importlib
import importlib.metadata as metadata
import platform
import sys
from collections.abc import Sequence

STACK = {
    'onedl-mmengine': ('mmengine', '0.10.12', '0.11'),
    'onedl-mmcv': ('mmcv', '2.3.6', '2.4'),
    'onedl-mmdetection': ('mmdet', '3.5.1', '3.6'),
    'onedl-mmsegmentation': ('mmsegmentation', '1.4.2', '1.5'),
}
OTHERS = ('torch', 'numpy', 'numba', 'scipy', 'pillow', 'av', 'pycocotools')


def version_of(name: str) -> str | None:
    """Installed version of a distribution; None if it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def version_numbers(version: str) -> tuple[int, ...]:
    """Leading numbers of a version: ``'2.3.6+cpu'`` -> (2, 3, 6)."""
    parts = []
    for part in version.split('+')[0].split('.'):
        if not part.isdigit():
            break
        parts.append(int(part))
    return tuple(parts)


def install_location(name: str) -> str | None:
    """Folder into which a distribution is installed; None if it is not installed."""
    try:
        return str(metadata.distribution(name).locate_file(''))
    except metadata.PackageNotFoundError:
        return None


def stack_problems(
    versions: dict[str, str | None], places: dict[str, str | None] | None = None
) -> list[tuple[str, str]]:
    """Problems of the OpenMMLab packages.

    Args:
        versions: Distribution name -> version or None, for the forks and their upstream packages.
        places: Distribution name -> installation folder. An upstream package in another folder than its fork is not a
            problem, because the fork shadows it.

    Returns:
        Pairs of a description and a command that fixes the problem.
    """
    problems, places = [], places or {}
    for name, (upstream, lowest, above) in STACK.items():
        version = versions.get(name)
        if version and versions.get(upstream) and places.get(name) == places.get(upstream):
            problems.append(
                (
                    f'{upstream} {versions[upstream]} and {name} {version} are both installed into the same folder',
                    f'pip uninstall -y {upstream} {name} && pip install "{name}>={lowest},<{above}"',
                )
            )
        elif not version and versions.get(upstream):
            problems.append(
                (
                    f'{upstream} {versions[upstream]} is the upstream package; only its fork {name} is tested',
                    f'pip uninstall -y {upstream} && pip install "{name}>={lowest},<{above}"',
                )
            )
        elif not version:
            problems.append((f'{name} is missing', f'pip install "{name}>={lowest},<{above}"'))
        elif not version_numbers(lowest) <= version_numbers(version) < version_numbers(above):
            problems.append(
                (
                    f'{name} {version} is not tested; the tested versions are >={lowest},<{above}',
                    f'pip install "{name}>={lowest},<{above}"',
                )
            )
    return problems


def other_problems(versions: dict[str, str | None]) -> list[tuple[str, str]]:
    """Missing packages other than those of OpenMMLab, as pairs of a description and a command that fixes it."""
    return [(f'{name} is missing', f'pip install {name}') for name in OTHERS if not versions.get(name)]


def ops_state() -> str:
    """State of the compiled operators of mmcv, as text."""
    try:
        from .mmcv_ops_fallback import computed_names, has_compiled_ops

        if has_compiled_ops():
            return 'compiled'
        names = sorted({name.removesuffix('_forward') for name in computed_names() if 'backward' not in name})
        return f'not compiled; computed in PyTorch: {", ".join(names)} (import mmdvis before mmcv.ops and mmdet)'
    except ImportError as error:
        return f'unknown, mmcv cannot be imported: {error}'


def devices() -> str:
    """Devices available to torch, as text."""
    try:
        torch = importlib.import_module('torch')
    except ImportError as error:
        return f'unknown, torch cannot be imported: {error}'
    count = torch.cuda.device_count()
    gpus = [f'cuda:{i} {torch.cuda.get_device_name(i)}' for i in range(count)]
    return ', '.join([f'cpu ({torch.get_num_threads()} threads)', *gpus])


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the report and returns the exit code, which is 1 if there are problems."""
    argparse.ArgumentParser(prog='mmdvis doctor', description='Checks the installation.').parse_args(arguments)
    names = [*STACK, *(upstream for upstream, _, _ in STACK.values()), *OTHERS, 'mmdvis']
    versions = {name: version_of(name) for name in names}
    print(f'python      {platform.python_version()} ({sys.executable})')
    for name in ('mmdvis', *OTHERS, *STACK):
        print(f'{name:<20} {versions[name] or "missing"}')
    print(f'{"mmcv operators":<20} {ops_state()}')
    print(f'{"devices":<20} {devices()}')
    problems = stack_problems(versions, {name: install_location(name) for name in names}) + other_problems(versions)
    for problem, command in problems:
        print(f'\nPROBLEM: {problem}\n  fix: {command}')
    print('\nno problems found' if not problems else f'\n{len(problems)} problem(s)')
    return 1 if problems else 0


if __name__ == '__main__':
    sys.exit(main())
