"""Files of another commit of the repository, to compare it with the working tree."""

import io
import subprocess
import tarfile
from pathlib import Path


def commit_files(repository: Path, commit: str, folder: str | Path) -> Path:
    """Extracts the files of a commit.

    Args:
        repository: Folder in the git repository.
        commit: Commit, branch or tag.
        folder: Existing folder to write to.

    Returns:
        ``folder``.

    Raises:
        subprocess.CalledProcessError: The commit is unknown.
    """
    archive = subprocess.run(['git', 'archive', commit], cwd=repository, check=True, stdout=subprocess.PIPE).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter='data')
    return Path(folder)
