"""Lists whose items are read at the first look: most rules of a large firewall do not concern a flow."""

from collections.abc import Callable, Sequence
from typing import TypeVar, overload

T = TypeVar("T")


class Lazy(Sequence[T]):
    """Items that `read` makes, all at once, when the first one is asked for. length: how many there will be."""

    def __init__(self, length: int, read: Callable[[], tuple[T, ...]]) -> None:
        self._length, self._read = length, read
        self._items: tuple[T, ...] | None = None

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...

    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        if self._items is None:
            self._items = self._read()
        return self._items[index]
