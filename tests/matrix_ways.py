"""Ways to await, group, time out and shield: what is done with what is awaited."""

import asyncio

HALF = 0.5  # of the second for which bodies wait at first
WAYS = {}


def way(function):
    WAYS[function.__name__] = function
    return function


# To await


@way
async def awaited(program):
    return await program.subject()


@way
async def awaited_as_a_future(program):
    return await asyncio.ensure_future(program.subject())


@way
async def awaited_twice(program):
    future = asyncio.ensure_future(program.subject())
    tasks = [
        asyncio.create_task(program.told(name, future, briefly=name == "y")) for name in "xy"
    ]
    return await asyncio.gather(*tasks, return_exceptions=True)


@way
async def awaited_twice_and_one_cancelled(program):
    future = asyncio.ensure_future(program.subject())
    tasks = [
        asyncio.create_task(program.told(name, future, briefly=name == "y")) for name in "xy"
    ]
    asyncio.get_running_loop().call_later(HALF, tasks[0].cancel, "only x")
    return await asyncio.gather(*tasks, return_exceptions=True)


# Groups


@way
async def gathered(program):
    return await asyncio.gather(program.subject(), program.subject())


@way
async def gathered_with_exceptions(program):
    return await asyncio.gather(
        program.subject(), program.subject(), asyncio.sleep(HALF), return_exceptions=True
    )


@way
async def gathered_beside_a_failure(program):
    return await asyncio.gather(program.subject(), failing(), program.subject())


@way
async def gathered_and_cancelled(program):
    group = asyncio.gather(program.subject(), program.subject())
    asyncio.get_running_loop().call_later(HALF, group.cancel, "the group")
    return await group


@way
async def gathered_with_exceptions_and_cancelled(program):
    group = asyncio.gather(program.subject(), asyncio.sleep(0.125), return_exceptions=True)
    asyncio.get_running_loop().call_later(HALF, group.cancel, "the group")
    return await group


@way
async def in_a_task_group(program):
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(program.told(name, program.subject())) for name in "xy"]
    return [task.result() for task in tasks]


@way
async def in_a_task_group_beside_a_failure(program):
    async with asyncio.TaskGroup() as group:
        group.create_task(program.told("x", program.subject()))
        group.create_task(failing())


@way
async def in_a_task_group_that_is_cancelled(program):
    async def group():
        async with asyncio.TaskGroup() as group:
            group.create_task(program.told("x", asyncio.ensure_future(program.subject())))
            await program.told("y", program.subject())

    return await cancelled(program, group(), HALF)


@way
async def in_a_task_group_within_a_timeout(program):
    async with asyncio.timeout(HALF), asyncio.TaskGroup() as group:
        group.create_task(program.told("x", asyncio.ensure_future(program.subject())))
        await program.told("y", program.subject())


@way
async def as_completed(program):
    subjects = [asyncio.ensure_future(program.subject()) for _ in range(2)]
    return [await program.told("next", done) for done in asyncio.as_completed(subjects)]


@way
async def as_completed_within_a_timeout(program):
    subjects = [asyncio.ensure_future(program.subject()) for _ in range(2)]
    for done in asyncio.as_completed(subjects, timeout=HALF):
        await program.told("next", done)


# To wait


@way
async def waited_for_all(program):
    subjects = [asyncio.ensure_future(program.subject()) for _ in range(2)]
    done, pending = await asyncio.wait(subjects)
    return len(done), len(pending), [outcome(future) for future in subjects]


@way
async def waited_for_the_first(program):
    future = asyncio.ensure_future(program.subject())
    timer = asyncio.create_task(asyncio.sleep(HALF))
    await asyncio.wait([future, timer], return_when=asyncio.FIRST_COMPLETED)
    program.note("main", "done", future.done(), timer.done())
    future.cancel("not the first")
    await asyncio.wait([future])
    return outcome(future)


