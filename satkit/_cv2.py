"""The one place that imports OpenCV, so that a failing import says what to do."""

from __future__ import annotations

try:
    import cv2
except ImportError as error:
    raise ImportError(
        f"OpenCV cannot be imported ({error}). On a machine without a display, install the build "
        "that needs no libGL: pip uninstall -y opencv-python && pip install opencv-python-headless"
    ) from error

__all__ = ["cv2"]
