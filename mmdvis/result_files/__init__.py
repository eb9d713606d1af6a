"""The files that results of a video are written to, one module for each kind, and what reads them again."""

from .result_folder import DEFAULT_KINDS, KINDS, write_results
from .saved_results import PanopticGroundTruth, SavedResults, read_saved
from .video_info import ResultFile, VideoInfo, variable_times
from .viewer import HtmlViewer

__all__ = [
    'DEFAULT_KINDS',
    'KINDS',
    'HtmlViewer',
    'PanopticGroundTruth',
    'ResultFile',
    'SavedResults',
    'VideoInfo',
    'read_saved',
    'variable_times',
    'write_results',
]
