"""What was set aside is sent again as it was, carried off, or deleted; its samples are counted once all the while."""

from pathlib import Path
from uuid import UUID

import pytest

from sensorium.agents.spool.aside import open_aside
from sensorium.agents.spool.ledger import Ledger
from sensorium.agents.spool.spool import Spool
from sensorium.episode.documents import Account
from sensorium.errors import ConfigError, SpoolError
from tests.agents.building import begin, chunk, commit


def rejected(path: Path, n: int = 1) -> list[UUID]:
    spool, episodes = Spool(path, "rig"), []
    for _ in range(n):
        episode, file = begin(spool)
        file.append(*chunk(0))
        file.append(*chunk(1))
        file.seal("complete", {"imu": 2}, {"imu": Account(captured=2, stored=2)}, {}, 10**9)
        spool.flush()
        spool.rejected(episode, "conflict", "said the server")
        episodes.append(episode)
    spool.close()
    return episodes


@pytest.mark.parametrize("ledgered", [False, True])
def test_retry_makes_it_wait_as_it_was(tmp_path: Path, ledgered: bool) -> None:
    (episode,) = rejected(tmp_path)
    before = (tmp_path / "rejected" / f"{episode}.episode").read_bytes()
    if ledgered:
        spool = Spool(tmp_path, "rig")
        spool.ledgered([0])
        spool.close()
    with open_aside(tmp_path) as aside:
        (each,) = aside.chosen([])
        assert (each.episode, each.ordinal, each.bytes) == (episode, 0, len(before))
        assert each.why == "rejected (conflict): said the server"
        assert aside.retry(each) == "waits for delivery again"
        assert aside.chosen([]) == []
    assert not list((tmp_path / "rejected").iterdir())
    spool = Spool(tmp_path, "rig")
    (waiting,) = spool.waiting()
    assert (waiting.episode, waiting.ordinal, waiting.sealed, waiting.recoveries) == (episode, 0, True, 0)
    assert spool.read(episode, 0, 1 << 20) == before
    assert spool.discards() == []
    assert spool.between_totals().streams["imu"].captured == 0
    assert spool.between() == {}
    assert commit(spool, episode)
    assert spool.counts() == {"pending": 0, "committed": 1, "discarded": 0}
    spool.close()


def test_a_retry_that_is_rejected_again_is_counted_once(tmp_path: Path) -> None:
    (episode,) = rejected(tmp_path)
    for _ in range(2):
        with open_aside(tmp_path) as aside:
            aside.retry(*aside.chosen([str(episode)[:13]]))
        spool = Spool(tmp_path, "rig")
        spool.rejected(episode, "conflict", "again")
        assert spool.between_totals().streams["imu"] == Account(captured=2, lost={"rejected": 2})
        assert spool.discards() == [("rejected (conflict): again", [0])]
        spool.close()


def test_a_retry_that_ends_half_way_is_set_aside_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (episode,) = rejected(tmp_path)

    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "pend", cut)
        with pytest.raises(KeyboardInterrupt), open_aside(tmp_path) as aside:
            aside.retry(*aside.chosen([]))
    assert list((tmp_path / "episodes").iterdir())
    spool = Spool(tmp_path, "rig")
    assert spool.waiting() == []
    spool.close()
    assert (tmp_path / "rejected" / f"{episode}.episode").exists()


def test_what_grew_in_a_copy_can_be_sent_where_there_is_no_original(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "rig", hardware={"board serial": ["1"]})
    episode, file = begin(spool)
    file.append(*chunk(0))
    spool.flush()
    former = spool.spool_id
    spool.close()
    Spool(tmp_path, "rig", hardware={"board serial": ["2"]}).close()
    with open_aside(tmp_path) as aside:
        aside.retry(*aside.chosen([]))
    spool = Spool(tmp_path, "rig", hardware={"board serial": ["2"]})
    (waiting,) = spool.waiting(of=former)
    assert (waiting.episode, waiting.sealed, waiting.ordinal) == (episode, True, 0)
    assert spool.between_totals().streams["imu"].captured == 0, "its samples are in it, and not lost"
    spool.close()


def test_export_copies_and_changes_nothing(tmp_path: Path) -> None:
    episodes = rejected(tmp_path / "spool", 2)
    with open_aside(tmp_path / "spool") as aside:
        each = aside.chosen([str(episodes[1])])[0]
        aside.export(each, tmp_path / "out")
        assert (tmp_path / "out" / f"{episodes[1]}.episode").read_bytes() == each.file.read_bytes()
        assert "said the server" in (tmp_path / "out" / f"{episodes[1]}.why").read_text()
        with pytest.raises(SpoolError, match="is there already; name another folder"):
            aside.export(each, tmp_path / "out")
        assert len(aside.chosen([])) == 2


def test_discard_deletes_for_good_and_keeps_the_reason(tmp_path: Path) -> None:
    episodes = rejected(tmp_path, 2)
    with open_aside(tmp_path) as aside:
        assert aside.discard(aside.chosen([str(episodes[0])])[0]) == "deleted"
        assert [each.episode for each in aside.chosen([])] == [episodes[1]]
    assert {file.stem for file in (tmp_path / "rejected").iterdir()} == {str(episodes[1])}
    spool = Spool(tmp_path, "rig")
    assert spool.discards() == [("rejected (conflict): said the server", [0, 1])]
    assert spool.between_totals().streams["imu"].lost == {"rejected": 4}
    spool.close()


def test_what_is_named_must_be_there_once(tmp_path: Path) -> None:
    rejected(tmp_path, 2)
    with open_aside(tmp_path) as aside:
        with pytest.raises(ConfigError, match=r"no episode that was set aside in .* begins with 'zz'"):
            aside.chosen(["zz"])
        with pytest.raises(ConfigError, match="2 episodes"):
            aside.chosen([""])


def test_not_while_an_agent_is_using_it(spool: Spool) -> None:
    with pytest.raises(SpoolError, match="another agent is using it"), open_aside(spool.path):
        pass


def test_not_where_there_is_no_spool(tmp_path: Path) -> None:
    with pytest.raises(SpoolError, match="no spool here"), open_aside(tmp_path / "none"):
        pass
    assert not (tmp_path / "none").exists()
