"""The time for which a call holds the event loop: a tenant pays for the work that everybody waits for."""

import time
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from typing import Any, Generic, TypeVar

_T = TypeVar("_T")


class Metered(Generic[_T]):
    """Awaits `call`, and tells `count` the processor time of each of its steps on the event loop, in seconds."""

    def __init__(self, call: Coroutine[Any, Any, _T], count: Callable[[float], None]) -> None:
        self._call = call
        self._count = count

    def __await__(self) -> Generator[Any, Any, _T]:
        steps = self._call.__await__()
        step: Callable[[], Any] = partial(steps.send, None)
        while True:
            began = time.thread_time()
            try:
                awaited = step()
            except StopIteration as ended:
                value: _T = ended.value
                return value
            finally:
                self._count(time.thread_time() - began)
            try:
                step = partial(steps.send, (yield awaited))
            except BaseException as thrown:  # a cancellation, most likely
                step = partial(steps.throw, thrown)
