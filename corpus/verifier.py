"""The verifier contract: a versioned, deterministic function over one episode, simulated or real, and its verdict."""

import hashlib
import importlib
import importlib.util
import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

import msgspec
import numpy as np
from msgspec.structs import force_setattr

from sensorium.corpus.episode import Episode
from sensorium.drivers.registry import kinds, nearest
from sensorium.errors import ConfigError
from sensorium.patience import IMPORT_S, within
from sensorium.threads import reason

GROUP = "sensorium.verifiers"
MAX_EXPLANATION = 2000


class Verdict(msgspec.Struct, frozen=True):
    """What a verifier says of an episode. `passed` None is *unknown*: what it takes to tell is not there.

    `score` is a finite number of which more is better; `components` are numbers by name, only those that are known.
    `explanation` tells a person why, in up to 2,000 letters. What numpy gave is kept as plain numbers and truths.

    Raises:
        ValueError: a number is not finite, a name has a double quote or is empty, or nothing is explained.
    """

    score: float
    passed: bool | None
    components: Mapping[str, float]
    explanation: str

    def __post_init__(self) -> None:
        force_setattr(self, "score", _plain(self.score))
        force_setattr(self, "passed", _plain(self.passed))
        force_setattr(self, "components", {name: _plain(value) for name, value in self.components.items()})
        for name, value in {"the score": self.score, **self.components}.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise ValueError(f"a verdict: {name} is {value!r}, expected a finite number")
        if self.passed is not None and not isinstance(self.passed, bool):
            raise ValueError(f"a verdict: passed is {self.passed!r}, expected True, False or None (unknown)")
        if any(not isinstance(name, str) or not name or '"' in name for name in self.components):
            raise ValueError(
                f"a verdict: components {sorted(map(str, self.components))}: expected names without quotes"
            )
        if not isinstance(self.explanation, str) or not 0 < len(self.explanation) <= MAX_EXPLANATION:
            raise ValueError(f"a verdict needs an explanation of up to {MAX_EXPLANATION} letters")

    @classmethod
    def unknown(cls, why: str, components: Mapping[str, float] | None = None) -> Self:
        """It cannot be told, and why."""
        return cls(0.0, None, components or {}, why)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


class Verifier(ABC):
    """Judges episodes. It is made without arguments, keeps nothing from one to the next, reads the episode and nothing
    else, and writes nothing: the same code gives the same verdict of the same episode, in any process.

    `name` is what conditions call it; `version` changes when it is meant to judge otherwise. Whatever changes in the
    source of its module, or of the modules that it `depends` on, makes its verdicts those of other code.
    """

    name: ClassVar[str]
    version: ClassVar[str]
    depends: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def verify(self, episode: Episode) -> Verdict:
        """Judge one episode. Where what it needs is absent the verdict is unknown, and never a guess."""


def code_of(verifier: Verifier) -> str:
    """16 hex digits: a digest of the source of a verifier's module and of those that it depends on.

    Raises:
        ConfigError: one of them is not there, or has no source.
    """
    return digest_of((type(verifier).__module__, *verifier.depends), f"verifier {verifier.name!r}")


def verifier_within(name: str, most_s: float, larger: str) -> tuple[Verifier, str]:
    """`verifier_of` and `code_of`, where neither need end: modules of somebody's own are imported. They have `most_s`,
    and a minute at least; what is to be `larger` otherwise is said.

    Raises:
        ConfigError: as there; or it is not there in time.
    """
    most_s = max(IMPORT_S, most_s)
    try:
        return within(most_s, partial(_with_code, name))
    except TimeoutError as error:
        raise ConfigError(
            f"verifier {name!r}: was not imported and made within {most_s:g} s; see to what its module does when it is"
            f" imported, or give a larger `{larger}`"
        ) from error


def _with_code(name: str) -> tuple[Verifier, str]:
    verifier = verifier_of(name)
    return verifier, code_of(verifier)


def digest_of(modules: Iterable[str], of: str) -> str:
    """16 hex digits: a digest of the source of modules, which are the code of what errors call `of`.

    Raises:
        ConfigError: one of them is not there, or has no source.
    """
    digest = hashlib.blake2b(digest_size=8)
    for name in dict.fromkeys(modules):
        try:
            module = importlib.import_module(name)
            source = Path(inspect.getsourcefile(module) or "").read_bytes()
        except (ImportError, TypeError, OSError) as error:
            raise ConfigError(
                f"{of}: the source of {name} cannot be read ({error}); what it depends on are modules with a source"
            ) from error
        digest.update(b"%s\0%d\0%s" % (name.encode(), len(source), source))
    return digest.hexdigest()


def verifier_of(name: str) -> Verifier:
    """The verifier that is registered under a name, or the class at `module:Class`.

    Raises:
        ConfigError: there is none (the nearest is suggested), or it cannot be imported or made.
    """
    known = kinds(GROUP)
    try:
        if name in known:
            found = known[name].load()
        elif ":" in name:
            module, _, attribute = name.partition(":")
            found = getattr(importlib.import_module(module), attribute)
        else:
            raise ConfigError(
                f"unknown verifier {name!r}{nearest(name, known)} (installed: {', '.join(sorted(known))}; or give"
                " module:Class)"
            )
    except (ConfigError, KeyboardInterrupt):
        raise
    except BaseException as error:  # importing runs what its author wrote; it may even exit
        raise ConfigError(f"verifier {name!r}: cannot be imported: {reason(error)}; see to its module") from error
    if not (isinstance(found, type) and issubclass(found, Verifier)):
        raise ConfigError(f"verifier {name!r}: {found!r} is not a Verifier; tell its author")
    try:
        made = found()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise ConfigError(f"verifier {name!r}: cannot be made: {reason(error)}; tell its author") from error
    for field in ("name", "version"):
        if not isinstance(said := getattr(made, field, None), str) or not said:
            raise ConfigError(f"verifier {name!r}: its {field} is {said!r}, expected a text; tell its author")
    return made
