"""Samples in no episode over the link: told in parts that fit, until noted; the latest wins; old peers go on."""

import msgspec
import pytest

from sensorium.episode.documents import Account, BetweenReport, BetweenTotals
from sensorium.link import wire
from sensorium.link.device import jobs
from sensorium.link.device.protocol import DeviceLink
from sensorium.link.server.jobs import NoteBetween, NoteSpool
from sensorium.link.server.protocol import ServerLink

SECOND = 10**9


class Ends:
    """Both ends, and what the server's store keeps."""

    def __init__(self) -> None:
        self.device = DeviceLink("rig", "s1", "boot", lambda: (0, 0), lambda _: (), lambda: 0.5)
        self.server = ServerLink(lambda _: None, iter(range(1, 100)).__next__, lambda: 0, secure=False)
        self.kept: dict[str, Account] = {}
        self.noted: list[int] = []
        self.largest = 0
        self.now_ns = 0

    def connect(self) -> None:
        self.now_ns += 60 * SECOND
        self.device.poll(self.now_ns)
        self.exchange()
        assert self.device.is_up

    def exchange(self, *, answers: bool = True) -> list[BetweenReport]:
        """Carry what both say, and do what the store is asked to; the reports that came."""
        reports = []
        for message in self.device.take_messages():
            frame = wire.encode(message)
            self.largest = max(self.largest, len(frame))
            self.server.receive(b"r", "", wire.decode_from_device(frame), self.now_ns)
        for job in self.server.take_jobs():
            assert isinstance(job, NoteBetween | NoteSpool)
            if isinstance(job, NoteBetween):
                reports.append(job.report)
                self.kept.update(job.report.streams)
                self.server.noted_between(job.session, job.report.number if answers else 0, self.now_ns)
        for _, answer in self.server.take_messages():
            if isinstance(answer, wire.Ledgered):
                self.noted.append(answer.between)
            self.device.receive(wire.decode_from_server(wire.encode(answer)), self.now_ns)
        return reports


def totals(**streams: tuple[int, int]) -> BetweenTotals:
    """By stream: the number of its last change, and how many were filtered."""
    accounts = {name: Account(captured=n, filtered={"trigger": n}) for name, (_, n) in streams.items()}
    return BetweenTotals(numbers={name: number for name, (number, _) in streams.items()}, streams=accounts)


def test_it_is_said_until_it_is_noted_and_then_only_what_changed() -> None:
    ends = Ends()
    ends.connect()
    said = totals(imu=(1, 5), cam=(2, 7))
    for _ in range(3):
        ends.device.report_between(said)
        (report,) = ends.exchange(answers=False)
        assert (report.number, set(report.streams)) == (2, {"imu", "cam"})
    assert ends.device.noted_between == 0
    ends.device.report_between(said)
    ends.exchange()
    assert ends.device.noted_between == 2
    ends.device.report_between(said)
    assert ends.exchange() == []
    ends.device.report_between(totals(imu=(1, 5), cam=(3, 8)))
    (report,) = ends.exchange()
    assert report == BetweenReport(number=3, streams={"cam": Account(captured=8, filtered={"trigger": 8})})
    assert not [job for job in ends.device.take_jobs() if isinstance(job, jobs.ForgetDiscards)]


def test_a_new_session_hears_of_all() -> None:
    ends = Ends()
    ends.connect()
    ends.device.report_between(totals(imu=(4, 5)))
    ends.exchange()
    ends.device.lost("cut", ends.now_ns)
    assert ends.device.noted_between == 0
    ends.connect()
    ends.device.report_between(totals(imu=(4, 5)))
    (report,) = ends.exchange()
    assert report.number == 4


def test_many_streams_go_in_parts_each_after_the_one_before_was_noted() -> None:
    ends = Ends()
    ends.connect()
    names = [f"{i:03}" + "x" * 97 for i in range(500)]
    said = totals(**{name: (500 - i, i) for i, name in enumerate(names)})
    numbers: list[int] = []
    while ends.device.noted_between < 500:
        ends.device.report_between(said)
        ends.device.report_between(said)
        (report,) = ends.exchange()  # while one is being noted the same again is nothing new
        numbers.append(report.number)
    assert numbers == sorted(set(numbers))
    assert len(numbers) > 1
    assert ends.kept == said.streams
    assert ends.largest <= wire.MAX_CONTROL_BYTES // 2 + 1024, "with room for what CURVE adds"


def test_one_account_of_many_causes_still_goes() -> None:
    ends = Ends()
    ends.connect()
    wordy = Account(captured=250, lost={f"cause-{i:03}" + "x" * 150: 1 for i in range(250)})
    ends.device.report_between(BetweenTotals(numbers={"imu": 1, "cam": 2}, streams={"imu": wordy, "cam": Account()}))
    (report,) = ends.exchange()
    assert (report.number, report.streams) == (1, {"imu": wordy})


@pytest.mark.parametrize("between", [7, {"number": -1}, {"number": 1, "streams": {"imu": 3}}, {"streams": []}])
def test_what_is_no_report_breaks_a_rule(between: object) -> None:
    ends = Ends()
    ends.connect()
    ends.device.status({"between": between})
    ends.exchange()
    assert ends.server.out.counters["violations"] == 1
    assert not ends.server.sessions


def test_a_device_cannot_have_more_noted_at_once_than_the_server_bears() -> None:
    ends = Ends()
    ends.connect()
    for number in range(1, 100):
        ends.device.status({"between": {"number": number, "streams": {}}})
    for message in ends.device.take_messages():
        ends.server.receive(b"r", "", wire.decode_from_device(wire.encode(message)), ends.now_ns)
    assert sum(isinstance(job, NoteBetween) for job in ends.server.take_jobs()) == 1


def test_an_older_server_answers_nothing_and_an_older_device_reads_on() -> None:
    """The one keeps STATUS as it comes, the other knows LEDGERED without the key."""
    ends = Ends()
    ends.connect()
    ends.device.report_between(totals(imu=(1, 5)))
    (message,) = ends.device.take_messages()
    assert isinstance(message, wire.Status)
    assert set(message.document) == {"between"}

    class OldLedgered(msgspec.Struct, tag_field="t", tag="ledgered"):
        session: int
        ordinals: tuple[int, ...]

    frame = wire.encode(wire.Ledgered(session=3, ordinals=(), between=4))
    assert msgspec.msgpack.decode(frame, type=OldLedgered) == OldLedgered(session=3, ordinals=())
    old = msgspec.msgpack.encode({"t": "ledgered", "session": 3, "ordinals": [1]})
    assert wire.decode_from_server(old) == wire.Ledgered(session=3, ordinals=(1,), between=0)
