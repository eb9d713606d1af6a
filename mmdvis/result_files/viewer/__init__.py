"""The viewer: one HTML file that plays a video and shows its results, without a server or a network."""

from .html_viewer import HtmlViewer

__all__ = ['HtmlViewer']
