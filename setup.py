"""Installs mmdvis, and puts configs and tools where ``mim`` looks for them; the metadata is in setup.cfg."""

import shutil
import sys
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent
SHIPPED = ('tools', 'configs', 'demo', 'model-index.yml', 'dataset-index.yml')  # what ``mim`` looks for


FOLDER = ROOT / 'mmdvis' / '.mim'


def add_mim_extension(is_copy: bool) -> None:
    """Fills ``mmdvis/.mim`` with configs and tools: copies in a built distribution, links in a checkout."""
    if not (ROOT / 'configs').exists():  # the folder was filled when the archive was made
        return
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    for name in filter(lambda n: (ROOT / n).exists(), SHIPPED):
        source, target = ROOT / name, FOLDER / name
        if not is_copy:
            target.symlink_to(source.resolve(), target_is_directory=source.is_dir())
        elif source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns('__pycache__'))
        else:
            shutil.copy(source, target)


if __name__ == '__main__':
    is_built = any(word in sys.argv for word in ('sdist', 'bdist_wheel'))
    is_editable = any(path.is_symlink() for path in FOLDER.glob('*'))
    add_mim_extension(is_built)
    try:
        setup()
    finally:
        if is_built and is_editable:  # an editable installation of this checkout still needs its links
            add_mim_extension(is_copy=False)
