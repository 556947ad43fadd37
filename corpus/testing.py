"""The conformance suite of the verifier contract, for whoever brings one.

    class TestMyVerifier(VerifierTests):
        def verifier(self):
            return MyVerifier()

        def store(self):
            return Path("a store with some episodes that it can judge")

Needs pytest.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from sensorium.corpus.corpus import open_store
from sensorium.corpus.episode import Episode
from sensorium.corpus.stream import Stream
from sensorium.corpus.verdicts import judged_apart
from sensorium.corpus.verifier import Verdict, Verifier, code_of


class VerifierTests:
    """Tests of any verifier. Whether it is right is its author's to show."""

    def verifier(self) -> Verifier:
        """The verifier to test, made anew."""
        raise NotImplementedError(f"{type(self).__name__} must override verifier()")

    def store(self) -> Path:
        """A store with some episodes, of which it can judge at least one."""
        raise NotImplementedError(f"{type(self).__name__} must override store()")

    def test_it_says_which_it_is(self) -> None:
        verifier, again = self.verifier(), type(self.verifier())()
        for name in ("name", "version"):
            said = getattr(verifier, name)
            assert isinstance(said, str), name
            assert said, f"{name} is empty"
            assert said == getattr(again, name)
        assert re.fullmatch("[0-9a-f]{16}", code_of(verifier))
        assert code_of(verifier) == code_of(again)

    def test_it_can_judge(self) -> None:
        """At least one episode of the store; every verdict is JSON, and explained."""
        verdicts = self._verdicts()
        assert verdicts, "the store has no episodes"
        for verdict in verdicts.values():
            assert isinstance(verdict, Verdict)
            assert msgspec.json.decode(msgspec.json.encode(verdict), type=Verdict) == verdict
            assert verdict.explanation.strip()
        assert any(verdict.passed is not None for verdict in verdicts.values()), "it knows nothing of any"

    def test_the_same_of_the_same(self) -> None:
        """Judged twice, by another one, and in the other order: it keeps nothing of what it saw before."""
        verdicts = self._verdicts()
        verifier = self.verifier()
        backwards = {episode.id: verifier.verify(episode) for episode in reversed(self._episodes())}
        assert backwards == verdicts
        assert {episode.id: verifier.verify(episode) for episode in self._episodes()} == verdicts

    def test_the_same_in_another_process(self) -> None:
        kind = type(self.verifier())
        name = f"{kind.__module__}:{kind.__qualname__}"
        apart = {each: (verdict, why) for each, verdict, why in judged_apart(self.store(), name, self._verdicts())}
        assert apart == {episode: (verdict, None) for episode, verdict in self._verdicts().items()}

    def test_it_writes_nothing(self) -> None:
        before = _files(self.store())
        self._verdicts()
        assert _files(self.store()) == before

    def test_it_says_unknown_where_there_are_no_streams(self) -> None:
        for episode in self._episodes():
            verdict = self.verifier().verify(_Without(episode, set(episode.streams)))
            assert verdict.passed is None, f"of nothing at all it says {verdict}"
            assert verdict.explanation.strip()

    def test_it_bears_that_a_stream_is_absent(self) -> None:
        """A verdict of what is left, or unknown; no error."""
        for episode in self._episodes():
            for name in episode.streams:
                assert isinstance(self.verifier().verify(_Without(episode, {name})), Verdict), name

    def _episodes(self) -> list[Episode]:
        return open_store(self.store()).query(limit=3)

    def _verdicts(self) -> dict[str, Verdict]:
        verifier = self.verifier()
        return {episode.id: verifier.verify(episode) for episode in self._episodes()}


class _Without(Episode):
    """An episode in which some streams are not there."""

    def __init__(self, episode: Episode, absent: set[str]) -> None:
        self.__dict__.update(episode.reopened().__dict__)
        self._absent = absent

    @property
    def streams(self) -> Mapping[str, Stream]:
        return {name: stream for name, stream in Episode.streams.__get__(self).items() if name not in self._absent}


def _files(store: Path) -> dict[Path, tuple[int, int]]:
    """All files of a store but the catalog's, which reading may touch: size and when each was changed."""
    paths = [path for path in store.rglob("*") if path.is_file() and not path.name.startswith("catalog.sqlite")]
    assert paths, "no files"
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in paths}
