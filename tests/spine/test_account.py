"""The account from sensor to store: what collect prints, what the store holds, what the device's ledger says agree."""

import errno
import itertools
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest

import sensorium
from sensorium.agents.agent import Agent
from sensorium.agents.capture import intake, reopening
from sensorium.agents.device_file import check_device
from sensorium.agents.filters.filter import FilterConfig
from sensorium.agents.spool.episode_file import EpisodeFile
from sensorium.agents.spool.inspect import inspect_spool
from sensorium.agents.triggers.config import TriggerConfig
from sensorium.agents.triggers.interval import Interval
from sensorium.agents.triggers.trigger import FOREVER_NS, Command, Placement, Trigger
from sensorium.drivers.clock import Clock, boottime_ns, live_clock
from sensorium.drivers.driver import DriverConfig
from sensorium.drivers.replay.replay_csv import ReplayCsvConfig
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.episode.account import Tally
from sensorium.episode.documents import Account
from sensorium.errors import SensoriumError, SensorLost, SpoolError
from sensorium.ingest.commit import Ready
from sensorium.ingest.committing import Commits, Conflict
from sensorium.ingest.mending import rebuild_catalog
from sensorium.ingest.server import Ingest
from sensorium.ingest.store import Store
from tests.spine.commands import Site, sim, wait_for
from tests.spine.odd_sensor import OddConfig

pytestmark = pytest.mark.timeout(180)


class House:
    """A store with its ingest in this process, and one device with its spool."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stack = ExitStack()
        self.url = ""

    def ingest(self) -> None:
        store = self._stack.enter_context(Store.open(self.folder / "store"))
        server = Ingest(store, "tcp://127.0.0.1:0")
        server.start()
        self._stack.callback(server.stop)
        self.url = server.address

    def agent(self, sensors: dict[str, Any], **parts: Any) -> Agent:
        options = {name: parts.pop(name) for name in ("seconds", "episodes", "drain_s") if name in parts}
        document = {
            "device": "rig-1",
            "spool": {"path": "spool", **parts.pop("spool", {})},
            "sensors": sensors,
            "trigger": {"kind": "interval", "length_s": 1},
            **({"ingest": {"url": self.url}} if self.url else {}),
            **parts,
        }
        return Agent(check_device(document, self.folder), **options)

    def close(self) -> None:
        self._stack.close()

    def agreed(self, printed: dict[str, Account]) -> dict[str, Account]:
        """What of every stream all three say, once everything is delivered: the printed totals, the store's accounts
        and what it has between, and, of that, the device's ledger."""
        spool = inspect_spool(self.folder / "spool")
        assert spool["counts"].get("pending", 0) == 0
        corpus = sensorium.open(self.folder / "store")
        (ledger,) = corpus.ledger()
        told = {stream: account.as_dict() for stream, account in ledger.between.items()}
        assert told == spool["between_totals"]
        whole = {stream: Tally.of(account) for stream, account in ledger.between.items()}
        for episode in corpus.query():
            for stream, said in episode.account.items():
                account = msgspec.convert(said, Account)
                assert account.balances
                assert account.stored == len(episode.streams[stream].captured_ns)
                whole.setdefault(stream, Tally()).add(Tally.of(account))
        found = {stream: tally.account() for stream, tally in whole.items() if tally}
        assert all(account.balances for account in found.values())
        assert found == {stream: account for stream, account in printed.items() if account.captured}
        return found

    def delivered(self, agent: Agent) -> dict[str, Account]:
        """Run it to its end, and see that all agree."""
        assert agent.run()
        return self.agreed(agent.status()["streams"])


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.close()


class Script(DriverConfig):
    """A live sensor of rows: each word is a number of samples to deliver at 100 Hz, or what happens then."""

    kind: str = "script"
    lives: list[list[int | str]]
    side: int = 0
    step_s: float = 0.01

    def open(self, name: str, base: Path) -> "Scripted":
        if not self.lives:
            raise SensorLost("it is not there")
        return Scripted(name, self.lives.pop(0), self)


