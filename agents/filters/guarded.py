"""A guarded encoder: whatever it raises, or if it never answers, costs pictures their descriptors and nothing else."""

from functools import partial

from sensorium.agents.filters.ailing import Ailing
from sensorium.agents.filters.guarded_call import GuardedCall, in_line
from sensorium.errors import ConfigError
from sensorium.perception.encoder import Embedded, Encoder, EncoderConfig, Pictures, checked, maker
from sensorium.threads import Thread

OPEN_S = 60.0


class GuardedEncoder:
    """An encoder that was opened, and is asked in a thread of its own.

    While one call has not, no other is made. What is wrong is said, and when it is well; of what comes and goes that is
    seldom. What it says of itself is asked once. A pickle of it is its configuration, and opens it anew.

    Raises:
        ConfigError: it cannot be opened, or not in a minute, or does not say which it is.
    """

    def __init__(self, config: EncoderConfig, within_s: float) -> None:
        self._config = config
        self._within_s = within_s
        work = f"asks the encoder {config.kind!r}"
        self._asking = GuardedCall(lambda run: Thread("describe", work, run, lambda _: None))
        self._dimensions = 0
        outcome = self._asking.outcome(partial(_opened, config), OPEN_S)
        if isinstance(outcome, ConfigError):
            raise outcome
        if not isinstance(outcome, tuple):
            why = f"it has not opened within {OPEN_S:.0f} s" if outcome is None else in_line(outcome)
            raise ConfigError(f"encoder {config.kind!r} cannot be opened: {why}; mend it, or leave it out") from outcome
        self._encoder, self.by = outcome
        then = "until it is well, pictures are recorded without descriptors"
        self._ailing = Ailing(f"encoder {self.by!r}", then)

    def __reduce__(self) -> tuple[type["GuardedEncoder"], tuple[EncoderConfig, float]]:
        return type(self), (self._config, self._within_s)

    def embed(self, pictures: Pictures) -> Embedded | None:
        """float32 [n, d] of uint8 [n, h, w, 3] BGR, or None: there are none this time."""
        if self._asking.busy:
            return None
        given = pictures.copy()  # a call that comes too late looks at pictures that are long gone
        call = partial(_embedded, self._encoder, given)
        outcome: Embedded | BaseException | None = self._asking.outcome(call, self._within_s)
        if outcome is None:
            self._ailing.fails(f"has not answered within {self._within_s:g} s")
            return None
        if isinstance(outcome, BaseException):
            self._ailing.fails(f"failed: {in_line(outcome)}")
            return None
        if self._dimensions not in (0, outcome.shape[1]):
            self._ailing.fails(f"gave vectors of {outcome.shape[1]} numbers, and of {self._dimensions} before")
            return None
        self._dimensions = outcome.shape[1]
        self._ailing.is_well()
        return outcome


def _opened(config: EncoderConfig) -> tuple[Encoder, str]:
    encoder = config.open()
    return encoder, maker(encoder)


def _embedded(encoder: Encoder, pictures: Pictures) -> Embedded:
    return checked(encoder.embed(pictures), len(pictures))
