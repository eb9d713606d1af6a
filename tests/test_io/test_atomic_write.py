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
    written = replace_together(new, old)
    assert written == {name: old / name for name in ('panoptic', 'semantic', 'video.mp4')}
    assert tree(old) == {
        'notes.txt': 'of the user',
        'panoptic/0.png': 'new',
        'semantic/0.png': 'new',
        'video.mp4': 'new',
    }
    assert (tmp_path / 'elsewhere' / 'x').read_text() == 'elsewhere'
    assert not [path for path in new.iterdir() if not path.name.startswith('.')]


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
        replace_together(new, old)
    assert tree(old) == before and tree(new) == before_new


def start(code):
    """Runs code in another process; returns its exit code."""
    return subprocess.run([sys.executable, '-c', code]).returncode


@pytest.mark.parametrize('failing', range(1, 5))
def test_a_process_that_is_killed_while_it_moves_leaves_the_old_results(tmp_path, failing):
    for name in ('a', 'b'):
        (tmp_path / name).write_text('old')
    code = (
        'import os\nfrom pathlib import Path\nfrom mmdvis.io import atomic_write, replace_together, work_folder\n'
        f'folder, move, calls = Path({str(tmp_path)!r}), os.replace, []\n'
        f'def dying(*paths):\n    calls.append(1)\n    if len(calls) == {failing}:\n        os.kill(os.getpid(), 9)\n'
        '    move(*paths)\n'
        'os.replace = dying\n'
        'with work_folder(folder) as work:\n    (work / "a").write_text("new")\n    (work / "b").write_text("new")\n'
        '    replace_together(work, folder)\n'
    )
    assert start(code) == -9
    with work_folder(tmp_path):
        pass
    assert tree(tmp_path) == {'a': 'old', 'b': 'old'}


def test_folders_of_killed_processes_are_removed_and_those_of_others_are_not(tmp_path):
    code = (
        'import os\nfrom pathlib import Path\nfrom mmdvis.io import work_folder\n'
        f'with work_folder(Path({str(tmp_path)!r})) as work:\n    (work / "x").touch()\n    os.kill(os.getpid(), 9)'
    )
    assert start(code) == -9
    assert len(list(tmp_path.glob('.part-*/x'))) == 1
    (tmp_path / '.part-of-something-else').mkdir()
    with work_folder(tmp_path) as work:
        (work / 'y').touch()
        other = (
            'from pathlib import Path\nfrom mmdvis.io import work_folder\n'
            f'with work_folder(Path({str(tmp_path)!r})):\n    pass'
        )
        assert start(other) == 0 and (work / 'y').exists()  # the folder of a running process stays
        assert not list(tmp_path.glob('.part-*/x'))
    assert [path.name for path in tmp_path.iterdir()] == ['.part-of-something-else']


def test_huge_images_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
    path = tmp_path / 'a' / '0.png'
    path.parent.mkdir()
    Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(path)
    assert open_frames(path.parent).read(0, 1).shape == (1, 3, 40, 60)
    monkeypatch.setattr(images, 'MAX_PIXELS', 2399)
    monkeypatch.setattr(Image.Image, 'load', lambda image: pytest.fail('it was decoded'))
    with pytest.raises(DataError, match=r'0.png is \(40, 60\) \(height, width\); frames of at most 2399 pixels'):
        open_frames(path.parent).read(0, 1)
