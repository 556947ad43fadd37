"""The filter contract: a pure step over the blocks of one stream."""

from collections.abc import Collection
from typing import ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from sensorium.drivers.stream import Block, StreamSpec
from sensorium.episode.documents import Redaction

FilterState = TypeVar("FilterState")


class FilterConfig(BaseModel, Generic[FilterState]):
    """What stands under `filters:` in a device file; a filter's own model adds its parameters and its step.

    A filter passes, changes, annotates (`Block.scores`) or drops samples, one stream at a time. It holds no state:
    `step(state, block)` returns the next state and what is left of the block (None: nothing); what it returns must not
    depend on how the samples were cut into blocks. The state is a frozen type of the filter's own, or None: the one in
    `FilterConfig[...]`. A block may be empty and report a loss alone, and may hold encoded items: `block.data` and
    `block.pixels` decode them. The chain counts what was dropped under `kind` (`counted_as`), and hands on
    `lost_before` where nothing is left. With `into` the filter leaves its stream alone, and what it makes becomes a
    derived stream of that name, with the losses that its blocks state.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    redacts: ClassVar[bool] = False
    """Whether it takes out of samples what nobody may see. It then stands before all that looks at them: other filters,
    snapshots, triggers; and `redaction` says what it did."""
    looks: ClassVar[bool] = True
    """Whether what it does depends on samples, and not on their stamps alone."""

    annotates: ClassVar[tuple[str, ...] | None] = None
    """The names of all scores that `step` may set, so that one which is misspelt in a condition is refused when the
    file is opened; None where nobody can say."""

    kind: str
    into: str | None = None

    @property
    def counted_as(self) -> str:
        """By what name an account counts what it dropped."""
        return self.kind

    def output(self, spec: StreamSpec) -> StreamSpec:
        """The spec of what `step` returns, given the spec of what it is fed.

        Raises:
            ConfigError: this filter cannot work on such a stream.
        """
        return spec

    def start(self, spec: StreamSpec) -> FilterState:
        """The state before the first block."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it starts with")

    def scores_of(self, spec: StreamSpec) -> Collection[str] | None:
        """What it `annotates` of such a stream."""
        del spec
        return self.annotates

    def redaction(self, state: FilterState) -> Redaction | None:
        """What every episode says of what it took out of the stream, if it `redacts`."""
        del state
        return None

    def step(self, state: FilterState, block: Block) -> tuple[FilterState, Block | None]:
        """The next state, and what is left of `block`. Neither is changed."""
        raise NotImplementedError(f"{type(self).__name__} has no step")
