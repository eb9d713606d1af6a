"""A headless Chromium for tests of pages; tests are skipped where there is none."""

import shutil
from contextlib import contextmanager

import pytest

FLAGS = (
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
)


@contextmanager
def open_page(width=1280, height=900):
    """A page whose JavaScript errors fail the test at the end."""
    api = pytest.importorskip('playwright.sync_api')
    program = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
    if program is None:
        pytest.skip('there is no Chromium on this machine')
    errors = []
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        page = browser.new_page(viewport=dict(width=width, height=height), has_touch=width < 500)
        page.on('pageerror', lambda error: errors.append(str(error)))
        page.on('request', lambda request: record(request.url, errors))
        try:
            yield page
        finally:
            browser.close()
    assert not errors, errors


def record(url, errors):
    """A page that is one file asks for nothing else."""
    if not url.startswith(('file:', 'blob:', 'data:', 'http://127.0.0.1', 'http://localhost')):
        errors.append(f'the page asked for {url}')
