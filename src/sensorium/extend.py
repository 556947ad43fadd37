"""What drivers, filters, triggers, codecs, policies and others of your own may import, and a promise that it stays.

    from sensorium.extend import Block, DriverConfig, StreamSpec

A package registers what it adds as entry points: in `sensorium.drivers`, `sensorium.filters`, `sensorium.triggers`,
`sensorium.encoders`, `sensorium.detectors`, `sensorium.scores`, `sensorium.policies` and `sensorium.planners` by its
`kind`, in `sensorium.codecs` by its `codec` in a device file, in `sensorium.verifiers` by its name. docs/extending.md
leads through it.

**The promise** holds for the names in `__all__`, for their parameters, attributes and methods that do not begin with
an underscore, and for what their docstrings say. Nothing else in Sensorium is promised to those who import it.

- A patch version changes none of it.
- A minor version may add: names; parameters and fields that have a default; methods of a base class that do something
  sensible where they are not overridden; kinds of what `Driver.read` may deliver. It never asks more of what you
  wrote: no new abstract method, and no new test in a suite but of what its contract had promised before.
- What is to go works on, with a `DeprecationWarning` that names what to use instead, for a minor version at least,
  and CHANGELOG says so under *Extending*. After that a major version may take it away; before 1.0 a minor one may.
- What is in files and on the wire (docs/store-format.md, docs/protocol.md) has versions of its own.

The suites `DriverTests`, `FilterTests`, `TriggerTests`, `CodecTests`, `EncoderTests`, `DetectorTests`, `ScoreTests`,
`PolicyTests`, `PlannerTests`, `WorldTests` and `VerifierTests` need pytest and hypothesis (`pip install
'sensorium[testing]'`), and are imported when they are first used; as are what reads stores, `Episode`, `Stream`,
`Verdict` and `Verifier`.
"""

import importlib
from typing import TYPE_CHECKING, Any

from sensorium.agents.filters.filter import FilterConfig
from sensorium.agents.planning.card import EpisodeCard
from sensorium.agents.planning.planner import Planner, PlannerConfig, Reach
from sensorium.agents.planning.proposal import Proposal
from sensorium.agents.selection.budget import Purse, costs_of
from sensorium.agents.selection.budgets import SelectionBudget
from sensorium.agents.selection.chance import draw
from sensorium.agents.selection.contract import Policy
from sensorium.agents.selection.policy import PolicyConfig, SelectionPolicy
from sensorium.agents.triggers.config import EventTriggerConfig, TriggerConfig
from sensorium.agents.triggers.events import EventSpans, EventTrigger
from sensorium.agents.triggers.trigger import FOREVER_NS, Command, EpisodeSpan, Placement, Trigger
from sensorium.drivers.batching import Batcher, estimate_rate_hz, rows_source
from sensorium.drivers.clock import Clock, boottime_ns, live_clock
from sensorium.drivers.controls import Control, Controllable
from sensorium.drivers.described import Described
from sensorium.drivers.driver import Delivery, Driver, DriverConfig
from sensorium.drivers.identity import Identity, identity_of
from sensorium.drivers.marks import EpisodeBegin, EpisodeEnd, Passed, SourceNote
from sensorium.drivers.media import JPEG, Media
from sensorium.drivers.pacing import Due, Pace, Paced, Pacer, Source, merge
from sensorium.drivers.registry import nearest
from sensorium.drivers.stream import Block, StreamSpec, loss_alone
from sensorium.episode.codecs.contract import ChunkCodec, Codec, CodecConfig, ItemCodec
from sensorium.episode.documents import Encoding, Redaction, StreamEntry
from sensorium.episode.unit import Decision, Unit
from sensorium.errors import ConfigError, Corrupt, SensoriumError, SensorLost
from sensorium.perception.detector import Detector, DetectorConfig
from sensorium.perception.encoder import DevicePath, Encoder, EncoderConfig
from sensorium.perception.gray import check_pictures, gray
from sensorium.perception.score import ScoreConfig
from sensorium.sim.worlds.config import WorldConfig
from sensorium.sim.worlds.playing import Played
from sensorium.sim.worlds.ticks import ticks
from sensorium.sim.worlds.world import Action, Done, Observation, World, WorldSpecs

