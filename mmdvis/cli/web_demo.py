"""The demo in a browser: a video goes in, the drawn video, the viewer and all result files come out."""

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault('GRADIO_ANALYTICS_ENABLED', 'False')  # read when gradio is imported

import gradio

from mmdvis.apis import VideoSegInferencer, load
from mmdvis.checkpoints.zoo import DEFAULT, EMBEDDED_MODEL, find_entry, model_entries
from mmdvis.errors import MMDVISError
from mmdvis.visualization.visualizer import HIDEABLE, SHOWABLE

FILES = ('video', 'json', 'csv', 'coco', 'html')
FONTS = ('system-ui', 'sans-serif')  # gradio would fetch others from the network


class WebDemo:
    """The demo and the model that was used last.

    Args:
        device: Device of the model; see :func:`mmdvis.load`.
        out_dir: Folder for the results; None: a temporary folder, deleted when the demo ends.
    """

    def __init__(self, device: str = 'auto', out_dir: str | Path | None = None) -> None:
        self.device, self.is_temporary = device, out_dir is None
        self.out_dir = Path(tempfile.mkdtemp(prefix='mmdvis-web-') if out_dir is None else out_dir)
        self.name = ''
        self.model: VideoSegInferencer | None = None
        self.count = len(list(self.out_dir.iterdir())) if self.out_dir.is_dir() else 0

    def load(self, name: str) -> VideoSegInferencer:
        """The model of a name, loaded only when it changes."""
        if self.model is None or self.name != name:
            self.model, self.name = load(name, device=self.device), name
        return self.model

    def segment(
        self,
        video: str | None,
        name: str,
        offline: bool,
        classes: str | None,
        alpha: float,
        hide: Sequence[str] | None,
        show: Sequence[str] | None,
        progress: Any = gradio.Progress(),
    ) -> tuple[str, list[str], list[list[Any]], str]:
        """Segments an uploaded video.

        Args:
            video: Path of the video.
            name: Name of the model.
            offline: Whether to process the whole video before the first result.
            classes: Names of the classes that are kept, separated by commas; empty keeps all.
            alpha: Opacity of the masks.
            hide: What is not drawn.
            show: What is drawn besides masks and names.
            progress: Progress bar of gradio.

        Returns:
            Path of the drawn video, paths of all files, rows (class, number of identities), and a summary.

        Raises:
            gradio.Error: The input cannot be used; the message says why.
        """
        if not video:
            raise gradio.Error('choose a video, or record one, first')
        self.count += 1
        folder = self.out_dir / f'{self.count:04d}'
        try:
            progress(0, desc='loading the model')
            kept = [word.strip() for word in (classes or '').split(',') if word.strip()] or None
            result = self.load(name)(video, offline=offline, classes=kept)
            for done, _ in enumerate(result.frames(), 1):  # kept, so that the files are written without a second pass
                progress((done, len(result)), desc='segmenting', unit='frames')
            progress(1, desc='writing the files')
            written = result.save(folder, FILES, alpha=alpha, hide=hide or (), show=show or ())
        except (MMDVISError, OSError) as error:
            raise gradio.Error(str(error)) from None
        found = result.counts()
        counts: list[list[Any]] = [[label, number] for label, number in found.items()]
        summary = f'{len(result)} frames, {sum(found.values())} objects and regions'
        if result.cuts:
            summary += f', scene cuts at frame {", ".join(map(str, result.cuts))}'
        return str(written['video.mp4']), [str(path) for path in written.values()], counts, summary

    def describe(self, name: str) -> str:
        """One line about a model."""
        entry = find_entry(name)
        known = (f'{entry.task}, {entry.num_classes} classes', entry.data, f'licence {entry.licence}', entry.published)
        return ' · '.join(text for text in known if text)

    def page(self) -> gradio.Blocks:
        """Builds the page."""
        names = [name for name, entry in model_entries().items() if entry.can_be_loaded]
        start = DEFAULT if find_entry(DEFAULT).weights is not None else EMBEDDED_MODEL
        with gradio.Blocks(title='mmdvis', analytics_enabled=False) as page:
            gradio.Markdown('# mmdvis\nEvery object and region of a video, with a name and an identity that lasts.')
            with gradio.Row():
                with gradio.Column():
                    video = gradio.Video(label='video', sources=['upload', 'webcam'])
                    name = gradio.Dropdown(names, value=start, label='model')
                    about = gradio.Markdown(self.describe(start))
                    offline = gradio.Checkbox(label='use the whole video for every frame (offline)')
                    with gradio.Accordion('looks', open=False):
                        classes = gradio.Textbox(label='classes', placeholder='all; or names, separated by commas')
                        alpha = gradio.Slider(0, 1, 0.55, label='opacity of the masks')
                        hide = gradio.CheckboxGroup(list(HIDEABLE), label='hide')
                        show = gradio.CheckboxGroup(list(SHOWABLE), label='show')
                    button = gradio.Button('segment', variant='primary', elem_id='segment')
                with gradio.Column():
                    drawn = gradio.Video(label='result', interactive=False, elem_id='drawn')
                    summary = gradio.Markdown(elem_id='summary')
                    files = gradio.Files(label='files; viewer.html plays in any browser', elem_id='files')
                    table = gradio.Dataframe(headers=['class', 'identities'], label='what is in it', interactive=False)
            name.change(self.describe, name, about)
            inputs = [video, name, offline, classes, alpha, hide, show]
            button.click(self.segment, inputs, [drawn, files, table, summary], concurrency_limit=1)
        return page

    def serve(self, host: str = '127.0.0.1', port: int = 7860, is_blocking: bool = True) -> gradio.Blocks:
        """Serves the page until Ctrl-C, or, if ``is_blocking`` is false, in the background.

        Raises:
            OSError: The port is in use.
        """
        page = self.page()
        theme = gradio.themes.Default(font=list(FONTS), font_mono=['ui-monospace', 'monospace'])
        try:
            page.launch(
                server_name=host,
                server_port=port,
                prevent_thread_lock=not is_blocking,
                allowed_paths=[str(self.out_dir)],
                theme=theme,
            )
        finally:
            if is_blocking:
                self.close()
        return page

    def close(self) -> None:
        """Deletes the results if their folder is temporary."""
        if self.is_temporary:
            shutil.rmtree(self.out_dir, ignore_errors=True)
