"""The rules of a device: whom it obeys in what, and its charter, read from its files."""

from sensorium.agents.charter import Charter, ObeyPart, read_charter
from sensorium.agents.device_file import DeviceFile
from sensorium.errors import ConfigError
from sensorium.link.directive import KINDS, DirectiveDocument
from sensorium.link.operators import read_operator


class Rules:
    """Whom a device obeys in what, and its charter, as its files say.

    Raises:
        ConfigError: a file that it names cannot be read.
    """

    def __init__(self, device: DeviceFile) -> None:
        self.operators: dict[bytes, ObeyPart] = {}
        for part in device.obey:
            operator = read_operator(device.at(part.operator))
            if operator.public in self.operators:
                raise ConfigError(f"obey: {part.operator}: this operator is named already; put what they may in one")
            self.operators[operator.public] = part
        self.charter = Charter() if device.charter is None else read_charter(device.at(device.charter))
        self.approvers = frozenset(read_operator(path).public for path in self.charter.plans.approvers)
        """The keys of who may approve plans."""

    def against(self, document: DirectiveDocument, operator: ObeyPart | None) -> str:
        """Which rule is against a directive, whatever it says; empty: none."""
        if operator is None:
            return "obey: this device does not obey its operator any more"
        if document.kind not in KINDS:
            return f"kind {document.kind!r} is not known to this version ({', '.join(KINDS)} are)"
        if document.kind == "settings":
            return self.charter.refuses_kind(document.kind)
        return operator.allows(document.kind, {}) or self.charter.refuses_kind(document.kind)
