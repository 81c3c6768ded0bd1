"""What runs in a browser and in Node: all that is there, and what is said of the rest."""

import asyncio
import os
import signal

import cooperative_aio as aio
from cooperative_aio import offload, tasklet, testing


def numbers(count):
    yield from range(count)


async def works():
    """Return what the package's functions give."""

    async def nothing():
        return "nothing"

    def waits():
        found = yield asyncio.sleep(0.01, "slept")
        return found

    ticks = []
    call = aio.LoopingCall(lambda: ticks.append(1) or (len(ticks) == 3 and call.stop()))
    await call.start(0.01)

    def events():
        yield tasklet.WaitForTimeout(5)
        yield tasklet.WaitForIdle()
        return (yield nothing())

    scheduler = testing.ManualScheduler()
    async with aio.Cooperator(scheduler=scheduler) as by_hand:
        task = by_hand.cooperate(iter("ab"))
        scheduler.run()
        by_hand_steps = task.steps
    return {
        "cooperate": await aio.cooperate(waits()),
        "accumulate": list(await aio.accumulate(numbers(5))),
        "batch_accumulate": len(await aio.batch_accumulate(100, numbers(1000))),
        "batches": [batch async for batch in aio.batches(2, numbers(5))],
        "checkpoint": await aio.checkpoint(),
        "defer_later": await aio.defer_later(0.01, lambda: "later"),
        "LoopingCall": len(ticks),
        "tasklet": await tasklet.run(events()),
        "by hand": by_hand_steps,
    }


async def complaint(function):
    """Return what the exception says that a function raises."""
    try:
        result = function()
        if hasattr(result, "__await__"):
            await asyncio.wait_for(result, 5)
    except Exception as error:  # noqa: BLE001 (whatever it says is to be seen)
        return f"{type(error).__name__}: {error}"
    return "nothing"


async def cannot():
    """Return what is said of what there is not."""

    def wait_for(make):
        def waiting():
            yield make()

        return lambda: tasklet.run(waiting())

    async def main():
        """Do nothing."""

    coroutine = main()
    said = {
        "asyncio.run": await complaint(lambda: asyncio.run(coroutine)),
        "react": await complaint(lambda: aio.react(main)),
        "threads": await complaint(offload.threads),
        "processes": await complaint(offload.processes),
        "interpreters": await complaint(offload.interpreters),
        "dask": await complaint(lambda: offload.dask("tcp://127.0.0.1:1")),
        "signal": await complaint(wait_for(lambda: tasklet.WaitForSignal(signal.SIGUSR1))),
        "process": await complaint(wait_for(lambda: tasklet.WaitForProcess(os.getpid()))),
        "descriptor": await complaint(wait_for(lambda: tasklet.WaitForIO(os.pipe()[0]))),
    }
    coroutine.close()
    return said


async def main():
    return {"works": await works(), "cannot": await cannot()}
