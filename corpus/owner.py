"""The owner of a store: what root makes in it is given to them, or the ingest, which runs as them, could not go on."""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path


def give_to_owner(store: Path, made: Iterable[Path]) -> None:
    """Have files in a store, by their paths in it, and the folders that they are in, be its owner's, where it is root
    who has made them."""
    if os.geteuid() != 0:
        return
    with contextlib.suppress(OSError):  # a file system without owners
        owner = store.stat()
        those = {each for path in made for each in (path, *path.parents) if each != Path()}
        for path in those if owner.st_uid else ():
            os.chown(store / path, owner.st_uid, owner.st_gid, follow_symlinks=False)
