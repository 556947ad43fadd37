"""How far a loader is: the epoch, the position in it that all ranks have reached, and what could not be read."""

from collections import deque

from sensorium.corpus.loaders.batch import Batch, Skipped

TOLD = 100


class LoaderProgress:
    """Where the next batch begins. `skipped` counts windows, of which the `last` ones are told."""

    def __init__(self, epoch: int = 0, position: int = 0, skipped: int = 0) -> None:
        self.epoch, self.position, self.skipped = epoch, position, skipped
        self.last: deque[Skipped] = deque(maxlen=TOLD)

    def moved(self, batch: Batch) -> None:
        """A batch was handed out."""
        self.tell(batch.after, batch.skipped)

    def tell(self, after: int, skipped: tuple[Skipped, ...]) -> None:
        """The epoch is at `after`, and these could not be read."""
        self.position = after
        self.skipped += len(skipped)
        self.last.extend(skipped)

    def ended(self) -> None:
        """The epoch is over."""
        self.epoch, self.position = self.epoch + 1, 0
