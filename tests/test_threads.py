"""Threads: a death is told once and by name, a stop has a bound, a pool's jobs fail where someone hears it."""

import gc
import itertools
import logging
import threading
import time
import weakref
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from sensorium import threads
from sensorium.errors import ConfigError, SensoriumError, ThreadDied
from sensorium.threads import Pool, Restart, Thread, Watch, join, reason

BOUND_S = 60.0


def fail() -> None:
    raise KeyError("x")


def test_a_death_is_told_with_name_work_and_reason(caplog: pytest.LogCaptureFixture) -> None:
    told: list[SensoriumError] = []
    thread = Thread("pump", "moves the water", fail, told.append)
    assert thread.join(BOUND_S)
    (death,) = told
    assert isinstance(death, ThreadDied)
    assert isinstance(death.__cause__, KeyError)
    assert str(death).startswith("thread pump, which moves the water, died of KeyError: 'x'; ")
    assert "\n" not in str(death)
    assert caplog.messages == [str(death)]


def test_an_error_of_ours_is_told_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    told: list[SensoriumError] = []
    error = ConfigError("device: no such thing")

    def refuse() -> None:
        raise error

    Thread("agent", "collects", refuse, told.append).join(BOUND_S)
    assert told == [error]
    assert not caplog.messages, "its owner says it"


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), MemoryError()])
def test_nothing_that_ends_a_thread_is_silent(error: BaseException) -> None:
    told: list[SensoriumError] = []

    def end() -> None:
        raise error

    Thread("pump", "moves the water", end, told.append).join(BOUND_S)
    assert [death.__cause__ for death in told] == [error]


def test_an_end_is_no_death() -> None:
    told: list[SensoriumError] = []
    assert Thread("pump", "moves the water", lambda: None, told.append).join(BOUND_S)
    assert not told


def test_telling_that_fails_is_said(caplog: pytest.LogCaptureFixture) -> None:
    def deaf(death: SensoriumError) -> None:
        raise ValueError("deaf")

    Thread("pump", "moves the water", fail, deaf).join(BOUND_S)
    assert caplog.messages[-1] == "thread pump died, and telling of it failed: ValueError: deaf"


def test_one_that_hangs_is_left_behind_and_said(caplog: pytest.LogCaptureFixture) -> None:
    released = threading.Event()
    thread = Thread("pump", "moves the water", released.wait, lambda _: None, stop_s=0.05)
    assert not thread.join()
    assert thread.alive
    assert caplog.messages == ["thread pump, which moves the water, did not end in time; it is left behind"]
    assert next(each for each in threading.enumerate() if each.name == "pump").daemon
    released.set()
    assert thread.join(BOUND_S)


def test_several_that_hang_share_one_bound() -> None:
    released = threading.Event()
    hung = [Thread(f"pump-{n}", "moves the water", released.wait, lambda _: None) for n in range(20)]
    begun_s = time.monotonic()
    assert not join(hung * 20, 0.5)
    assert time.monotonic() - begun_s < 60.0, "not the bound of each after the other, which were 200 s"
    released.set()
    assert join(hung, BOUND_S)


def test_one_that_hangs_beside_one_that_ended_is_not_all_of_them() -> None:
    released = threading.Event()
    ended = Thread("fill", "fills", lambda: None, lambda _: None)
    hung = Thread("pump", "moves the water", released.wait, lambda _: None)
    assert ended.join(BOUND_S)
    assert not join([ended, hung], 0.05)
    released.set()
    assert join([ended, hung], BOUND_S)


def test_one_that_is_restarted_tells_every_death_and_pauses_longer_each_time() -> None:
    until = threading.Event()
    begun_s: list[float] = []
    told: list[SensoriumError] = []

    def run() -> None:
        begun_s.append(time.monotonic())
        if len(begun_s) == 4:
            until.set()
        fail()

    restart = Restart(until, first_s=0.05, most_s=0.1)
    assert Thread("uplink", "delivers", run, told.append, restart=restart).join(BOUND_S)
    assert len(told) == len(begun_s) == 4
    pauses_s = np.diff(begun_s)
    assert (pauses_s >= [0.05, 0.1, 0.1]).all()