class Scripted:
    def __init__(self, name: str, words: list[int | str], config: Script) -> None:
        shape, kind = ((config.side, config.side), "uint8") if config.side else ((3,), "float64")
        self.specs = (StreamSpec(name=name, modality="test", dtype=kind, shape=shape, rate_hz=1 / config.step_s),)
        self.clock: Clock = live_clock()
        self._words = iter(list(itertools.chain.from_iterable([1] * w if isinstance(w, int) else [w] for w in words)))
        self._step_s = config.step_s
        self._closed = threading.Event()
        self._rng = np.random.default_rng(0)

    def read(self, timeout_s: float) -> Sequence[Block] | None:
        if self._closed.wait(self._step_s):
            return None
        spec = self.specs[0]
        match next(self._words, "end"):
            case "end":
                return None
            case "lost":
                raise SensorLost("unplugged")
            case "loss":
                return [Block(spec.name, np.empty(0, np.int64), np.empty((0, *spec.shape), spec.dtype), 7)]
            case "wrong":
                return [Block(spec.name, np.array([2, 1], np.int64), np.zeros((2, *spec.shape), spec.dtype))]
            case "wait":
                self._closed.wait(1.5)
                return ()
        data = self._rng.integers(0, 255, (1, *spec.shape)).astype(spec.dtype)
        return [Block(spec.name, np.array([boottime_ns()], np.int64), data)]

    def close(self) -> None:
        self._closed.set()


# -- each fate ---------------------------------------------------------------------------------------------------------


def test_filters_and_a_trigger(house: House) -> None:
    house.ingest()
    filters = {
        "sim.cam": [{"kind": "rate", "max_hz": 10}, {"kind": "resize", "size": [32, 24], "into": "small"}],
        "small": [{"kind": "rate", "max_hz": 5}],
    }
    trigger = {"kind": "motion", "stream": "sim.imu", "gyro_above": 0.2, "pre_roll_s": 0.1, "post_roll_s": 0.1}
    agent = house.agent({"sim": sim(duration_s=8.0)}, filters=filters, trigger=trigger)
    found = house.delivered(agent)
    assert found["sim.cam"].captured == 160
    assert found["sim.cam"].filtered["rate"] == 80
    assert found["small"].captured == 80
    assert found["sim.imu"].captured == 800
    assert found["sim.imu"].filtered["trigger"] > 0


def test_nothing_was_worth_an_episode(house: House) -> None:
    """A device whose trigger never fires: its samples are knowable from the store alone."""
    house.ingest()
    trigger = {"kind": "motion", "stream": "sim.imu", "gyro_above": 1000.0}
    found = house.delivered(house.agent({"sim": sim(duration_s=3.0)}, trigger=trigger))
    assert sensorium.open(house.folder / "store").query() == []
    assert found["sim.imu"] == Account(captured=300, filtered={"trigger": 300})
    house.close()
    rebuild_catalog(house.folder / "store")
    assert house.agreed(found) == found


