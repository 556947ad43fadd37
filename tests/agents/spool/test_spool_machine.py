"""The spool under any sequence of work and power loss: what was synced is delivered or accounted for."""

import random
import shutil
import tempfile
from pathlib import Path
from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sensorium.agents.spool import group_commit
from sensorium.agents.spool.episode_file import EpisodeFile
from sensorium.agents.spool.held import Waiting
from sensorium.agents.spool.spool import Spool
from sensorium.episode.documents import Account, Seal
from tests.agents.building import begin, chunk, commit, records


class SpoolMachine(RuleBasedStateMachine):
    """Power loss keeps what was synced, and of what was not any beginning, followed by rubbish or nothing.

    The thread that syncs in the background is held back: what is synced is what the rule `sync` says, each time.
    """

    def open(self, path: Path) -> Spool:
        spool = Spool(path, "rig")
        spool._commits.due = lambda: None  # type: ignore[method-assign]
        return spool

    def all(self) -> list[Waiting]:
        return [*self.spool.waiting(), *self.spool.holding.all()]

    @initialize()
    def start(self) -> None:
        self.interval_s, group_commit.INTERVAL_S = group_commit.INTERVAL_S, 3600.0
        self.root = Path(tempfile.mkdtemp())
        self.boots = 0
        self.path = self.root / "0"
        self.spool = self.open(self.path)
        self.rng = random.Random(0)
        self.files: dict[UUID, EpisodeFile] = {}
        self.written: dict[UUID, int] = {}
        self.synced: dict[UUID, int] = {}
        self.begun: dict[UUID, int] = {}
        self.gone: set[UUID] = set()
        self.held: set[UUID] = set()

    @rule()
    def begin(self) -> None:
        episode, file = begin(self.spool)
        assert file.manifest.ordinal == len(self.begun)
        self.files[episode], self.written[episode], self.synced[episode] = file, 0, 0
        self.begun[episode] = file.manifest.ordinal

    @precondition(lambda self: self.files)
    @rule(data=st.data())
    def append(self, data: st.DataObject) -> None:
        episode = data.draw(st.sampled_from(sorted(self.files)))
        self.files[episode].append(*chunk(self.written[episode]))
        self.written[episode] += 1

    @rule()
    def sync(self) -> None:
        self.spool.flush()
        self.synced.update(self.written)
        assert self.spool.ordinals()[1] == len(self.begun)

    @rule()
    def ordinals_are_told(self) -> None:
        """What was told of stays so: no ordinal is given twice."""
        assert self.spool.ordinals()[1] == len(self.begun)

    @precondition(lambda self: self.files)
    @rule(data=st.data())
    def seal(self, data: st.DataObject) -> None:
        episode = data.draw(st.sampled_from(sorted(self.files)))
        n = self.written[episode]
        self.files.pop(episode).seal("complete", {"imu": n}, {"imu": Account(captured=n, stored=n)}, {}, 10**9)

    @rule(data=st.data(), fate=st.sampled_from(["committed", "rejected"]))
    def settle(self, data: st.DataObject, fate: str) -> None:
        sealed = [w.episode for w in self.spool.waiting() if w.sealed]
        if sealed:
            episode = data.draw(st.sampled_from(sorted(sealed)))
            if fate == "committed":
                assert commit(self.spool, episode)
            else:
                self.spool.rejected(episode, "conflict", "said the server")
            self.gone.add(episode)

    @rule(data=st.data())
    def hold(self, data: st.DataObject) -> None:
        if sealed := sorted(w.episode for w in self.spool.waiting() if w.sealed):
            episode = data.draw(st.sampled_from(sealed))
            assert self.spool.holding.hold(episode, "preview")
            self.held.add(episode)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), fate=st.sampled_from(["fetched", "released"]))
    def let_go(self, data: st.DataObject, fate: str) -> None:
        episode = data.draw(st.sampled_from(sorted(self.held)))
        self.held.remove(episode)
        if fate == "fetched":
            assert self.spool.holding.let_go([episode, UUID(int=0)]) == [episode]
        else:
            self.spool.discard(episode, "released by directive d")
            self.gone.add(episode)

    @rule(most=st.integers(2, 5))
    def settle_together(self, most: int) -> None:
        sealed = [w for w in self.spool.waiting() if w.sealed][:most]
        said = [(w.episode, w.digest) for w in sealed]
        wrong = [(w.episode, bytes(32)) for w in self.spool.waiting() if w.episode not in dict(said)]
        assert self.spool.committed_all([*said, *wrong, *said]) == [w.episode for w in [*sealed, *sealed]]
        self.gone |= dict(said).keys()

    @rule(seed=st.integers(0, 2**32))
    def lose_power(self, seed: int) -> None:
        rng = random.Random(seed)
        copy = self.root / f"copy-{self.boots}"
        shutil.copytree(self.path, copy)
        sendable = {w.episode: w.size for w in self.all()}
        held = {w.episode for w in self.spool.holding.all()} & self.held
        for episode in self.spool._ledger.unbegun:  # nobody was told of them
            assert self.synced[episode] == 0
            del self.begun[episode]
        self.spool.close()
        for file in (copy / "episodes").glob("*.episode"):
            episode = UUID(file.stem.partition("-")[2])
            content = file.read_bytes()
            kept = content[: rng.randint(sendable[episode], len(content))]
            file.write_bytes(kept + rng.randbytes(rng.choice([0, 0, 7, 300])))
        self.boots += 1
        self.path = copy
        self.spool = self.open(copy)
        self.files.clear()
        self.held &= held
        assert {w.episode for w in self.spool.holding.all()} == self.held
        for waiting in self.all():
            assert waiting.sealed
            found = records(next((copy / "episodes").glob(f"*{waiting.episode}*")), waiting.episode)
            rows = [bytes(r.payload) for r in found if r.kind == 2]
            assert rows == [chunk(i)[1] for i in range(len(rows))]
            assert len(rows) >= self.synced[waiting.episode]
            closing = found[-1].header
            assert isinstance(closing, Seal)
            assert closing.account["imu"].balances
            self.written[waiting.episode] = self.synced[waiting.episode] = len(rows)
        for lost in set(self.begun) - self.gone - {w.episode for w in self.all()}:
            assert self.synced[lost] == 0
            self.gone.add(lost)

    @invariant()
    def every_ordinal_has_one_fate(self) -> None:
        counts = self.spool.counts()
        assert sum(counts.values()) == len(self.begun)
        assert counts["pending"] == len(self.spool.waiting())
        assert counts.get("held", 0) == len(self.held) == len(self.spool.holding.all())
        assert {w.episode for w in self.all()} == set(self.begun) - self.gone
        assert self.spool.is_empty == (not self.spool.waiting())

    def teardown(self) -> None:
        group_commit.INTERVAL_S = self.interval_s
        self.spool.close()
        shutil.rmtree(self.root)


TestSpoolMachine = SpoolMachine.TestCase
TestSpoolMachine.settings = settings(max_examples=20, stateful_step_count=25, deadline=None)
