"""Errors, named by who must act. A message says what, got, expected and the next step, in one line."""


class SensoriumError(Exception):
    """Any failure that Sensorium raises on purpose; the commands print it as one line and exit 1."""


class ConfigError(SensoriumError, ValueError):
    """The user must act: a device file, an option or an expression is wrong (exit 2)."""


class UnknownStream(ConfigError, KeyError):
    """An episode was asked for a stream that it has not."""

    def __str__(self) -> str:
        return str(self.args[0])  # a `KeyError` would put it in quotes


class SensorLost(SensoriumError, OSError):
    """The hardware must be seen to: a sensor was unplugged, went silent or never delivered."""


class PeerViolation(SensoriumError, ConnectionError):
    """The other side of the link broke the protocol."""


class LinkMisused(SensoriumError, RuntimeError):
    """Our own side of the link did what its tables do not allow: a fault in Sensorium, to be reported."""


class Corrupt(SensoriumError, ValueError):
    """Bytes are not what was written: a checksum, a digest or a structure does not hold."""


class StoreError(SensoriumError, OSError):
    """A store cannot be used as asked: absent, locked, unreadable or of another version."""


class SpoolError(SensoriumError, OSError):
    """A spool cannot be used as asked: locked, unreadable or of another version."""


class LeftSpool(SpoolError):
    """An episode is in its spool no more: it was committed, discarded or evicted meanwhile."""


class SpoolFull(SpoolError):
    """The spool's quota or the file system has no room; capture stops until there is some."""


class ThreadDied(SensoriumError):
    """The program is at fault: one of its threads met an error that nobody expected, which is its `__cause__`."""
