"""Who is let into a full engine next: a fair queue of departments. Pure but for what it keeps."""

from collections import Counter, deque
from typing import Generic, TypeVar

T = TypeVar("T")

SHARE = 3
"""A department takes at most so many times what it leaves free: three quarters where it is alone. So whoever comes next
finds a place at once, and two that ask for everything hold three sevenths each."""


class FairQueue(Generic[T]):
    """Places, who holds them, and who waits."""

    def __init__(self, places: int, most_waiting: int) -> None:
        self._places = places
        self._most_waiting = most_waiting
        self.inside: Counter[str] = Counter()
        self.waiting: dict[str, deque[T]] = {}
        """By department. Whose turn is longest ago comes first."""

    def join(self, department: str, one: T) -> bool:
        """Wait for a turn; False where as many of the department wait as may."""
        queue = self.waiting.setdefault(department, deque())
        if len(queue) >= self._most_waiting:
            return False
        queue.append(one)
        return True

    def withdraw(self, department: str, one: T) -> None:
        """Wait no longer."""
        queue = self.waiting[department]
        queue.remove(one)
        if not queue:
            del self.waiting[department]

    def release(self, department: str) -> None:
        """Give a place back."""
        self.inside[department] -= 1
        if not self.inside[department]:
            del self.inside[department]

    def admit(self) -> list[T]:
        """Those who go in now."""
        admitted = []
        while (department := self._next()) is not None:
            queue = self.waiting.pop(department)
            admitted.append(queue.popleft())
            if queue:
                self.waiting[department] = queue  # behind all others
            self.inside[department] += 1
        return admitted

    def _next(self) -> str | None:
        """Whoever holds the fewest places; among those, whose turn is longest ago."""
        free = self._places - self.inside.total()
        may = [department for department in self.waiting if self.inside[department] < SHARE * free]
        return min(may, key=self.inside.__getitem__, default=None)
