"""Every awaitable of the package, in every way to await, time out, group and cancel it.

Each is compared with a coroutine of asyncio's that does the same: see `matrix_support`.
Bodies wait for a second at first, so what happens after half a second finds them waiting.
"""

import asyncio

import anyio
import pytest
from matrix_support import SUBJECTS, compare

HALF = 0.5

BODIES = {
    "finishes": """
        note("got", (yield wait(1)))
        yield 1
        note("got", (yield nap(0.25, "napped")))
        yield 2
        return "result"
        """,
    "finishes at once": """
        return "result"
        """,
    "awaits what is no future": """
        note("got", (yield Awaitable(wait(1))))
        note("got", (yield nap(0.25, "napped")))
        return "result"
        """,
    "awaits coroutines": """
        try:
            yield nap(1)
        finally:
            note("cleans up")
            yield nap(0.25)
            note("cleaned up")
        """,
    "fails": """
        yield wait(1)
        raise LookupError("of the body")
        """,
    "fails at once": """
        raise LookupError("of the body")
        """,
    "awaits what fails": """
        try:
            yield failed(1)
        except LookupError as error:
            caught(error)
        yield failed(0.25)
        """,
    "raises StopIteration": """
        yield wait(1)
        raise StopIteration("of the body")
        """,
    "swallows a cancellation": """
        try:
            yield wait(1)
        except CancelledError as error:
            caught(error)
        note("got", (yield wait(0.25)))
        return "went on"
        """,
    "swallows every cancellation": """
        for second in range(5):
            try:
                yield wait(1)
            except CancelledError as error:
                caught(error)
        return "went on"
        """,
    "cleans up": """
        try:
            yield wait(1)
        finally:
            note("cleans up")
            note("got", (yield wait(0.25)))
            note("got", (yield nap(0.25, "napped")))
            note("cleaned up")
        """,
    "cleans up whatever comes": """
        try:
            yield wait(1)
        finally:
            for part in range(3):
                try:
                    note("got", (yield wait(0.25)))
                except CancelledError as error:
                    caught(error)
            note("cleaned up")
        """,
    "fails when cancelled": """
        try:
            yield wait(1)
        except CancelledError as error:
            caught(error)
            raise LookupError("in place of it")
        """,
    "fails while it cleans up": """
        try:
            yield wait(1)
        finally:
            yield wait(0.25)
            raise LookupError("in place of it")
        """,
    "raises a cancellation of its own": """
        yield wait(1)
        error = Own("of the body", 2)
        error.add_note("noted")
        raise error
        """,
    "raises a cancellation of its own when cancelled": """
        try:
            yield wait(1)
        except CancelledError as error:
            caught(error)
            raise Own("of the body", 2) from error
        """,
    "notes when it is cancelled": """
        try:
            yield wait(1)
        except CancelledError as error:
            error.add_note("noted")
            raise
        """,
    "waits for a future that will not be cancelled": """
        try:
            note("got", (yield stubborn(1)))
        except CancelledError as error:
            caught(error)
            raise
        finally:
            note("got", (yield wait(0.25)))
        """,
    "shields a future": """
        inner = wait(1)
        try:
            note("got", (yield asyncio.shield(inner)))
        except CancelledError as error:
            caught(error)
            note("got", (yield inner))
            raise
        """,
    "waits for a group": """
        note("got", (yield asyncio.gather(nap(1), failed(1), return_exceptions=True)))
        """,
    "computes": """
        try:
            for number in range(8):
                if number == 3:
                    press()
                spend(0.25)
                yield number
        except CancelledError as error:
            caught(error)
            spend(0.25)
            yield "cleaned up"
            raise
        return "result"
        """,
}

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


# What cannot be equal, and why
INHERENT = {
    # Two tasks make their steps in one tick: both have failed before the group hears of one.
    ("task", "in_a_task_group_that_is_cancelled", "fails at once"),
    ("task", "in_a_task_group_within_a_timeout", "fails at once"),
    ("join", "in_a_task_group_that_is_cancelled", "fails at once"),
    ("join", "in_a_task_group_within_a_timeout", "fails at once"),
    # A tasklet has begun, and ended, when it has been made.
    ("tasklet", "in_a_task_group_that_is_cancelled", "finishes at once"),
    ("tasklet", "in_a_task_group_that_is_cancelled", "fails at once"),
    ("tasklet", "in_a_task_group_within_a_timeout", "finishes at once"),
    ("tasklet", "in_a_task_group_within_a_timeout", "fails at once"),
    # asyncio keeps the message of a Task that cancels itself only for the first to ask.
    ("task", "gathered_with_exceptions", "raises a cancellation of its own"),
    ("tasklet", "gathered_with_exceptions", "raises a cancellation of its own"),
    # Of two messages the second counts if nothing was being waited for, the first if not.
    ("checkpoints", "cancelled_twice_while_it_computes", "computes"),
    ("batches", "cancelled_twice_while_it_computes", "computes"),
}
# Whether a body has begun by then is a matter of single turns
AT_ONCE = {
    *("with_a_timeout_in_the_past", "with_fail_after_nothing", "with_wait_for_nothing"),
    "cancelled_at_once",
}
BEGUN = {"batches", "batches_within", "drain", "defer_later", "looping_call", "tasklet"}
# When steps come that take time is the package's affair, and so how many have been made
# when a timer fires. These ways do not depend on it.
COMPUTING = {
    *("awaited", "awaited_as_a_future", "awaited_twice", "waited_for_all"),
    *("gathered", "gathered_with_exceptions", "in_a_task_group", "as_completed", "shielded"),
    *("with_wait_for_that_is_long", "with_a_timeout_that_is_long", "cancelled_when_over"),
    *("cancelled_while_it_computes", "cancelled_twice_while_it_computes"),
    *("timed_out_while_it_computes",),
}


def fits(subject, way, body):
    """Tell whether a body can be given to a subject and go that way."""
    text = BODIES[body]
    if way in AT_ONCE and subject in BEGUN:
        return False
    if way not in COMPUTING and "spend(" in text:
        return False
    if "while_it_computes" in way and "spend(" not in text:
        return False
    if "anyio" in way or "scope" in way or way in ANYIO:  # scopes cancel on every turn
        if "stubborn(" in text:
            return False  # they spin as long as it is not done
        if subject in {"defer_later", "looping_call"} and body in {
            "swallows every cancellation",
            "fails when cancelled",
        }:
            return False  # asyncio's is two tasks, of which the outer is cancelled once more
    if subject == "tasklet":
        if "stubborn(" in text or way == "cancelled_before_a_turn":
            return False  # it lets go of what it waits for, and begins when it is made
        if "yield 1" in text or "yield number" in text:
            return False  # it yields only what it waits for
    return True


ANYIO = {"with_move_on_after", "with_fail_after", "with_fail_after_nothing"}


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("subject", SUBJECTS)
def test_what_is_awaited_does_as_a_coroutine_of_asyncio_does(subject, name):
    different = []
    for body, text in BODIES.items():
        if not fits(subject, name, body):
            continue
        ours, theirs = compare(WAYS[name], subject, text)
        if ours != theirs and (subject, name, body) not in INHERENT:
            lines = [*("ours: " + str(line) for line in ours)]
            lines += [*("asyncio's: " + str(line) for line in theirs)]
            different.append("\n    ".join([body, *lines]))
    if different:
        pytest.fail("\n".join(different), pytrace=False)
