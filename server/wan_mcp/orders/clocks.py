"""How far the service's clock is from ours, by its `Date` headers."""


class ServiceClocks:
    """The last known difference for each region, in seconds to add to our clock; good to about a second."""

    def __init__(self) -> None:
        self._offsets: dict[str, float] = {}

    def learn(self, region: str, served_at: float | None, now: float) -> None:
        """Take a `Date` header that was read just now."""
        if served_at is not None:
            # The header counts whole seconds: half a second is the best guess of what it cut off.
            self._offsets[region] = served_at + 0.5 - now

    def offset(self, region: str) -> float | None:
        """Give the difference, or None where nothing has been learned."""
        return self._offsets.get(region)
