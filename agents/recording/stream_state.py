"""Where one stream of a recorder is: how far it has come, and what waits for the trigger to decide."""

from collections import deque
from collections.abc import Callable
from dataclasses import InitVar, dataclass, field

from sensorium.agents.recording.absence import Absence
from sensorium.agents.recording.encode import encoder
from sensorium.agents.recording.piece import Piece
from sensorium.drivers.stream import Samples
from sensorium.episode.account import DeviceAccount
from sensorium.episode.codecs.registry import codec_of
from sensorium.episode.documents import StreamEntry

BEFORE_ALL = -(2**63)
"""Earlier than any stamp."""


@dataclass(slots=True)
class StreamState:
    """Where one stream is: the last stamp seen, and the pieces that wait for the trigger to decide.

    Each sample is encoded by itself if it is `by_frame`. It has `ended` when it delivers no more, and `failed` if
    that was by an error; while its sensor is `away`, it may again.
    """

    entry: StreamEntry
    account: InitVar[DeviceAccount]
    epoch: int = 0
    passed_ns: int = BEFORE_ALL
    ended: bool = False
    failed: bool = False
    away: bool = False
    queue: deque[Piece] = field(default_factory=deque)
    by_frame: bool = field(init=False)
    encode: Callable[[Samples], bytes] = field(init=False)
    absence: Absence = field(init=False)

    def __post_init__(self, account: DeviceAccount) -> None:
        codec = codec_of(self.entry)
        self.by_frame = codec.stores_items or self.entry.spec.is_frames
        self.encode = encoder(codec)
        self.absence = Absence(self.entry.spec, account)

    def passed(self, epoch: int, end_ns: int) -> bool:
        """Whether no sample before `end_ns` can come any more, as far as order tells."""
        return self.ended or (self.epoch, self.passed_ns) >= (epoch, end_ns)
