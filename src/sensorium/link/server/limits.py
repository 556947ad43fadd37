"""What bounds the server of the link, whatever its peers do."""

from dataclasses import dataclass

from sensorium.link import wire


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bytes, counts and seconds. `growing_reserve_bytes` are set aside for an episode whose end is not known yet."""

    pool_bytes: int = 256 << 20
    sessions: int = 1024
    sessions_of_device: int = 64
    offers: int = wire.MAX_OFFERS
    open_per_session: int = 8
    open_transfers: int = 256
    staged_bytes: int = 64 << 30
    growing_reserve_bytes: int = 256 << 20
    episode_bytes: int = 64 << 30
    silent_s: float = 30.0
    stall_s: float = 30.0
    staging_s: float = 900.0
    retry_s: float = 5.0
