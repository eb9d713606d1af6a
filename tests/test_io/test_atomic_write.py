"""Files and folders that appear together or not at all."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from mmdvis.errors import DataError
from mmdvis.io import images, open_frames, replace_together, work_folder


def tree(folder):
    """Relative path -> content of every file, or target of every link."""
    return {
        str(path.relative_to(folder)): os.readlink(path) if path.is_symlink() else path.read_text()
        for path in sorted(folder.rglob('*'))
        if path.is_symlink() or path.is_file()
    }


@pytest.fixture
def folders(tmp_path):
    """New results, and a folder with results of an earlier run: a file and a link in place of folders."""
    new, old = tmp_path / 'new', tmp_path / 'old'
    for folder in (new / 'panoptic', new / 'semantic', old, tmp_path / 'elsewhere'):
        folder.mkdir(parents=True)
    for name in ('panoptic/0.png', 'semantic/0.png', 'video.mp4'):
        (new / name).write_text('new')
    (old / 'panoptic').write_text('old')
    (old / 'semantic').symlink_to(tmp_path / 'elsewhere')
    (old / 'video.mp4').write_text('old')
    (old / 'notes.txt').write_text('of the user')
    (tmp_path / 'elsewhere' / 'x').write_text('elsewhere')
    return new, old


def test_everything_is_replaced(folders, tmp_path):
    new, old = folders
    written = replace_together(sorted(new.iterdir()), old)
    assert written == {name: old / name for name in ('panoptic', 'semantic', 'video.mp4')}
    assert tree(old) == {
        'notes.txt': 'of the user',
        'panoptic/0.png': 'new',
        'semantic/0.png': 'new',
        'video.mp4': 'new',
    }
    assert (tmp_path / 'elsewhere' / 'x').read_text() == 'elsewhere' and not list(new.iterdir())


@pytest.mark.parametrize('failing', range(6))
@pytest.mark.parametrize('error', [OSError(5, 'Input/output error'), KeyboardInterrupt()])
def test_if_one_cannot_be_moved_none_is(folders, monkeypatch, failing, error):
    """There are six moves: three old ones aside, three new ones to their place."""
    new, old = folders
    before, before_new, move, calls = tree(old), tree(new), os.replace, []

    def fail_once(source, target):
        calls.append(source)
        if len(calls) == failing + 1:
            raise error
        move(source, target)

    monkeypatch.setattr(os, 'replace', fail_once)
    with pytest.raises(type(error)):
        replace_together(sorted(new.iterdir()), old)
    assert tree(old) == before and tree(new) == before_new and not list(old.glob('.part-*'))


def test_folders_of_killed_processes_are_removed(tmp_path):
    code = (
        'import os, sys\nfrom pathlib import Path\nfrom mmdvis.io import work_folder\n'
        f'with work_folder(Path({str(tmp_path)!r})) as work:\n    (work / "x").touch()\n    os.kill(os.getpid(), 9)'
    )
    assert subprocess.run([sys.executable, '-c', code]).returncode == -9
    assert len(list(tmp_path.glob('.part-*/x'))) == 1
    with work_folder(tmp_path) as work:
        (work / 'y').touch()
        with work_folder(tmp_path) as other:
            assert work.is_dir() and other.is_dir()  # that of a running process stays
        assert [path.name for path in tmp_path.rglob('*') if path.is_file()] == ['y']
    assert not list(tmp_path.iterdir())


def test_huge_images_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
    path = tmp_path / 'a' / '0.png'
    path.parent.mkdir()
    Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(path)
    assert open_frames(path.parent).read(0, 1).shape == (1, 3, 40, 60)
    monkeypatch.setattr(images, 'MAX_PIXELS', 2399)
    monkeypatch.setattr(Image.Image, 'load', lambda image: pytest.fail('it was decoded'))
    with pytest.raises(DataError, match=r'0.png is \(40, 60\) \(height, width\); frames of at most 2399 pixels'):
        open_frames(path.parent).read(0, 1)
