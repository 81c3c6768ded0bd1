"""Ways to cancel: by the scopes of anyio, and by hand."""

import asyncio

import anyio
from matrix_ways import HALF, WAYS, cancelled, failing, way

__all__ = ["WAYS"]


# anyio


@way
async def with_move_on_after(program):
    with anyio.move_on_after(HALF) as scope:
        await program.told("inside", program.subject())
    return scope.cancelled_caught, scope.cancel_called


@way
async def with_fail_after(program):
    with anyio.fail_after(HALF):
        return await program.told("inside", program.subject())


@way
async def with_fail_after_nothing(program):
    with anyio.fail_after(0):
        return await program.told("inside", program.subject())


@way
async def with_scopes_at_once(program):
    with anyio.move_on_after(HALF) as outer, anyio.move_on_after(HALF) as inner:
        await program.told("inside", program.subject())
    return outer.cancelled_caught, inner.cancelled_caught


@way
async def with_a_scope_and_a_timeout_at_once(program):
    with anyio.move_on_after(HALF) as scope:
        async with asyncio.timeout(HALF):
            await program.told("inside", program.subject())
    return scope.cancelled_caught


@way
async def with_an_anyio_group_that_is_cancelled(program):
    async def inside():
        await program.told("inside", program.subject())

    async with anyio.create_task_group() as group:
        group.start_soon(inside)
        await anyio.sleep(HALF)
        group.cancel_scope.cancel()


@way
async def with_an_anyio_group_beside_a_failure(program):
    async with anyio.create_task_group() as group:
        group.start_soon(failing)
        await program.told("inside", program.subject())


@way
async def with_a_shield_of_anyio(program):
    with anyio.move_on_after(HALF) as scope:
        with anyio.CancelScope(shield=True):
            await program.told("inside", program.subject())
        await anyio.sleep(1)
    return scope.cancelled_caught


@way
async def with_a_clean_up_that_anyio_shields(program):
    with anyio.move_on_after(HALF) as scope:
        future = asyncio.ensure_future(program.subject())
        try:
            await program.told("inside", future)
        finally:
            with anyio.CancelScope(shield=True):
                await asyncio.wait([future])
                await anyio.sleep(0.125)
    return scope.cancelled_caught


@way
async def with_anyio_within_a_cancelled_task(program):
    async def inside():
        with anyio.move_on_after(HALF):
            await program.told("inside", program.subject())
        return "moved on"

    return await cancelled(program, inside(), HALF)


# Cancellations


@way
async def cancelled_at_once(program):
    return await cancelled(program, program.subject(), 0)


@way
async def cancelled_before_a_turn(program):
    future = asyncio.ensure_future(program.subject())
    future.cancel("before")
    return await program.told("outer", future)


@way
async def cancelled_while_it_waits(program):
    return await cancelled(program, program.subject(), HALF)


@way
async def cancelled_twice_before_delivery(program):
    return await cancelled(program, program.subject(), HALF, HALF)


@way
async def cancelled_twice(program):
    return await cancelled(program, program.subject(), HALF, HALF + 0.125)


@way
async def cancelled_four_times(program):
    times = [HALF, HALF, HALF + 0.125, HALF + 0.375]
    return await cancelled(program, program.subject(), *times)


@way
async def cancelled_when_it_is_done(program):
    return await cancelled(program, program.subject(), 1)


@way
async def cancelled_itself(program):
    future = asyncio.ensure_future(program.subject())
    asyncio.get_running_loop().call_later(HALF, future.cancel, "itself")
    return await future


@way
async def cancelled_itself_twice_before_delivery(program):
    future = asyncio.ensure_future(program.subject())

    def cancel():
        program.note("main", future.cancel("first"), future.cancel("second"))

    asyncio.get_running_loop().call_later(HALF, cancel)
    return await future


@way
async def cancelled_itself_with_no_message(program):
    future = asyncio.ensure_future(program.subject())
    asyncio.get_running_loop().call_later(HALF, future.cancel)
    return await future


@way
async def cancelled_when_over(program):
    future = asyncio.ensure_future(program.subject())
    await asyncio.wait([future])
    program.note("main", future.cancel(), future.cancelled())
    return await future


@way
async def cancelled_while_it_computes(program):
    task = asyncio.create_task(program.told("outer", program.subject()))
    program.press = lambda: asyncio.get_running_loop().call_soon(task.cancel, "pressed")
    return await task


@way
async def cancelled_twice_while_it_computes(program):
    def cancel():
        program.note("main", task.cancel("once"), task.cancel("twice"))

    task = asyncio.create_task(program.told("outer", program.subject()))
    program.press = lambda: asyncio.get_running_loop().call_soon(cancel)
    return await task


@way
async def timed_out_while_it_computes(program):
    def expire():
        now = asyncio.get_running_loop().time()
        timeout.reschedule(now)
        inner.reschedule(now)

    program.press = expire
    async with asyncio.timeout(None) as timeout, asyncio.timeout(None) as inner:
        return await program.told("inside", program.subject())


@way
async def cancelled_and_uncancelled(program):
    async def outer():
        task = asyncio.current_task()
        try:
            return await program.told("inside", program.subject())
        except asyncio.CancelledError:
            program.note("outer", "uncancel", task.uncancel())
            return await program.told("afterwards", asyncio.sleep(0.125, "slept"))

    return await cancelled(program, outer(), HALF, HALF)
