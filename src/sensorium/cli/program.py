"""How this program is called here, in commands that are printed to be pasted."""

import shlex
import shutil
import sys
from pathlib import Path


def program() -> str:
    """What a shell finds this program by."""
    here = Path(sys.argv[0]).absolute()
    found = shutil.which("sensorium")
    return "sensorium" if found is not None and Path(found).samefile(here) else shlex.quote(str(here))