@way
async def waited_for_the_first_exception(program):
    future = asyncio.ensure_future(program.subject())
    timer = asyncio.create_task(asyncio.sleep(5))
    await asyncio.wait([future, timer], return_when=asyncio.FIRST_EXCEPTION)
    program.note("main", "done", future.done(), timer.done())
    return outcome(future)


@way
async def waited_for_a_while(program):
    future = asyncio.ensure_future(program.subject())
    done, _ = await asyncio.wait([future], timeout=HALF)
    program.note("main", "done", len(done))
    future.cancel()
    future.cancel("at once again")
    return await future


# Timeouts


@way
async def with_wait_for(program):
    return await asyncio.wait_for(program.subject(), HALF)


@way
async def with_wait_for_that_is_long(program):
    return await asyncio.wait_for(program.subject(), 10)


@way
async def with_wait_for_nothing(program):
    return await asyncio.wait_for(program.subject(), 0)


@way
async def with_wait_for_twice_at_once(program):
    return await asyncio.wait_for(asyncio.wait_for(program.subject(), HALF), HALF)


@way
async def with_wait_for_and_a_cancellation_at_once(program):
    return await cancelled(program, asyncio.wait_for(program.subject(), HALF), HALF)


@way
async def with_a_timeout(program):
    async with asyncio.timeout(HALF) as timeout:
        try:
            return await program.told("inside", program.subject())
        finally:
            program.note("main", "expired", timeout.expired())


@way
async def with_a_timeout_that_is_long(program):
    async with asyncio.timeout(10):
        return await program.subject()


@way
async def with_a_timeout_in_the_past(program):
    async with asyncio.timeout_at(-1):
        return await program.told("inside", program.subject())


@way
async def with_a_timeout_that_is_moved(program):
    async with asyncio.timeout(10) as timeout:
        future = asyncio.ensure_future(program.subject())
        await asyncio.sleep(0.125)
        timeout.reschedule(HALF)
        return await program.told("inside", future)


@way
async def with_timeouts_at_once(program):
    async with asyncio.timeout(HALF):
        try:
            async with asyncio.timeout(HALF):
                return await program.told("inside", program.subject())
        except TimeoutError as error:
            program.note("main", "outside", repr(error))
            await asyncio.sleep(0)
            raise


@way
async def with_three_timeouts_at_once(program):
    async with asyncio.timeout(HALF), asyncio.timeout(HALF):
        return await asyncio.wait_for(program.subject(), HALF)


@way
async def with_a_timeout_after_a_timeout(program):
    async with asyncio.timeout(HALF + 0.125), asyncio.timeout(HALF):
        return await program.told("inside", program.subject())


@way
async def with_a_timeout_when_it_is_done(program):
    async with asyncio.timeout(1):
        return await program.told("inside", program.subject())


# Shields


@way
async def shielded(program):
    return await asyncio.shield(program.subject())


@way
async def shielded_from_a_timeout(program):
    future = asyncio.ensure_future(program.subject())
    try:
        async with asyncio.timeout(HALF):
            await program.told("shield", asyncio.shield(future))
    except TimeoutError:
        program.note("main", "timeout")
    return await future


@way
async def shielded_and_then_not(program):
    future = asyncio.ensure_future(program.subject())
    try:
        await asyncio.wait_for(asyncio.shield(future), HALF)
    except TimeoutError:
        program.note("main", "timeout")
    return await asyncio.wait_for(future, 0.125)


# What ways share


async def cancelled(program, awaitable, *times):
    """Await in a task, which is cancelled at these times."""
    task = asyncio.create_task(program.told("outer", awaitable))
    loop = asyncio.get_running_loop()
    for number, time in enumerate(times):
        loop.call_later(time, lambda number=number: program.note("main", task.cancel(number)))
    return await task


async def failing():
    await asyncio.sleep(HALF)
    raise OSError("beside it")


def outcome(future):
    return "cancelled" if future.cancelled() else future.exception() or future.result()
