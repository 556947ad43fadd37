"""A guarded detector: where it raises, gives nonsense or never answers, there is no answer, and so no picture."""

import logging
from functools import partial

from sensorium.agents.filters.ailing import Ailing
from sensorium.agents.filters.guarded_call import GuardedCall, in_line
from sensorium.errors import ConfigError
from sensorium.perception.detector import Boxes, Detector, DetectorConfig, found, which
from sensorium.perception.encoder import Pictures
from sensorium.threads import Thread

OPEN_S = 60.0


class GuardedDetector:
    """A detector that was opened, and is asked in a thread of its own about pictures of `stream`.

    While one call has not returned, no other is made. What is wrong is said, and when it is well; of what comes and
    goes that is seldom. What it says of itself is asked once: `by` and `weights`. A pickle of it is its configuration,
    and opens it anew.

    Raises:
        ConfigError: it cannot be opened, or not in a minute, or does not say which it is.
    """

    def __init__(self, config: DetectorConfig, within_s: float, stream: str) -> None:
        self._config, self._within_s, self._stream = config, within_s, stream
        work = f"asks the detector {config.kind!r}"
        self._asking = GuardedCall(lambda run: Thread("detect", work, run, lambda _: None))
        outcome = self._asking.outcome(partial(_opened, config), OPEN_S)
        if isinstance(outcome, ConfigError):
            raise outcome
        if not isinstance(outcome, tuple):
            why = f"it has not opened within {OPEN_S:.0f} s" if outcome is None else in_line(outcome)
            raise ConfigError(f"detector {config.kind!r} cannot be opened: {why}; mend it, or use masks") from outcome
        self._detector, (self.by, self.weights) = outcome
        then = f"until it is well, pictures of {stream!r} are dropped, and counted `redact.failed`"
        self._ailing = Ailing(f"detector {self.by!r}", then, logging.ERROR)

    def __reduce__(self) -> tuple[type["GuardedDetector"], tuple[DetectorConfig, float, str]]:
        return type(self), (self._config, self._within_s, self._stream)

    def find(self, picture: Pictures) -> Boxes | None:
        """What is in one picture, uint8 [h, w, 3] BGR: float32 [m, 5]; None: nobody knows."""
        if self._asking.busy:
            return None
        given = picture[None].copy()  # a call that comes too late looks at a picture that is long gone
        outcome: Boxes | BaseException | None = self._asking.outcome(
            partial(_found, self._detector, given), self._within_s
        )
        if outcome is None:
            self._ailing.fails(f"has not answered within {self._within_s:g} s")
            return None
        if isinstance(outcome, BaseException):
            self._ailing.fails(f"failed: {in_line(outcome)}")
            return None
        self._ailing.is_well()
        return outcome


def _opened(config: DetectorConfig) -> tuple[Detector, tuple[str, str]]:
    detector = config.open()
    return detector, which(detector)


def _found(detector: Detector, pictures: Pictures) -> Boxes:
    return found(detector.detect(pictures), pictures)[0]
