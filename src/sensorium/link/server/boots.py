"""Boots: in which boot each spool was seen. One that comes from a boot that was over is used by two machines."""

from collections import OrderedDict

MAX_SPOOLS = 4096
MAX_BOOTS = 16


class Boots:
    """What HELLOs said, bounded whoever says it."""

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[str, str], list[str]] = OrderedDict()

    def alternate(self, device: str, spool_id: str, boot_id: str) -> bool:
        """A spool comes from a boot; whether it came from another one since it came from this (A, B, A)."""
        seen = self._seen.setdefault((device, spool_id), [])
        self._seen.move_to_end((device, spool_id))
        if len(self._seen) > MAX_SPOOLS:
            self._seen.popitem(last=False)
        if not boot_id or seen[-1:] == [boot_id]:
            return False
        again = boot_id in seen
        if again:
            seen.remove(boot_id)
        seen.append(boot_id)
        del seen[:-MAX_BOOTS]
        return again
