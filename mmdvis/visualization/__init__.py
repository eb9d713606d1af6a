"""Pictures and videos of results."""
from .background import InBackground
from .colours import colour_of
from .draw import draw_panoptic
from .draw_results_hook import DrawResultsHook
from .video_writer import VideoWriter

__all__ = ['DrawResultsHook', 'InBackground', 'VideoWriter', 'colour_of', 'draw_panoptic']
