"""Videos and pictures for tests of commands."""

from mmdvis.io import VideoWriter


def write_video(path, frames, fps=12, times=None):
    """Write a video, create its folder, and return its path; ``times`` are in seconds, for a variable frame rate."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, fps) as writer:
        for t, frame in enumerate(frames):
            writer.write(frame, None if times is None else times[t])
    return path
