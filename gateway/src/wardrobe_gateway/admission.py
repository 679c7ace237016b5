"""How much of a router or an agent is in use, and by whom: nobody's requests take all of it."""

from collections import Counter

from .errors import RETRY_LATER, ApiError

MAX_REQUESTS = 512
"""Under way at once in one process; a department alone may have half of them."""
MAX_BYTES = 32 * 1024 * 1024
"""Of bodies under way at once in one router. Each is in memory up to three times (read, for the engine, being sent),
and the smallest limit in the examples is 256 MiB."""


class Pool:
    """So much of something. Each may hold as much as it leaves: one alone half, two in balance a third each.

    No share is set aside for those who do not ask, and who asks for little finds it beside several that ask for all.
    """

    def __init__(self, size: int) -> None:
        self._free = size
        self._used: Counter[str] = Counter()

    def take(self, who: str, amount: int) -> bool:
        """Hold so much more, if that may be."""
        if self._used[who] + amount > self._free - amount:
            return False
        self._free -= amount
        self._used[who] += amount
        return True

    def give_back(self, who: str, amount: int) -> None:
        """Hold so much less."""
        self._free += amount
        self._used[who] -= amount
        if not self._used[who]:
            del self._used[who]


class Place:
    """One request's, while the block runs."""

    def __init__(self, requests: Pool, size: Pool, department: str) -> None:
        self._requests = requests
        self._bytes = size
        self._department = department
        self.size = 0
        """Bytes that it holds."""

    def charge(self, size: int) -> None:
        """Hold so many bytes more. Raises ApiError."""
        if size and not self._bytes.take(self._department, size):
            raise _busy("requests under way are too large together")
        self.size += size

    def __enter__(self) -> "Place":
        if not self._requests.take(self._department, 1):
            raise _busy("too many requests are under way")
        return self

    def __exit__(self, *_: object) -> None:
        self._requests.give_back(self._department, 1)
        self._bytes.give_back(self._department, self.size)


class Admission:
    """Lets requests in."""

    def __init__(self, requests: int = MAX_REQUESTS, size: int = MAX_BYTES) -> None:
        self._requests = Pool(requests)
        self._bytes = Pool(size)

    def request(self, department: str) -> Place:
        """Around a request, its body included. Raises ApiError where there is no place for it now."""
        return Place(self._requests, self._bytes, department)


def _busy(what: str) -> ApiError:
    return ApiError(429, "busy", f"{what}; wait for answers before asking more", headers=RETRY_LATER)
