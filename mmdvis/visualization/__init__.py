"""Pictures of results, for all tasks."""

from .palette import colour_of
from .visualization_hook import VideoVisualizationHook
from .visualizer import ResultVisualizer

__all__ = ['ResultVisualizer', 'VideoVisualizationHook', 'colour_of']
