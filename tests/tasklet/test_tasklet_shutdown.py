"""What the end of the loop does to tasklets."""

import asyncio
import gc
import weakref

from cooperative_aio import tasklet
from cooperative_aio.tasklet import Message, WaitForCall, WaitForMessages
from cooperative_aio.tasklet import _engine as shutdown


def logging_body(log, *conditions):
    try:
        yield [WaitForCall(), *conditions]
    except asyncio.CancelledError:
        log.append("cancelled")
        raise
    finally:
        log.append("finally")


def test_the_end_of_the_loop_cancels_what_is_left(run_loop):
    log, kept = [], []

    async def main():
        kept.append(tasklet.run(logging_body(log, tasklet.WaitForTimeout(60_000))))

    run_loop(main)
    assert log == ["cancelled", "finally"]
    assert kept[0].cancelled()


def test_one_that_clings_to_life_is_closed(run_loop):
    log, kept = [], []

    def clinging():
        try:
            while True:
                try:
                    yield WaitForCall()
                except asyncio.CancelledError:
                    log.append("clings")
        finally:
            log.append("closed")

    async def main():
        kept.append(tasklet.run(clinging()))

    run_loop(main)
    assert log == ["clings", "closed"]
    assert kept[0].cancelled()


def test_one_that_cannot_be_closed_is_reported_and_the_loop_ends(run_loop):
    reports, kept = [], []

    def undying():
        for _ in range(3):
            try:
                yield WaitForCall()
            except (asyncio.CancelledError, GeneratorExit):
                continue

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, about: reports.append(about))
        kept.append(tasklet.run(undying()))

    run_loop(main)
    assert [r["message"] for r in reports] == ["tasklet could not be closed"]
    assert kept[0].cancelled()


def test_one_in_the_middle_of_sending_is_closed_too(run_loop):
    kept = []

    def endless(dest):
        while True:
            yield Message("x", dest=dest)

    def drain():
        wait = WaitForMessages(accept="x")
        while True:
            yield wait

    async def main():
        kept.append(tasklet.run(endless(tasklet.run(drain()))))

    run_loop(main)
    assert kept[0].done()


def test_tasklets_started_by_the_end_are_ended_as_well(run_loop):
    log, kept = [], []

    def last():
        try:
            yield WaitForCall()
        finally:
            log.append("last")

    def starting():
        try:
            yield WaitForCall()
        finally:
            kept.append(tasklet.run(last()))

    async def main():
        kept.append(tasklet.run(starting()))

    run_loop(main)
    assert log == ["last"]


def test_a_chain_without_end_does_not_keep_the_loop(run_loop):
    kept, ended = [], []

    def again():
        try:
            yield WaitForCall()
        finally:
            if not ended:
                kept.append(tasklet.run(again()))

    async def main():
        kept.append(tasklet.run(again()))

    run_loop(main)
    assert len(kept) == 2 * shutdown.ROUNDS + 1
    ended.append(True)
    kept.pop().gen.close()


def test_with_nothing_left_there_is_nothing_to_close(run_loop):
    async def main():
        call = WaitForCall()
        done = tasklet.run(waiting(call))
        call()
        await done
        assert len(asyncio.all_tasks()) == 1

    run_loop(main)


def waiting(call):
    yield call


async def test_abandoning_twice_does_nothing():
    left = tasklet.run(waiting(WaitForCall()))
    left.abandon()
    left.abandon()
    assert left.cancelled()


def test_a_pending_tasklet_that_nothing_can_wake_is_freed():
    log = []

    async def main():
        freed = weakref.ref(tasklet.run(logging_body(log)))
        gc.collect()
        assert freed() is None
        assert log == ["finally"]
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())


def test_a_closed_loop_is_not_kept_alive():
    def use():
        loop = asyncio.new_event_loop()

        async def main():
            call = WaitForCall()
            done = tasklet.run(waiting(call))
            call()
            await done
            tasklet.run(waiting(WaitForCall()))

        loop.run_until_complete(main())
        loop.close()
        return weakref.ref(loop)

    gone = use()
    gc.collect()
    assert gone() is None
