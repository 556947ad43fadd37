"""A device that is played on a real store: it reports its controls, answers directives, and has episodes committed."""

import itertools
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from sensorium.agents.charter import Charter
from sensorium.agents.planning.asking import DirectiveDesk
from sensorium.agents.planning.loop import LoopTimes, PlanningLoop
from sensorium.agents.planning.planner import PlannerConfig
from sensorium.agents.planning.rules import PlanRules
from sensorium.agents.plans.causing import AT_PLACE, PHASE
from sensorium.corpus.device_report import FLEET, DeviceReport
from sensorium.corpus.directives import DirectiveEntry, DirectiveShelf, GivenAnswer
from sensorium.drivers.controls import Control
from sensorium.episode.documents import Note
from sensorium.ingest.store import Store
from sensorium.link.operators import OperatorPair
from tests.episode_files import build_episode

PROBES = [(10**9, 1_700_000_000 * 10**9, 2_000_000)]
PLACES = (
    Control(name="x_m", plan="viewpoint", unit="m", low=0, high=3, cell=1, cost_s_per_unit=1),
    Control(name="y_m", plan="viewpoint", unit="m", low=0, high=2, cell=1, cost_s_per_unit=1),
)
ORDINALS = itertools.count()


class PlayedDevice:
    """`did` says what it does of what it was asked: where it gets to, or None: it does not answer."""

    def __init__(
        self,
        store: Path,
        name: str = "rover",
        controls: tuple[Control, ...] = PLACES,
        did: Callable[[Mapping[str, Any]], Mapping[str, Any] | None] = lambda asked: asked,
    ) -> None:
        self.store, self.name, self.asked = store, name, list[dict[str, Any]]()
        self._did, self._at_ns = did, 10**9
        self._where: Mapping[str, Any] = {}
        self.mission = "kitchen"
        self.report(controls)

    def report(self, controls: tuple[Control, ...], **more: Any) -> None:
        """Say what can be asked of it, now."""
        plans = {"controls": {"base": msgspec.to_builtins(controls)}, "where": {}, "killed": "", **more}
        report = DeviceReport(device=self.name, heard_ns=time.time_ns(), state={"state": "collecting", "plans": plans})
        folder = self.store / FLEET
        folder.mkdir(exist_ok=True)
        (folder / f"{self.name}.json").write_bytes(msgspec.json.encode(report))

    def obey(self) -> None:
        """Do what waits."""
        shelf = DirectiveShelf(self.store)
        for entry in shelf.waiting(self.name):
            self._do(shelf, entry)

    def _do(self, shelf: DirectiveShelf, entry: DirectiveEntry) -> None:
        assert entry.document is not None
        body = entry.document.body
        did = self._did(body["parameters"])
        if did is None:
            return
        self.asked.append(body)
        refusal = did.get("refuse")
        answer = GivenAnswer(state="refused" if refusal else "done", why=str(refusal or ""))
        assert shelf.answered(self.name, entry.name, answer, entry.digest)
        if refusal or body["plan"] == "stop":
            return
        if body["plan"] == "mission":
            self.mission, did = str(did["name"]), self._where
        self.record(did, body["proposal"])

    def record(self, did: Mapping[str, Any], proposal: str = "", phase: str = AT_PLACE, **more: Any) -> str:
        """An episode there."""
        self._where = did
        self._at_ns += 2 * 10**9
        note = Note(kind="control", name=proposal, value={"asked": dict(did), "did": dict(did), PHASE: phase})
        made = build_episode(
            {"wheel": np.arange(10, dtype=np.int32)},
            device=self.name,
            ordinal=next(ORDINALS),
            step_ns=100_000_000,
            start_ns=self._at_ns,
            notes=[note],
            **{"mission": self.mission, **more},
        )
        manifest = msgspec.structs.replace(made.manifest, proposal=proposal)
        made.records[0] = (manifest, b"")
        with Store.open(self.store) as opened:
            assembly = opened.begin(made.episode)
            assembly.append(made.data)
            opened.commit(assembly, device=self.name, identity="k", probes=PROBES)
        return str(made.episode)


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def charter(**plans: Any) -> Charter:
    return Charter.model_validate({"plans": {"allow": ["viewpoint"], **plans}, "kill": "/nowhere/KILL"})


def loop_of(
    store: Path,
    pair: OperatorPair,
    planners: Mapping[str, PlannerConfig],
    clock: Clock,
    allowed: Charter | None = None,
    **more: Any,
) -> PlanningLoop:
    rules = PlanRules(allowed or charter(), seconds=2.0)
    desk = DirectiveDesk(store, pair, 600.0)
    times = LoopTimes(settle_s=1.0, patience_s=100.0)
    return PlanningLoop(store, planners, rules, desk, times=times, clock_s=clock, **more)
