"""Installs mmdvis; the openmmlab stack is the extra ``mim``, because its distribution names differ between forks."""

import re
import shutil
import sys
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
SHIPPED = ('tools', 'configs', 'demo', 'model-index.yml', 'dataset-index.yml')  # what ``mim`` looks for


def requirements(name: str) -> list:
    """The lines of ``requirements/<name>.txt``."""
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith('#')]


def version() -> str:
    """The version string of ``mmdvis/version.py``, read without importing the package."""
    return re.search(r"__version__ = '(.+?)'", (ROOT / 'mmdvis/version.py').read_text()).group(1)


def add_mim_extension() -> None:
    """Puts configs and tools into ``mmdvis/.mim``: copies in a built distribution, links in a checkout."""
    is_copy = any(word in sys.argv for word in ('sdist', 'bdist_wheel'))
    folder = ROOT / 'mmdvis' / '.mim'
    if not (ROOT / 'configs').exists():  # a source distribution that carries the folder ready made
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in filter(lambda n: (ROOT / n).exists(), SHIPPED):
        source, target = ROOT / name, folder / name
        if not is_copy:
            target.symlink_to(source.resolve(), target_is_directory=source.is_dir())
        elif source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy(source, target)


if __name__ == '__main__':
    add_mim_extension()
    setup(
        name='mmdvis',
        version=version(),
        description='The DVIS family of video segmentation for the OpenMMLab ecosystem',
        long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
        long_description_content_type='text/markdown',
        license='Apache-2.0',
        packages=find_packages(include=['mmdvis', 'mmdvis.*']),
        package_data={'mmdvis': ['py.typed', '.mim/**/*']},
        include_package_data=True,
        python_requires='>=3.10',
        install_requires=requirements('runtime'),
        extras_require={'mim': requirements('mminstall'), 'hf': requirements('hf'), 'tests': requirements('tests')},
        zip_safe=False,
    )
