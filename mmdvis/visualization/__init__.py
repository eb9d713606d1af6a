"""Pictures and videos of results, for all tasks."""

from .frame_writer import FrameWriter
from .palette import colour_of
from .visualization_hook import VideoVisualizationHook
from .visualizer import ResultVisualizer

__all__ = ['FrameWriter', 'ResultVisualizer', 'VideoVisualizationHook', 'colour_of']
