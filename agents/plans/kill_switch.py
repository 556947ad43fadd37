"""The kill switch: a file that stops all plans as long as it is there."""

import os
from pathlib import Path


def is_killed(switch: Path) -> bool:
    """Whether it is there, be it a link that leads nowhere; where that cannot be told, it is taken to be."""
    try:
        os.lstat(switch)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True
