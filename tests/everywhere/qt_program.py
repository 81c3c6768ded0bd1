"""Use the window of examples/qt_job.py as a user would; print what was seen, as JSON.

python qt_program.py qasync|QtAsyncio
"""

import asyncio
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

import qt_job
from PySide6.QtCore import Qt, QTimer
from PySide6.QtTest import QTest

from cooperative_aio import checkpoint, get_cooperator

seen = {}


async def until(predicate):
    while not predicate():
        await asyncio.sleep(0.005)


async def use(window):
    """Type, wait for a timer of Qt, look at the bar, and click on Stop, while it computes."""
    rings = []
    timer = QTimer(window)
    timer.timeout.connect(lambda: rings.append(window.bar.value()))
    timer.start(5)
    await until(lambda: len(rings) >= 5)
    QTest.keyClicks(window.field, "hello")
    await until(lambda: window.bar.value() > 0)
    seen["computing"] = not window.job.done()
    seen["typed"] = window.field.text()
    await checkpoint()
    QTest.mouseClick(window.button, Qt.MouseButton.LeftButton)
    await until(window.job.done)
    seen["job"] = repr(window.job).split(" name")[0]
    seen["left"] = len(get_cooperator().tasks)
    timer.stop()
    window.close()


if __name__ == "__main__":
    qt_job.run(sys.argv[1], qt_job.show(use))
    print(json.dumps(seen))