def test_overrun_and_malformed_blocks_and_losses_at_the_end(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise comes faster than it can be encoded; the last that the sensor says is a loss."""
    house.ingest()
    monkeypatch.setattr(intake, "MAX_QUEUED_BYTES", 1 << 19)  # one frame
    sensor = Script(lives=[["wrong", 300, "loss", "wrong"]], side=700, step_s=0.0001)
    agent = house.agent({"cam": sensor}, encodings={"cam": {"codec": "jpeg", "quality": 95}})
    found = house.delivered(agent)["cam"]
    assert found.captured == 300 + 7 + 4
    assert found.lost["overrun"] > 0
    assert (found.lost["malformed"], found.lost["sensor"]) == (4, 7)


def test_a_sensor_away_in_the_middle_and_to_the_end(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.ingest()
    monkeypatch.setattr(reopening, "FIRST_BACKOFF_S", 0.3)
    sensors = {"steady": Script(lives=[[1000]]), "loose": Script(lives=[[50, "lost"], [50, "lost"]])}
    agent = house.agent(sensors, seconds=4.0)
    with pytest.raises(SensoriumError, match="sensor 'loose' is away: it is not there; what came before it"):
        agent.run()
    found = house.agreed(agent.status()["streams"])
    assert found["loose"].estimated
    assert found["loose"].stored == 100
    assert found["loose"].lost["away"] > 150, "the second absence lasts to the end"


def test_a_sensor_that_comes_late(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone it keeps nobody from delivering what the spool holds; beside another it joins, and all agree."""
    monkeypatch.setattr(reopening, "FIRST_BACKOFF_S", 0.1)
    monkeypatch.setattr(reopening, "MAX_BACKOFF_S", 0.1)
    OddConfig.opened.clear()
    assert not house.agent({"late": OddConfig(kind="odd", lives=[[50, "end"]])}).run()
    house.ingest()
    alone = house.agent({"late": OddConfig(kind="odd", lives=[["open:raise:OSError"]])})
    running = threading.Thread(target=lambda: suppressed(alone))
    running.start()
    wait_for(lambda: alone.status()["ordinals"].get("committed"), "delivery")
    assert alone.status()["absent"] == {"late": "OSError: injected"}
    alone.stop()
    running.join()

    OddConfig.opened.clear()
    absent: list[list[int | str]] = [["open:raise:OSError"]] * 8
    late = OddConfig(kind="odd", lives=[*absent, [100_000]])
    agent = house.agent({"late": late, "good": OddConfig(kind="odd", lives=[[100_000]])})
    running = threading.Thread(target=agent.run)
    running.start()
    wait_for(lambda: agent.status()["streams"].get("late", Account()).stored > 50, "it to join")
    agent.stop()
    running.join()
    episodes = sensorium.open(house.folder / "store").query(order_by="ordinal")
    first = next(episode for episode in episodes if list(episode.streams) == ["good"])
    assert first.attributes["absent"] == {"late": "OSError: injected"}
    assert "absent" not in episodes[-1].attributes
    assert sorted(episodes[-1].streams) == ["good", "late"]
    (ledger,) = sensorium.open(house.folder / "store").ledger()
    assert ledger.between["late"].estimated
    assert {"late", "good"} <= agent.status()["streams"].keys()
    assert ledger.pending == 0


def suppressed(agent: Agent) -> None:
    with pytest.raises(SensoriumError, match="sensor 'late' is away"):
        agent.run()


def test_a_full_spool_live(house: House) -> None:
    """Nobody takes the episodes at first: what has no room is lost, and the rest delivered by the next run."""
    sensor = Script(lives=[[400]], side=700)
    agent = house.agent({"cam": sensor}, spool={"max_bytes": "40MB"})
    with pytest.raises(SensoriumError, match=r"nothing more was recorded: spool .* more do not fit"):
        agent.run()
    printed = agent.status()["streams"]
    assert printed["cam"].lost["spool_full"] > 0
    house.ingest()
    assert house.agent({"cam": Script(lives=[[]], side=700)}).run()
    assert house.agreed(printed)["cam"].captured == 400


def test_a_full_spool_that_evicts(house: House) -> None:
    """What was given up for newer episodes is lost in the totals of the run, and between in the store."""
    sensor = Script(lives=[[400]], side=700)
    agent = house.agent(
        {"cam": sensor},
        spool={"max_bytes": "40MB", "when_full": "evict"},
        trigger={"kind": "interval", "length_s": 0.3},
    )
    assert not agent.run()
    printed = agent.status()["streams"]
    assert printed["cam"].lost["evicted"] > 0
    house.ingest()
    assert house.agent({"cam": Script(lives=[[]], side=700)}).run()
    assert house.agreed(printed)["cam"].captured == 400


def test_what_is_discarded_by_hand(house: House) -> None:
    house.ingest()
    agent = house.agent({"imu": Script(lives=[[1000]])}, trigger={"kind": "manual"}, seconds=3.0)
    running = threading.Thread(target=agent.run)
    running.start()
    words: list[Command] = ["open", "discard", "open", "close"]
    for word in words:
        before = agent.status()["streams"].get("imu", Account()).captured
        wait_for(lambda: agent.status()["streams"].get("imu", Account()).captured >= before + 30, "samples")  # noqa: B023
        agent.command(word)
    running.join()
    found = house.agreed(agent.status()["streams"])["imu"]
    assert found.filtered["discarded"] >= 20
    assert found.filtered["trigger"] > 0
    assert found.stored >= 20


def test_frames_that_cannot_be_encoded(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.ingest()
    real, calls = cv2.imencode, itertools.count()
    monkeypatch.setattr(cv2, "imencode", lambda *given: (False, None) if next(calls) % 7 == 3 else real(*given))
    agent = house.agent({"sim": sim(duration_s=3.0)}, encodings={"sim.cam": {"codec": "jpeg"}})
    found = house.delivered(agent)["sim.cam"]
    assert found == Account(captured=60, stored=51, lost={"encoder": 9})


def test_an_episode_that_the_server_rejects(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.ingest()
    real = Commits._known

    def known(commits: Commits, ready: Ready[Any], entry: Any) -> Any:
        if ready.manifest.ordinal == 1:
            raise Conflict("known with other content")
        return real(commits, ready, entry)

    monkeypatch.setattr(Commits, "_known", known)
    agent = house.agent({"sim": sim(duration_s=3.0)})
    with pytest.raises(SensoriumError, match=r"the ingest rejected 1 episode; `sensorium spool .*` says why"):
        agent.run()
    found = house.agreed(agent.status()["streams"])
    assert found["sim.imu"] == Account(captured=300, stored=200, lost={"rejected": 100})


# -- recordings --------------------------------------------------------------------------------------------------------


def table(folder: Path, cells: list[str]) -> dict[str, Any]:
    (folder / "table.csv").write_text("t,a\n" + "".join(f"{i / 100:.2f},{cell}\n" for i, cell in enumerate(cells)))
    return {
        "kind": "replay-csv",
        "path": "table.csv",
        "pace": "fast",
        "time": {"column": "t"},
        "stream": {"channels": {"a": "a"}},
    }


@pytest.mark.parametrize("at", [0, 200, 500], ids=["first", "in the middle", "last"])
def test_rows_that_cannot_be_read_are_in_the_account_of_the_episode_that_holds_them(house: House, at: int) -> None:
    house.ingest()
    cells = [str(i) for i in range(500)]
    cells[at:at] = ["garbage"] * 100
    agent = house.agent({"imu": table(house.folder, cells)}, trigger={"kind": "interval", "length_s": 10})
    expected = Account(captured=600, stored=500, lost={"sensor": 100})
    assert house.delivered(agent)["imu"] == expected
    (episode,) = sensorium.open(house.folder / "store").query()
    assert msgspec.convert(episode.account["imu"], Account) == expected
    assert episode.between == {}


class Torn(ReplayCsvConfig):
    """A table whose disk fails behind its last row."""

    def open(self, name: str, base: Path) -> Any:
        driver = super().open(name, base)
        read = driver.read

        def torn(timeout_s: float) -> Any:
            blocks = read(timeout_s)
            if blocks is None:
                raise OSError(errno.EIO, "Input/output error")
            return blocks

        driver.read = torn  # type: ignore[method-assign]
        return driver


def test_a_recording_that_fails_half_way(house: House) -> None:
    """What was read is kept, what is known to be lost is said, and the last episode does not say that it is whole."""
    house.ingest()
    cells = [str(i) for i in range(2500)] + ["x", "y"]
    torn = Torn.model_validate(table(house.folder, cells))
    agent = house.agent({"imu": torn}, trigger={"kind": "interval", "length_s": 10})
    with pytest.raises(SensoriumError, match="'imu' failed"):
        agent.run()
    found = house.agreed(agent.status()["streams"])["imu"]
    assert (found.stored, found.lost["sensor"], found.estimated) == (2500, 2, True)
    episodes = sensorium.open(house.folder / "store").query(order_by="start_ns")
    assert [episode.row["reason"] for episode in episodes] == ["complete", "complete", "truncated"]
    assert episodes[2].account["imu"]["lost_interval_ns"] == [24_990_000_001, 30_000_000_000]
    assert "lost" not in {
        key for episode in episodes[:2] for key in episode.account["imu"] if episode.account["imu"][key]
    }


# -- an agent that dies ------------------------------------------------------------------------------------------------


class Bomb(FilterConfig[int]):
    """Passes so many blocks, and then raises what no filter should."""

    kind: str = "bomb"
    blocks: int

    def start(self, spec: StreamSpec) -> int:
        return 0

    def step(self, state: int, block: Block) -> tuple[int, Block | None]:
        if state == self.blocks:
            raise KeyError("injected")
        return state + 1, block


class FuseConfig(TriggerConfig):
    """Of so many blocks; with `asks` it decides nothing before it raises."""

    kind: str = "fuse"
    blocks: int
    asks: bool = False

    def start(self, specs: Sequence[StreamSpec]) -> Trigger:
        return Fuse(self)


class Fuse(Trigger):
    def __init__(self, config: FuseConfig) -> None:
        self._left, self._asks = config.blocks, config.asks

    def observe(self, block: Block) -> None:
        self._left -= 1

    def place(self, stamp_ns: int) -> Placement:
        if self._left <= 0:
            raise KeyError("injected")
        return Placement(FOREVER_NS, decided=False) if self._asks else Interval(10**9).place(stamp_ns)


DYING: dict[str, dict[str, Any]] = {
    "filter": {"filters": {"imu": [Bomb(blocks=150)]}},
    "derived": {"filters": {"imu": [Bomb(blocks=150, into="more")]}},
    "trigger": {"trigger": FuseConfig(blocks=300)},
    "undecided": {"trigger": FuseConfig(blocks=300, asks=True)},
}


@pytest.mark.parametrize("name", DYING)
@pytest.mark.parametrize("live", [True, False], ids=["live", "replay"])
def test_an_agent_that_dies_leaves_no_sample_without_a_fate(house: House, name: str, live: bool) -> None:
    """What it holds then, in queues, rings and rows that fill no chunk, is lost where that can be said."""
    house.ingest()
    side = 64
    sensors: dict[str, Any] = {"imu": Script(lives=[[1000]]), "cam": Script(lives=[[1000]], side=side)}
    if not live:
        cells = [str(i) for i in range(1000)]
        sensors = {"imu": table(house.folder, cells), "cam": table(house.folder, cells)}
    agent = house.agent(sensors, **DYING[name])
    with pytest.raises(KeyError, match="injected"):
        agent.run()
    printed = agent.status()["streams"]
    assert all(account.balances for account in printed.values())
    assert sum(account.lost.get("agent", 0) for account in printed.values()) > 0
    assert (sum(account.stored for account in printed.values()) > 0) == (name != "undecided")
    assert house.agent({"imu": Script(lives=[[]])}).run(), "what it has sealed is delivered"
    assert house.agreed(printed)["imu"].captured == printed["imu"].captured


def test_an_agent_that_dies_on_a_disk_in_trouble_counts_too(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the episode cannot be sealed, what was held is between; the next start seals what is on disk."""

    def seal(*_: object) -> None:
        raise SpoolError("no room")

    monkeypatch.setattr(EpisodeFile, "seal", seal)
    agent = house.agent({"imu": Script(lives=[[1000]])}, filters={"imu": [Bomb(blocks=50)]})
    with pytest.raises(KeyError, match="injected"):
        agent.run()
    printed = agent.status()["streams"]["imu"]
    assert printed.balances
    assert printed.lost["agent"] > 0
    between = inspect_spool(house.folder / "spool")["between_totals"]["imu"]
    assert between["captured"] == between["lost"]["agent"] == printed.lost["agent"]
    monkeypatch.undo()
    house.ingest()
    assert house.agent({"imu": Script(lives=[[]])}).run()
    for episode in sensorium.open(house.folder / "store").query():
        assert msgspec.convert(episode.account["imu"], Account).balances


# -- processes ---------------------------------------------------------------------------------------------------------


def test_after_a_kill_nothing_is_in_two_places(site: Site) -> None:
    """The first run printed nothing: its episodes and between are those that are not the second's."""
    port = int(site.ingest()[1])
    sensors = {"sim": sim(pace=1.0, duration_s=None)}
    trigger = {"kind": "motion", "stream": "sim.imu", "gyro_above": 0.3, "pre_roll_s": 0.1, "post_roll_s": 0.1}
    first = site.start("collect", site.device("rig-1", sensors, port, trigger=trigger), "--local")
    wait_for(lambda: site.json("query", "store"), "an episode", every_s=0.5)
    first.signal(signal.SIGKILL)
    first.process.wait()
    before = {each["episode"]: each["account"] for each in site.json("query", "store")}
    sensors = {"sim": sim(duration_s=3.0)}
    second = site.run("collect", site.device("rig-1", sensors, port, trigger=trigger), "--local")
    assert "0 waiting" in second.out
    (ledger,) = site.json("ledger", "store")
    spool = site.json("spool", "spool-rig-1")
    assert ledger["between"] == spool["between_totals"]
    episodes = site.json("query", "store")
    assert {each["episode"]: each["account"] for each in episodes}.items() >= before.items(), (
        "what is in stays as it is"
    )
    for each in [each["account"] for each in episodes] + [ledger["between"]]:
        for account in each.values():
            assert account["captured"] == account["stored"] + sum(account["filtered"].values()) + sum(
                account["lost"].values()
            )
    printed = {line.split(":")[0].strip(): line for line in second.out.splitlines() if "captured" in line}
    assert "captured 300," in printed["sim.imu"]
    assert site.json("verify", "store", "--deep") == []
    site.run("show", "store", episodes[0]["episode"])
