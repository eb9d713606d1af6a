"""Files of another commit are extracted."""

import subprocess

from mmdvis.analysis.commit_files import commit_files


def test_the_files_of_a_commit_are_written(tmp_path):
    repository, folder = tmp_path / 'repository', tmp_path / 'files'
    (repository / 'mmdvis').mkdir(parents=True)
    (repository / 'mmdvis' / 'a.py').write_text('before = 1')
    who = ['-c', 'user.name=a', '-c', 'user.email=a@b']
    for command in (['init', '-q'], ['add', '.'], [*who, 'commit', '-qm', 'first']):
        subprocess.run(['git', *command], cwd=repository, check=True)
    (repository / 'mmdvis' / 'a.py').write_text('after = 1')
    folder.mkdir()
    assert (commit_files(repository, 'HEAD', folder) / 'mmdvis' / 'a.py').read_text() == 'before = 1'
