"""A fork is tried in a process of its own: what other tests have loaded into theirs has threads, and it none.

`python -m tests.corpus.forking` reads a pickled (function, arguments) and writes what a forked process makes of it.
"""

import multiprocessing
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def forked(function: Callable[..., Any], *arguments: Any) -> Any:
    """What `function(*arguments)` returns in a process that was forked after it had been called once in its parent."""
    ran = subprocess.run(
        [sys.executable, "-m", __name__],
        input=pickle.dumps((function, arguments)),
        capture_output=True,
        check=False,
        timeout=100,
        cwd=Path(__file__).parents[2],
    )
    assert ran.returncode == 0, ran.stderr.decode()
    return pickle.loads(ran.stdout)


def _main() -> None:
    function, arguments = pickle.load(sys.stdin.buffer)
    function(*arguments)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        sys.stdout.buffer.write(pickle.dumps(pool.apply_async(function, arguments).get(timeout=60)))


if __name__ == "__main__":
    _main()
