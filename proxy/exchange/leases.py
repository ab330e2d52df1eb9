"""What an exchange has taken, and gives back once, however it ends."""

from __future__ import annotations

from types import TracebackType

from proxy.net.client_limits import Lease


class Leases:
    """What was taken for one exchange: places among those of its client.

    A ``with`` block gives everything back at its end. What lasts longer than the block, as a tunnel does, takes all of
    it with ``pass_on``.
    """

    __slots__ = ("_held",)

    def __init__(self, *held: Lease) -> None:
        self._held = held

    def keep(self, lease: Lease) -> None:
        """Give this back too, at the end."""
        self._held += (lease,)

    def pass_on(self) -> Leases:
        """Return all that there is, for a new owner; this one has nothing to give back any more."""
        held, self._held = self._held, ()
        return Leases(*held)

    def release(self) -> None:
        """Give everything back. Safe to call again: then it does nothing."""
        held, self._held = self._held, ()
        for lease in held:
            lease.release()

    def __enter__(self) -> Leases:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()
