"""An event loop whose time passes at once, for code that waits for no file, thread or process."""

import asyncio
import selectors


class QuickLoop(asyncio.SelectorEventLoop):
    """Goes on to the next timer wherever nothing else is to be done."""

    def __init__(self):
        self._clock = _Clock()
        super().__init__(self._clock)

    def time(self):
        return self._clock.now

    def is_idle(self):
        """Whether nothing is left to run before time passes."""
        return not self._ready and not (self._scheduled and self._scheduled[0].when() <= self._clock.now)


class _Clock(selectors.SelectSelector):
    """Selects nothing, and takes the time it was given for it."""

    now = 0.0

    def select(self, timeout=None):
        assert timeout is not None, "everything waits, and nothing can come"
        self.now += max(timeout, 0.0)
        return []
