"""Hook of mkdocs: links to files of the repository outside of ``docs`` become their paths, or links to ``repo_url``."""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError

LINK = re.compile(r'\[([^\]]+)\]\(((?:\.\./)+[^)\s#]+)(#[^)\s]*)?\)')


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Replaces the links of a page; raises PluginError if one leads nowhere."""
    folder = posixpath.dirname(posixpath.join('docs', page.file.src_uri))
    root = Path(config.config_file_path).parent

    def replaced(match: re.Match) -> str:
        target = posixpath.normpath(posixpath.join(folder, match[2]))
        if target.startswith('docs/'):
            return match[0]
        if target.startswith('..') or not (root / target).exists():
            raise PluginError(f'{page.file.src_uri} links to {match[2]}, which does not exist')
        if config.repo_url:
            return f'[{match[1]}]({config.repo_url.rstrip("/")}/blob/main/{target})'
        return match[1] if match[1].strip('`') == target else f'{match[1]} (`{target}`)'

    return LINK.sub(replaced, markdown)
