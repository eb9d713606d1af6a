"""Pictures and videos of results."""

from mmdvis.io import BackgroundWriter, VideoWriter

from .draw_results_hook import DrawResultsHook
from .palette import colour_of
from .visualizer import draw_panoptic

__all__ = ['DrawResultsHook', 'BackgroundWriter', 'VideoWriter', 'colour_of', 'draw_panoptic']
