"""Rescoring: of lossless episodes it is what the device found, bit for bit; of JPEG it says how far it is."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import sensorium
from sensorium.agents.filters.chain import FilterChain
from sensorium.agents.rescoring import load_worth, rescored_logs
from sensorium.agents.selection.agreement import agreement
from sensorium.agents.selection.logs import traced_logs
from sensorium.agents.triggers.desk import Desk
from sensorium.cli.main import app
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.episode.codecs.jpeg import JpegConfig
from sensorium.episode.documents import Encoding
from sensorium.episode.unit import Judged
from sensorium.errors import ConfigError
from sensorium.ingest.store import Store
from tests.episode.traced import commit_trace
from tests.episode_files import BOOT

SECOND = 10**9
STEP_NS = SECOND // 5
SPEC = StreamSpec(name="front", modality="test", dtype="uint8", shape=(48, 64))
POLICY = "unit: {unit}\nbudget: {{share: 0.3}}\n"


def frames(count: int) -> Any:
    """A scene that changes now and then, with a sensor's noise."""
    rng = np.random.default_rng(3)
    scenes = [np.kron(rng.integers(30, 220, (6, 8)), np.ones((8, 8))) for _ in range(5)]
    return np.stack([np.clip(scenes[n // 13 % 5] + rng.normal(0, 2, (48, 64)), 0, 255) for n in range(count)]).astype(
        np.uint8
    )


class Hearing(Desk):
    heard: list[Judged]

    def decided(self, final: list[Judged]) -> None:
        self.heard = [*getattr(self, "heard", []), *final]


def on_the_device(path: Path, data: Any) -> list[Judged]:
    """What the trigger decides as frames come, one by one."""
    config = load_worth(path)
    trigger = config.start([SPEC])
    desk = Hearing(config.policy)
    desk.boot = BOOT.boot_id or ""
    trigger.sit_at(desk)
    chain = FilterChain([SPEC], config.filters([SPEC], {}))
    for number, frame in enumerate(data):
        at_ns = SECOND + number * STEP_NS
        for made in chain.step(Block("front", np.array([at_ns]), frame[None])):
            assert made.block is not None
            trigger.observe(made.block)
        trigger.passed("front", at_ns)
    trigger.ended("front")
    trigger.finish()
    return desk.heard


def store_of(path: Path, make_episode: Any, data: Any, traced: list[Judged], encoding: Encoding | None = None) -> Path:
    """All frames in two episodes, and the trace of what was decided."""
    with Store.open(path / "store") as store:
        for ordinal, first in enumerate((0, len(data) // 2)):
            made = make_episode(
                {"front": data[first : first + len(data) // 2]},
                ordinal=ordinal,
                start_ns=SECOND + first * STEP_NS,
                step_ns=STEP_NS,
                encodings={} if encoding is None else {"front": encoding},
            )
            assembly = store.begin(made.episode)
            assembly.append(made.data)
            store.commit(assembly, device="rig-1", identity="k")
        document = load_worth(path / "p.yaml").policy.model_dump(mode="json")
        commit_trace(store, traced, ordinal=2, document=document)
    return path / "store"


@pytest.mark.parametrize("unit", ["time", "frame"])
def test_lossless_episodes_are_scored_as_the_device_did(unit: str, make_episode: Any, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(POLICY.format(unit=unit))
    data = frames(80)
    judged = on_the_device(tmp_path / "p.yaml", data)
    corpus = sensorium.open(store_of(tmp_path, make_episode, data, judged))
    again = rescored_logs(corpus, load_worth(tmp_path / "p.yaml"))
    assert [each.unit.scores for each in again[0].log.judged] == [each.unit.scores for each in judged]
    found = agreement(again, traced_logs(corpus))
    assert (found.units, found.looks, found.scores, found.off) == (len(judged), len(judged), len(judged), 0.0)
    assert len(judged) == (80 if unit == "frame" else 16)


def test_of_jpeg_the_agreement_is_printed(make_episode: Any, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(POLICY.format(unit="time"))
    data = frames(80)
    store = store_of(
        tmp_path, make_episode, data, on_the_device(tmp_path / "p.yaml", data), JpegConfig().encoding(SPEC)
    )
    sheet = tmp_path / "sheet.png"
    words = ["policy", "replay", str(store), "--policy", str(tmp_path / "p.yaml")]
    run = CliRunner().invoke(app, [*words, "--pixels", "--sheet", str(sheet)])
    assert run.exit_code == 0, run.output
    assert "agreement with what was traced, of 16 units: looks" in run.stdout
    assert "looks 16, scores 16" not in run.stdout
    assert "~" not in run.stdout, "all was encoded"
    assert sheet.read_bytes().startswith(b"\x89PNG")
    assert "as it was" in CliRunner().invoke(app, words).stdout


def test_what_cannot_be_is_one_line(make_episode: Any, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(POLICY.format(unit="time"))
    store = store_of(tmp_path, make_episode, frames(20), on_the_device(tmp_path / "p.yaml", frames(20)))
    for words, says in (
        (["--pixels"], "give a --policy"),
        (["--traces", "--where", "device = 'nobody'"], "no traces for which device = 'nobody'"),
    ):
        run = CliRunner().invoke(app, ["policy", "replay", str(store), *words])
        assert isinstance(run.exception, ConfigError)
        assert says in str(run.exception)
    (tmp_path / "q.yaml").write_text("budget: {share: 0.1}\ngates: {max_nois: 3}\n")
    with pytest.raises(ConfigError, match="max_nois"):
        load_worth(tmp_path / "q.yaml")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("budget:\n  share: 0.1\n  bytes_per_day:\n", "line 3: budget.bytes_per_day: is blank; say how much"),
        ("budget: {share: 0.1}\nunit_s:\n", "line 2: unit_s: is blank"),
        ("device: rig\ntrigger:\n  kind: worth\n  budget: {share: 1, bytes_per_s: }\n", "line 4: trigger.budget.b"),
    ],
)
def test_a_bound_that_is_blank_is_no_bound_unsaid(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "q.yaml").write_text(text)
    with pytest.raises(ConfigError) as refused:
        load_worth(tmp_path / "q.yaml")
    assert f"policy {tmp_path / 'q.yaml'}: {says}" in str(refused.value)
    (tmp_path / "q.yaml").write_text("device:\nuplink: {hours: }\ntrigger: {kind: worth, budget: {share: 1}}\n")
    load_worth(tmp_path / "q.yaml")  # what else a device file leaves blank is none of a policy's


def test_a_policy_of_other_units_is_said_to_decide_of_those_that_were_cut(make_episode: Any, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(POLICY.format(unit="time"))
    (tmp_path / "q.yaml").write_text(POLICY.format(unit="frame"))
    store = store_of(tmp_path, make_episode, frames(20), on_the_device(tmp_path / "p.yaml", frames(20)))
    words = ["policy", "replay", str(store), "--policy", str(tmp_path / "p.yaml"), "--json"]
    run = CliRunner().invoke(app, words)
    assert (run.exit_code, run.stderr) == (0, "")
    for more, says in (([], "with --pixels"), (["--pixels"], "give it first to score")):
        run = CliRunner().invoke(app, [*words, "--policy", str(tmp_path / "q.yaml"), *more])
        assert run.exit_code == 0
        assert run.stderr.count("\n") == 1
        assert "q.yaml: decides of units of" in run.stderr
        assert "where it says a frame" in run.stderr
        assert says in run.stderr
        assert len(json.loads(run.stdout)) == (3 if not more else 2)
