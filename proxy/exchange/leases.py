"""What an exchange has acquired, and releases once, however it ends."""

from __future__ import annotations

from types import TracebackType

from proxy.net.client_limits import Lease


class Leases:
    """What was acquired for one exchange: slots among those of its client.

    A ``with`` block releases everything at its end. What lasts longer than the block, as a tunnel does, takes all of
    it with ``pass_on``.
    """

    __slots__ = ("_held",)

    def __init__(self, *held: Lease) -> None:
        self._held = held

    def keep(self, lease: Lease) -> None:
        """Release this too, at the end."""
        self._held += (lease,)

    def pass_on(self) -> Leases:
        """Return all that there is, for a new owner; this one has nothing to release any more."""
        held, self._held = self._held, ()
        return Leases(*held)

    def release(self) -> None:
        """Release everything. Safe to call again: then it does nothing."""
        held, self._held = self._held, ()
        for lease in held:
            lease.release()

    def __enter__(self) -> Leases:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()