if TYPE_CHECKING:
    from sensorium.agents.filters.testing import FilterTests
    from sensorium.agents.planning.testing import PlannerTests
    from sensorium.agents.selection.testing import PolicyTests
    from sensorium.agents.triggers.testing import TriggerTests, Word
    from sensorium.corpus.episode import Episode
    from sensorium.corpus.stream import Stream
    from sensorium.corpus.testing import VerifierTests
    from sensorium.corpus.verifier import Verdict, Verifier
    from sensorium.drivers.testing import DriverTests
    from sensorium.episode.codecs.testing import CodecTests
    from sensorium.perception.testing import DetectorTests, EncoderTests, ScoreTests
    from sensorium.sim.worlds.testing import WorldTests

__all__ = [
    "FOREVER_NS",
    "JPEG",
    "Action",
    "Batcher",
    "Block",
    "ChunkCodec",
    "Clock",
    "Codec",
    "CodecConfig",
    "CodecTests",
    "Command",
    "ConfigError",
    "Control",
    "Controllable",
    "Corrupt",
    "Decision",
    "Delivery",
    "Described",
    "Detector",
    "DetectorConfig",
    "DetectorTests",
    "DevicePath",
    "Done",
    "Driver",
    "DriverConfig",
    "DriverTests",
    "Due",
    "Encoder",
    "EncoderConfig",
    "EncoderTests",
    "Encoding",
    "Episode",
    "EpisodeBegin",
    "EpisodeCard",
    "EpisodeEnd",
    "EpisodeSpan",
    "EventSpans",
    "EventTrigger",
    "EventTriggerConfig",
    "FilterConfig",
    "FilterTests",
    "Identity",
    "ItemCodec",
    "Media",
    "Observation",
    "Pace",
    "Paced",
    "Pacer",
    "Passed",
    "Placement",
    "Planner",
    "PlannerConfig",
    "PlannerTests",
    "Played",
    "Policy",
    "PolicyConfig",
    "PolicyTests",
    "Proposal",
    "Purse",
    "Reach",
    "Redaction",
    "ScoreConfig",
    "ScoreTests",
    "SelectionBudget",
    "SelectionPolicy",
    "SensorLost",
    "SensoriumError",
    "Source",
    "SourceNote",
    "Stream",
    "StreamEntry",
    "StreamSpec",
    "Trigger",
    "TriggerConfig",
    "TriggerTests",
    "Unit",
    "Verdict",
    "Verifier",
    "VerifierTests",
    "Word",
    "World",
    "WorldConfig",
    "WorldSpecs",
    "WorldTests",
    "boottime_ns",
    "check_pictures",
    "costs_of",
    "draw",
    "estimate_rate_hz",
    "gray",
    "identity_of",
    "live_clock",
    "loss_alone",
    "merge",
    "nearest",
    "rows_source",
    "ticks",
]
_LATER = {
    "PlannerTests": "sensorium.agents.planning.testing",
    "PolicyTests": "sensorium.agents.selection.testing",
    "ScoreTests": "sensorium.perception.testing",
    "CodecTests": "sensorium.episode.codecs.testing",
    "DetectorTests": "sensorium.perception.testing",
    "DriverTests": "sensorium.drivers.testing",
    "EncoderTests": "sensorium.perception.testing",
    "FilterTests": "sensorium.agents.filters.testing",
    "TriggerTests": "sensorium.agents.triggers.testing",
    "WorldTests": "sensorium.sim.worlds.testing",
    "VerifierTests": "sensorium.corpus.testing",
    "Episode": "sensorium.corpus.episode",
    "Stream": "sensorium.corpus.stream",
    "Verdict": "sensorium.corpus.verifier",
    "Verifier": "sensorium.corpus.verifier",
    "Word": "sensorium.agents.triggers.testing",
}
"""What needs pytest, or what a device has no use for."""


def __getattr__(name: str) -> Any:
    """What is imported when it is first used: what collects has no pytest, and reads no store."""
    if name not in _LATER:
        raise AttributeError(f"module 'sensorium.extend' has no attribute {name!r}")
    return getattr(importlib.import_module(_LATER[name]), name)
