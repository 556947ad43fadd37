"""The link's state machines as documents print them: `python -m sensorium.link.tables docs/protocol.md` writes them."""

import sys
from pathlib import Path
from typing import Any

from sensorium.link.device.offer import OFFER
from sensorium.link.device.protocol import LINK
from sensorium.link.directive import DIRECTIVE
from sensorium.link.machine import Machine
from sensorium.link.server.session import SESSION
from sensorium.link.server.transfer import TRANSFER

MACHINES: tuple[Machine[Any, Any], ...] = (LINK, OFFER, SESSION, TRANSFER, DIRECTIVE)


def filled(text: str) -> str:
    """`text` with each machine's table between `<!-- table NAME -->` and `<!-- end -->`.

    Raises:
        ValueError: a table has no such place, or more than one.
    """
    for machine in MACHINES:
        begin = f"<!-- table {machine.name} -->\n"
        if text.count(begin) != 1:
            raise ValueError(f"{text.count(begin)} places for the table of {machine.name!r}, expected: {begin.strip()}")
        before, _, after = text.partition(begin)
        text = f"{before}{begin}{machine.markdown()}<!-- end -->{after.partition('<!-- end -->')[2]}"
    return text


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:]):
        path.write_text(filled(path.read_text()))
