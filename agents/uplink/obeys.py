"""Who obeys directives and who reports, as the uplink sees them: what came is passed on, answers and state go out."""

from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from sensorium.link import wire
from sensorium.link.device import jobs
from sensorium.link.device.protocol import DeviceLink
from sensorium.link.directive import DirectiveAnswer


class Obeys(Protocol):
    """The uplink's thread calls it."""

    def subscribe(self, wake: Callable[[], None]) -> None: ...

    def take(self, directive: wire.Directive) -> None: ...

    def probed(self, device_ns: int, server_ns: int) -> None: ...

    def pass_time(self) -> None: ...

    def begin(self) -> None: ...

    def answers(self, now_ns: int) -> list[DirectiveAnswer]: ...

    def noted(self, names: tuple[str, ...]) -> None: ...


class Reports(Protocol):
    """The uplink's thread calls it. `due` is the device's state where it is to be said now, `last` what is said when
    the device leaves."""

    def begin(self) -> None: ...

    def due(self, now_ns: int) -> dict[str, Any] | None: ...

    def last(self) -> dict[str, Any]: ...


def pass_on(obeys: Obeys, job: jobs.PumpJob) -> None:
    """What a job of the link has to do with directives."""
    match job:
        case jobs.OfferAll():
            obeys.begin()
        case jobs.KeepProbe(device_ns, server_ns, _):
            obeys.probed(device_ns, server_ns)
        case jobs.Obey(directive):
            obeys.take(directive)
        case jobs.ForgetAnswers(names):
            obeys.noted(names)


def tell(obeys: Obeys, link: DeviceLink, now_ns: int) -> None:
    """Tell what became of directives."""
    if answers := obeys.answers(now_ns):
        said: list[Any] = [msgspec.to_builtins(answer) for answer in answers]
        link.status({"directives": said})


def report(reports: Reports, link: DeviceLink, now_ns: int) -> None:
    """Say the device's state, if it is due."""
    if (state := reports.due(now_ns)) is not None:
        link.status({"device": state})
