"""A file or a folder that appears when it is whole: it is written beside its place, synced, and named at the end."""

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from sensorium.episode import durable
from sensorium.episode.remedy import remedy
from sensorium.errors import ConfigError, SensoriumError, StoreError


@contextlib.contextmanager
def appearing(target: Path) -> Iterator[Path]:
    """A path beside `target`, on the same disk, at which a file or a folder is to be made.

    When the block ends, that is on disk and called `target`; where it raises, nothing of it is left.

    Raises:
        ConfigError: `target` exists.
        StoreError: it could not be written.
    """
    check_free(target)
    beside = target.with_name(f".{target.name[:200]}-{secrets.token_hex(4)}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield beside
        _sync(beside)
        check_free(target)
        beside.rename(target)
        durable.sync_folder(target.parent)
    except BaseException as error:
        _remove(beside)
        if isinstance(error, OSError) and not isinstance(error, SensoriumError):
            why, step = error.strerror or error, remedy(error)
            raise StoreError(f"{target}: {why}; nothing of it is left: {step}, then again") from error
        raise


def check_free(target: Path) -> None:
    """`ConfigError` if there is something at `target`."""
    if os.path.lexists(target):
        raise ConfigError(f"{target}: exists; give another name, or remove it")


def _sync(path: Path) -> None:
    if path.is_dir():
        for each in path.iterdir():
            _sync(each)
        durable.sync_folder(path)
    else:
        durable.sync_file(path)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
