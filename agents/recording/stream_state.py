"""Where one stream of a recorder is: how far it has come, and what waits for the trigger to decide."""

from dataclasses import InitVar, dataclass, field

from sensorium.agents.recording.absence import Absence
from sensorium.agents.recording.encode import Encode, encoder
from sensorium.agents.recording.piece import Piece
from sensorium.agents.recording.ring import Ring
from sensorium.drivers.media import Media
from sensorium.drivers.stream import Block
from sensorium.episode.account import Tally
from sensorium.episode.codecs.contract import Codec
from sensorium.episode.codecs.registry import codec_of
from sensorium.episode.device_account import DeviceAccount
from sensorium.episode.documents import StreamEntry

BEFORE_ALL = -(2**63)
"""Earlier than any stamp."""


@dataclass(slots=True)
class StreamState:
    """Where one stream is: the last stamp seen, and the pieces that wait for the trigger to decide.

    Each sample is encoded by itself if it is `by_frame`. It has `ended` when it delivers no more, and `failed` if
    that was by an error; while its sensor is `away`, it may again.

    `epoch` counts how often its stamps stepped back. Each stream has its own: a clock that is set back shows in one
    stream after the other, with its next block, and until then what a slow stream delivers is still of the time
    before, and belongs in an episode of that time. A stream whose clock was not set back, and that goes on beyond all
    that is open of the time before, joins the others in theirs. So stamps are compared only within an epoch, and an
    episode has passed when every stream has come to its end, to a later epoch, or to the end of the episode.
    """

    entry: StreamEntry
    account: InitVar[DeviceAccount]
    epoch: int = 0
    joined: bool = False
    passed_ns: int = BEFORE_ALL
    ended: bool = False
    failed: bool = False
    away: bool = False
    ring: Ring = field(default_factory=Ring)
    by_frame: bool = field(init=False)
    sample_bytes: int = field(init=False)
    codec: Codec = field(init=False)
    encode: Encode = field(init=False)
    absence: Absence = field(init=False)

    def __post_init__(self, account: DeviceAccount) -> None:
        self.codec = codec_of(self.entry)
        self.by_frame = self.codec.stores_items or self.entry.spec.is_frames
        self.sample_bytes = self.entry.spec.sample_bytes
        self.encode = encoder(self.codec)
        self.absence = Absence(self.entry.spec, account)

    def stores(self, media: Media | None) -> bool:
        """Whether items are stored as they came; nobody decodes them."""
        return media is not None and self.codec.takes_items(media.media_type, self.entry.spec)

    def missed(self, block: Block) -> Tally:
        """What is missing before a block, that has not passed yet."""
        lost, known = Tally(), len(block) and self.passed_ns > BEFORE_ALL
        around_ns = (self.passed_ns, int(block.captured_ns[0])) if known else None
        lost.miss(block.lost_before, around_ns, is_guess=block.is_guess)
        return lost

    def put_rows(self, block: Block) -> None:
        """The samples of a block, one by one if they are encoded so."""
        stamps = block.captured_ns
        if not self.by_frame:
            at_ns = int(stamps[0])
            self.ring.put(Piece(stamps, block.sensor_ns, block.content, at_ns, scores=block.scores))
            return
        for i in range(len(block)):
            rows = slice(i, i + 1)
            own = None if block.sensor_ns is None else block.sensor_ns[rows]
            self.ring.put(Piece(stamps[rows], own, block.content[rows], int(stamps[i]), scores=block.scores, row=i))

    def begin_anew(self) -> None:
        """Its stamps stepped back: it is in the next epoch, or, if it has joined that ahead of its own step, still."""
        self.epoch += not self.joined
        self.joined = False
        self.passed_ns = BEFORE_ALL
        self.absence.forget()

    def join(self, epoch: int) -> None:
        """Its stamps go on, while those of others stepped back."""
        self.epoch, self.joined = epoch, True

    def passed(self, epoch: int, end_ns: int) -> bool:
        """Whether no sample before `end_ns` can come any more, as far as order tells."""
        return self.ended or (self.epoch, self.passed_ns) >= (epoch, end_ns)
