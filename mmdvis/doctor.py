"""``python -m mmdvis.doctor``: what is installed here, what is wrong with it, and the command that mends it."""

import importlib
import importlib.metadata as metadata
import platform
import sys

STACK = {
    'onedl-mmengine': ('mmengine', '0.10.12', '0.11'),
    'onedl-mmcv': ('mmcv', '2.3.6', '2.4'),
    'onedl-mmdetection': ('mmdet', '3.5.1', '3.6'),
    'onedl-mmsegmentation': ('mmsegmentation', '1.4.2', '1.5'),
}
OTHERS = ('torch', 'numpy', 'scipy', 'pillow', 'av', 'pycocotools')


def version_of(name: str) -> str | None:
    """The installed version of a distribution, None where it is missing."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def version_numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: ``'2.3.6+cpu'`` -> (2, 3, 6)."""
    parts = []
    for part in version.split('+')[0].split('.'):
        if not part.isdigit():
            break
        parts.append(int(part))
    return tuple(parts)


def install_location(name: str) -> str | None:
    """The folder a distribution is installed into, None where it is missing."""
    try:
        return str(metadata.distribution(name).locate_file(''))
    except metadata.PackageNotFoundError:
        return None


def stack_problems(
    versions: dict[str, str | None], places: dict[str, str | None] | None = None
) -> list[tuple[str, str]]:
    """Problems of the OpenMMLab stack as (what is wrong, command that mends it).

    Args:
        versions: distribution name -> version or None, for the forks and their upstream names.
        places: distribution name -> folder; a fork shadows an upstream package that lies in another one.
    """
    found, places = [], places or {}
    for name, (upstream, lowest, above) in STACK.items():
        version = versions.get(name)
        if version and versions.get(upstream) and places.get(name) == places.get(upstream):
            found.append(
                (
                    f'{upstream} {versions[upstream]} and {name} {version} are both installed and write the same '
                    'folder',
                    f'pip uninstall -y {upstream} {name} && pip install "{name}>={lowest},<{above}"',
                )
            )
        elif not version and versions.get(upstream):
            found.append(
                (
                    f'{upstream} {versions[upstream]} is the upstream package; {name} is what is tested',
                    f'pip uninstall -y {upstream} && pip install "{name}>={lowest},<{above}"',
                )
            )
        elif not version:
            found.append((f'{name} is missing', f'pip install "{name}>={lowest},<{above}"'))
        elif not version_numbers(lowest) <= version_numbers(version) < version_numbers(above):
            found.append(
                (
                    f'{name} {version} is not tested; {lowest} up to {above} is',
                    f'pip install "{name}>={lowest},<{above}"',
                )
            )
    return found


def other_problems(versions: dict[str, str | None]) -> list[tuple[str, str]]:
    """Missing packages outside the stack, as (what is wrong, command that mends it)."""
    return [(f'{name} is missing', f'pip install {name}') for name in OTHERS if not versions.get(name)]


def ops_state() -> str:
    """Whether mmcv's operators are compiled and load here."""
    try:
        from .mmcv_ops_fallback import has_compiled_ops

        return 'compiled' if has_compiled_ops() else 'not compiled (the DVIS family does not need them)'
    except ImportError as error:
        return f'unknown, mmcv does not import: {error}'


def devices() -> str:
    """The devices torch sees."""
    try:
        torch = importlib.import_module('torch')
    except ImportError as error:
        return f'unknown, torch does not import: {error}'
    count = torch.cuda.device_count()
    gpus = [f'cuda:{i} {torch.cuda.get_device_name(i)}' for i in range(count)]
    return ', '.join([f'cpu ({torch.get_num_threads()} threads)', *gpus])


def main() -> int:
    """Prints the report; the exit code is 1 where something is wrong."""
    names = [*STACK, *(upstream for upstream, _, _ in STACK.values()), *OTHERS, 'mmdvis']
    versions = {name: version_of(name) for name in names}
    print(f'python      {platform.python_version()} ({sys.executable})')
    for name in ('mmdvis', *OTHERS, *STACK):
        print(f'{name:<20} {versions[name] or "missing"}')
    print(f'{"mmcv operators":<20} {ops_state()}')
    print(f'{"devices":<20} {devices()}')
    problems = stack_problems(versions, {name: install_location(name) for name in names}) + other_problems(versions)
    for what, command in problems:
        print(f'\nPROBLEM: {what}\n  mend it with: {command}')
    print('\nno problem found' if not problems else f'\n{len(problems)} problem(s)')
    return 1 if problems else 0


if __name__ == '__main__':
    sys.exit(main())
