"""An approval: what a person signs so that a device may carry out one plan, which it would else refuse.

It is of one proposal, one device, and the very plan (by its digest): of another it says nothing.
"""

from typing import Annotated

import msgspec

from sensorium.link.operators import OperatorPair, is_signed

_PURPOSE = b"sensorium approval 1\0"
_KEY = Annotated[bytes, msgspec.Meta(max_length=64)]


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """Whose key signed, and that signature."""

    operator: _KEY
    signature: _KEY


def approval_of(pair: OperatorPair, *, proposal: str, digest: str, device: str) -> Approval:
    """Approve, in the name of `pair`, the plan of a proposal (`AskedPlan.digest`) for one device."""
    signature = pair.sign(_said(proposal, digest, device), purpose=_PURPOSE)
    return Approval(operator=pair.operator.public, signature=signature)


def is_approved(approval: Approval, *, proposal: str, digest: str, device: str) -> bool:
    """Whether the operator that it names has signed this very plan; whether they may is for others to say."""
    return is_signed(_said(proposal, digest, device), approval.signature, approval.operator, purpose=_PURPOSE)


def _said(proposal: str, digest: str, device: str) -> bytes:
    return msgspec.json.encode([proposal, digest, device])
