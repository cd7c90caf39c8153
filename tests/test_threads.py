"""The long-lived threads: who waits for the same shares a call."""

import asyncio
import threading
from typing import Any

import pytest

from ovauth.threads import MOST_TOGETHER, Threads


class Busy:
    """One thread, kept busy until everybody has asked."""

    def __init__(self) -> None:
        self.threads = Threads(1, "test")
        self.held = threading.Event()
        self.groups: list[list[int]] = []

    async def hold(self) -> "asyncio.Task[Any]":
        holding = asyncio.create_task(self.threads.run(self.held.wait, 10))
        await asyncio.sleep(0)
        return holding

    def doubled(self, numbers: list[int]) -> list[int]:
        self.groups.append(numbers)
        return [2 * number for number in numbers]


def test_calls_that_wait_at_the_same_time_are_one() -> None:
    async def main() -> None:
        busy = Busy()
        holding = await busy.hold()
        asked = [asyncio.create_task(busy.threads.run_together(busy.doubled, number)) for number in range(5)]
        await asyncio.sleep(0)
        busy.held.set()
        assert await asyncio.gather(*asked) == [0, 2, 4, 6, 8]
        await holding
        assert busy.groups == [[0, 1, 2, 3, 4]]

    asyncio.run(main())


def test_no_call_grows_beyond_a_bound_and_nothing_overtakes() -> None:
    async def main() -> None:
        busy = Busy()
        order: list[str] = []
        holding = await busy.hold()
        asked = [asyncio.create_task(busy.threads.run_together(busy.doubled, n)) for n in range(MOST_TOGETHER + 1)]
        alone = asyncio.create_task(busy.threads.run(lambda: order.append(f"after {len(busy.groups)}")))
        last = asyncio.create_task(busy.threads.run_together(busy.doubled, 99))
        await asyncio.sleep(0)
        busy.held.set()
        await asyncio.gather(holding, *asked, alone, last)
        assert [len(group) for group in busy.groups] == [MOST_TOGETHER, 1, 1]
        assert order == ["after 2"]

    asyncio.run(main())


def test_what_a_shared_call_raises_reaches_everybody() -> None:
    async def main() -> None:
        busy = Busy()

        def fails(numbers: list[int]) -> list[int]:
            raise ValueError(len(numbers))

        holding = await busy.hold()
        asked = [asyncio.create_task(busy.threads.run_together(fails, number)) for number in range(2)]
        await asyncio.sleep(0)
        busy.held.set()
        results = await asyncio.gather(*asked, return_exceptions=True)
        await holding
        assert [repr(result) for result in results] == ["ValueError(2)"] * 2
        with pytest.raises(ValueError, match="1"):
            await busy.threads.run_together(fails, 1)

    asyncio.run(main())