def test_pauses_double_up_to_the_most_and_begin_anew_behind_a_long_life(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s, lives_s = 0.0, iter([0.0, 0.0, 5.0, 0.0, 5.1, 0.0])
    pauses_s: list[float | None] = []

    class Until(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            pauses_s.append(timeout)
            return len(pauses_s) == 6

    def run() -> None:
        nonlocal now_s
        now_s += next(lives_s)
        fail()

    monkeypatch.setattr(threads, "time", SimpleNamespace(monotonic=lambda: now_s))
    restart = Restart(Until(), first_s=1.0, most_s=5.0)
    assert Thread("uplink", "delivers", run, lambda _: None, restart=restart).join(BOUND_S)
    assert pauses_s == [1.0, 2.0, 4.0, 5.0, 1.0, 2.0]


def test_a_restart_is_given_up_when_it_is_told_to_end() -> None:
    until = threading.Event()
    died = threading.Event()
    thread = Thread("uplink", "delivers", fail, lambda _: died.set(), restart=Restart(until, first_s=3600))
    assert died.wait(BOUND_S)
    assert thread.alive, "it will run again"
    until.set()
    assert thread.join(BOUND_S)


class Left(BaseException):
    """What a thread is interrupted by."""


def spin(until: threading.Event) -> None:
    while not until.is_set():
        pass


def test_a_loop_that_is_interrupted_ends_and_that_is_no_death() -> None:
    told: list[SensoriumError] = []
    thread = Thread("pump", "spins", lambda: spin(threading.Event()), told.append)
    thread.interrupt(Left)
    assert thread.join(BOUND_S)
    assert told == []


def test_who_has_ended_is_not_interrupted_in_the_place_of_another() -> None:
    """The system gives the number of a thread that has ended to the next one."""
    told: list[SensoriumError] = []
    until_s = time.monotonic() + BOUND_S
    same = False
    while not same and time.monotonic() < until_s:  # it does at once, but where other threads come and go
        before, stop = Thread("pump", "ends", lambda: None, told.append), threading.Event()
        assert before.join(BOUND_S)
        after = Thread("well", "spins", partial(spin, stop), told.append)
        same = after._thread.ident == before._thread.ident
        before.interrupt(Left)
        assert not after.ends_within(0.02)
        stop.set()
        assert after.join(BOUND_S)
    assert told == []
    assert same, "it tells nothing"


def test_the_watch_keeps_the_first_reason() -> None:
    stop = threading.Event()
    watch = Watch(stop.set)
    watch.check()
    watch.tell(ThreadDied("first"))
    watch.tell(ThreadDied("second"))
    assert stop.is_set()
    with pytest.raises(ThreadDied, match="first"):
        watch.check()


# ---- pools


def test_a_pool_does_its_jobs_and_hands_on_what_they_raise() -> None:
    told: list[SensoriumError] = []
    with Pool("work", "works", 2, told.append) as pool:
        squares = [pool.submit(pow, n, 2) for n in range(100)]
        failed = pool.submit(fail)
        assert [each.result(BOUND_S) for each in squares] == [n * n for n in range(100)]
        with pytest.raises(KeyError):
            failed.result(BOUND_S)
        assert not told, "whoever takes the result has it"


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), MemoryError()])
def test_whatever_a_job_raises_is_its_result_and_the_pool_goes_on(error: BaseException) -> None:
    told: list[SensoriumError] = []

    def end() -> None:
        raise error

    with Pool("work", "works", 1, told.append) as pool:
        assert pool.submit(end).exception(BOUND_S) is error
        assert pool.submit(pow, 2, 3).result(BOUND_S) == 8
    assert not told


def test_a_pool_has_as_many_threads_as_it_may_and_no_more() -> None:
    met, crowd = threading.Barrier(3), itertools.count(1)
    with Pool("work", "works", 3) as pool:
        jobs = [pool.submit(met.wait, BOUND_S) for _ in range(3)]
        assert sorted(job.result(BOUND_S) for job in jobs) == [0, 1, 2], "three at a time"
        for job in [pool.submit(next, crowd) for _ in range(50)]:
            job.result(BOUND_S)
        assert {each.name for each in threading.enumerate()} >= {"work-0", "work-1", "work-2"}
        assert "work-3" not in {each.name for each in threading.enumerate()}


def test_what_escapes_a_job_whose_result_nobody_takes_is_told_and_the_pool_goes_on() -> None:
    told: list[SensoriumError] = []
    done = threading.Event()
    with Pool("work", "works", 1, told.append) as pool:
        pool.do(fail)
        pool.do(done.set)
    assert done.is_set()
    assert [str(death).partition(";")[0] for death in told] == ["thread work, which works, died of KeyError: 'x'"]


def test_closing_finishes_what_was_given() -> None:
    done: list[int] = []
    pool = Pool("work", "works", 1)
    for n in range(100):
        pool.do(done.append, n)
    assert pool.close()
    assert done == list(range(100))
    assert pool.close(), "twice is no error"
    with pytest.raises(RuntimeError, match="'work' is closed"):
        pool.do(done.append, 100)


def test_closing_with_cancel_finishes_only_what_was_begun(caplog: pytest.LogCaptureFixture) -> None:
    begun, released = threading.Event(), threading.Event()
    told: list[SensoriumError] = []

    def wait() -> None:
        begun.set()
        released.wait(BOUND_S)

    pool = Pool("work", "works", 1, told.append)
    first = pool.submit(wait)
    later = pool.submit(fail)
    pool.do(fail)
    begun.wait(BOUND_S)
    closer = Thread("closer", "closes", lambda: pool.close(cancel=True), told.append)
    while not later.cancelled():
        time.sleep(0.001)
    released.set()
    assert closer.join(BOUND_S)
    first.result(BOUND_S)
    assert not told
    assert not caplog.messages, "what was cancelled is no failure"


def test_a_job_that_hangs_does_not_keep_a_pool(caplog: pytest.LogCaptureFixture) -> None:
    released = threading.Event()
    pool = Pool("work", "works", 1, stop_s=0.05)
    pool.do(released.wait)
    assert not pool.close()
    assert caplog.messages == ["thread work-0, which works, did not end in time; it is left behind"]
    released.set()
    assert pool.close()


def test_an_idle_pool_holds_on_to_nothing() -> None:
    with Pool("work", "works", 1) as pool:
        picture = np.zeros(1000)
        held = weakref.ref(picture)
        total = pool.submit(np.sum, picture)
        assert total.result(BOUND_S) == 0
        del picture, total
        deadline_s = time.monotonic() + BOUND_S
        while held() is not None and time.monotonic() < deadline_s:
            time.sleep(0.001)
            gc.collect()
        assert held() is None


def test_traces_are_for_those_who_ask(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        Thread("pump", "moves the water", fail, lambda _: None).join(BOUND_S)
    assert [(record.levelname, record.exc_info is not None) for record in caplog.records] == [
        ("ERROR", False),
        ("DEBUG", True),
    ]


def test_an_error_that_cannot_say_itself_is_named() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise KeyError("its maker's mistake")

    assert reason(Mute()) == "Mute: it does not say why"
