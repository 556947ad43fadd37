"""A snapshot: the episodes that a query found once, and how long they are; it stays while others are committed."""

import base64
import binascii
import functools
import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt

from sensorium.corpus.order import Numbers
from sensorium.errors import ConfigError

_ROW = 24


@dataclass(frozen=True, eq=False)
class CorpusSnapshot:
    """`ids`, uint8 [n, 16], the UUIDs of episodes in rising order; `spans_ns`, int64 [n], from start to end.

    24 bytes an episode, whatever it holds.

    >>> made = CorpusSnapshot.of(["0190a5b4-0000-7000-8000-000000000001"], [5])
    >>> CorpusSnapshot.unpacked(made.packed).digest == made.digest
    True
    """

    ids: npt.NDArray[np.uint8]
    spans_ns: Numbers

    @classmethod
    def of(cls, ids: Sequence[str], spans_ns: Sequence[int] | Numbers) -> "CorpusSnapshot":
        """Of ids in rising order."""
        raw = bytes.fromhex("".join(ids).replace("-", ""))
        return cls(np.frombuffer(raw, np.uint8).reshape(-1, 16), np.array(spans_ns, np.int64))

    def __len__(self) -> int:
        return len(self.ids)

    def id(self, row: int) -> str:
        """An episode's id, as the catalog has it."""
        return str(UUID(bytes=self.ids[row].tobytes()))

    @functools.cached_property
    def digest(self) -> str:
        """What names it: the same of the same episodes alone."""
        found = hashlib.blake2b(self.ids.tobytes(), digest_size=16)
        found.update(self.spans_ns.astype("<i8").tobytes())
        return found.hexdigest()

    @functools.cached_property
    def packed(self) -> str:
        """It as text, about 17 bytes an episode."""
        rows = np.concatenate([self.ids, self.spans_ns.astype("<i8").view(np.uint8).reshape(-1, 8)], axis=1)
        return base64.b64encode(zlib.compress(rows.T.tobytes(), 1)).decode()  # by column: those of time are alike

    @classmethod
    def unpacked(cls, text: Any) -> "CorpusSnapshot":
        """The one that was packed; `ConfigError` of anything else."""
        try:
            columns = np.frombuffer(zlib.decompress(base64.b64decode(text, validate=True)), np.uint8)
            rows = np.ascontiguousarray(columns.reshape(_ROW, -1).T)
        except (TypeError, ValueError, binascii.Error, zlib.error) as error:
            raise ConfigError(f"the position's episodes cannot be read: {error}; take one as it was saved") from error
        spans_ns = np.ascontiguousarray(rows[:, 16:]).view("<i8").reshape(-1).astype(np.int64)
        return cls(np.ascontiguousarray(rows[:, :16]), spans_ns)
