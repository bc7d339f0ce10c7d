"""The two processes that a sweep's workers are forked from, started as early as may be: imports are what takes time.

One compiles and has loaded Triton, the other measures and has loaded torch as well: neither waits for the other's.
"""

from __future__ import annotations

from types import TracebackType

from ssdprof.profiling.fork_server import ForkServer

WORKER_ENV = {"TRITON_INTERPRET": None}
"""Laid over the environment of every worker: kernels are compiled, whatever the caller does."""
_COMPILE_WARM_UP = "ssdprof.profiling.compiler:warm_up"
_MEASURE_WARM_UP = "ssdprof.profiling.measure:warm_up"


class Servers:
    """Both servers; `compiling` begins at once, `measuring` with `start_measuring`."""

    def __init__(self) -> None:
        self.compiling = ForkServer(WORKER_ENV)
        self.compiling.preload(_COMPILE_WARM_UP)
        self._measuring: ForkServer | None = None

    def start_measuring(self) -> ForkServer:
        """The server whose workers measure; begins with the first call."""
        if self._measuring is None:
            self._measuring = ForkServer(WORKER_ENV)
            self._measuring.preload(_MEASURE_WARM_UP)
        return self._measuring

    def close(self) -> None:
        """Ends both and all their workers, side by side."""
        servers = [self.compiling, *([self._measuring] if self._measuring else [])]
        for server in servers:
            server.hang_up()
        for server in servers:
            server.close()

    def __enter__(self) -> Servers:
        """To be closed at the end."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends them."""
        self.close()
