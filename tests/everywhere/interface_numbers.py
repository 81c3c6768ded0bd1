"""Print how soon interfaces answer beside a job.

    python tests/everywhere/interface_numbers.py textual|qasync|QtAsyncio|nicegui

In milliseconds, the median and the 99th percentile: beside nothing, beside a job that
`cooperate` runs, and beside one that says `await asyncio.sleep(0)` every 10 ms.
"""

import asyncio
import os
import statistics
import sys
import time
from pathlib import Path

from cooperative_aio import cooperate

EXAMPLES = Path(__file__).parents[2] / "examples"
clock = time.perf_counter
steps = [0]


def job():
    while True:
        sum(range(400))
        steps[0] += 1
        yield


async def naive():
    began = clock()
    for _ in job():
        if clock() - began > 0.01:
            await asyncio.sleep(0)
            began = clock()


WAYS = {
    "nothing": lambda: None,
    "cooperate": lambda: cooperate(job()),
    "sleep(0)": lambda: asyncio.ensure_future(naive()),
}


async def compare(what, act, times=60):
    """Time an action beside each kind of job."""
    for name, start in WAYS.items():
        running, spans = start(), []
        await asyncio.sleep(0.1)
        before, began = steps[0], clock()
        for _ in range(times):
            spans.append(await act())
            await asyncio.sleep(0.01)
        rate = (steps[0] - before) / (clock() - began)
        if running is not None:
            running.cancel()
        cuts = statistics.quantiles(spans, n=100, method="inclusive")
        print(
            f"{what}, {name}: {1000 * cuts[49]:.1f} ({1000 * cuts[98]:.1f}) ms, "
            f"{rate:,.0f} steps/s",
            flush=True,
        )


async def textual():
    from textual.app import App

    class Keys(App):
        BINDINGS = (("space", "press", ""),)

        def action_press(self):
            self.pressed.set_result(clock())

    app = Keys()
    async with app.run_test():

        async def press():
            app.pressed = asyncio.get_running_loop().create_future()
            began = clock()
            app.simulate_key("space")
            return await app.pressed - began

        await compare("Textual, a key", press)


async def qt():
    from PySide6.QtCore import QEvent, QObject, Qt, QTimer
    from PySide6.QtGui import QKeyEvent
    from PySide6.QtWidgets import QApplication, QLineEdit

    field = QLineEdit()
    field.show()
    loop = asyncio.get_running_loop()

    async def key():
        typed = loop.create_future()
        connection = field.textChanged.connect(lambda _: typed.set_result(clock()))
        began = clock()
        event = QKeyEvent(QEvent.Type.KeyPress, Qt.Key.Key_A, Qt.KeyboardModifier(0), "a")
        QApplication.postEvent(field, event)
        span = await typed - began
        QObject.disconnect(connection)
        return span

    bell = QTimer(field, singleShot=True, timerType=Qt.TimerType.PreciseTimer)
    rang = None
    bell.timeout.connect(lambda: rang.set_result(clock()))

    async def timer():
        nonlocal rang
        rang = loop.create_future()
        began = clock()
        bell.start(20)
        return await rang - began - 0.02

    await compare(f"Qt by {sys.argv[1]}, a key", key)
    await compare(f"Qt by {sys.argv[1]}, a timer of 20 ms", timer)


async def nicegui():
    os.environ.setdefault("PYTEST_CURRENT_TEST", "numbers")  # or it refuses to be simulated
    from nicegui import ui
    from nicegui.testing import user_simulation

    async with user_simulation(root=lambda: ui.label("a page")) as user:
        await user.open("/")

        async def timer():
            rang = asyncio.get_running_loop().create_future()
            began = clock()
            with user:
                ui.timer(0.02, lambda: rang.set_result(clock()), once=True)
            return await rang - began - 0.02

        await compare("NiceGUI, a timer of 20 ms", timer)


if __name__ == "__main__":
    if sys.argv[1] in {"qasync", "QtAsyncio"}:
        os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
        sys.path.insert(0, str(EXAMPLES))
        from qt_job import run

        run(sys.argv[1], qt())
    else:
        asyncio.run({"textual": textual, "nicegui": nicegui}[sys.argv[1]]())
