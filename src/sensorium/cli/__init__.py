"""The commands. They parse, call the library and print; all that they do can be done from Python."""

import os
import sys

# OpenCV and its FFmpeg read these when they are loaded, and write past our logging; what is wrong is in our own lines.
# They are set here, before any command imports cv2, and the workers of a local Ray inherit them.
if "--debug" not in sys.argv:
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
