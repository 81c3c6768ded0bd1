"""What mypy makes of accumulated values; nothing here is run."""

from collections import deque
from collections.abc import Generator, Iterator
from typing import assert_type

from cooperative_aio import (
    Batches,
    Cooperator,
    ValueBucket,
    accumulate,
    accumulation_handler,
    batch_accumulate,
    batches,
)


def numbers() -> Iterator[int]:
    yield 1


def some_of_them() -> Generator[str | None]:
    yield None


async def a_deque_has_the_values_but_none() -> None:
    assert_type(await accumulate(numbers()), deque[int])
    assert_type(await accumulate(some_of_them()), deque[str])
    assert_type(await accumulate([1.5, None]), deque[float])
    assert_type(await accumulate(numbers(), Cooperator(), name="named", weight=2), deque[int])
    assert_type(await batch_accumulate(1000, numbers()), deque[int])
    assert_type(await batch_accumulate(1000, some_of_them(), Cooperator()), deque[str])


async def batches_are_lists_of_the_values_but_none() -> None:
    assert_type(batches(10, numbers(), max_seconds=0.5), Batches[int])
    async with batches(10, some_of_them()) as stream:
        assert_type(stream, Batches[str])
        async for batch in stream:
            assert_type(batch, list[str])
        assert_type(await anext(stream), list[str])


def a_bucket_is_generic() -> None:
    bucket = ValueBucket[int]()
    bucket(1)
    bucket(None)
    bucket("one")  # type: ignore[arg-type]
    assert_type(bucket.contents(), deque[int])
    assert_type(bucket.drain_contents(), deque[int])
    assert_type(accumulation_handler(numbers(), bucket), deque[int])


async def what_does_not_fit() -> None:
    await accumulate(1)  # type: ignore[arg-type]
    await batch_accumulate("1000", numbers())  # type: ignore[arg-type]
    await batch_accumulate(numbers())  # type: ignore[call-arg, arg-type]
