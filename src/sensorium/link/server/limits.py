"""What bounds the server of the link, whatever its peers do."""

from dataclasses import dataclass

from sensorium.link import wire


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bytes, counts and seconds.

    An episode is begun where there is room for all that it says to be, or, where its end is not known yet, for
    `growing_reserve_bytes`; what is kept for it is what came. `..._of_key` bound what one key has in all its sessions:
    `noted` are ordinals, and streams of which totals are told, each as much work as four. `large` are bytes of messages
    on control that are longer than `large_bytes`: they are not decoded beyond that, for decoding is the work.
    """

    pool_bytes: int = 256 << 20
    sessions: int = 1024
    sessions_of_device: int = 64
    hellos_of_key: int = 128
    hellos_of_key_a_second: int = 8
    large_bytes: int = 1 << 10
    large_of_key: int = 2 << 20
    large_of_key_a_second: int = 512 << 10
    notes_of_key: int = 16
    noted_of_key: int = 20_000
    noted_of_key_a_second: int = 1_000
    offers: int = wire.MAX_OFFERS
    open_per_session: int = 8
    open_transfers: int = 256
    open_of_key: int = 64
    staged_bytes: int = 64 << 30
    growing_reserve_bytes: int = 256 << 20
    episode_bytes: int = 64 << 30
    silent_s: float = 30.0
    stall_s: float = 30.0
    staging_s: float = 900.0
    retry_s: float = 5.0
    placeless_s: float = 1.0
