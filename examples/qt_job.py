"""A window of Qt whose job touches its widgets, on either of Qt's loops for asyncio.

    python examples/qt_job.py qasync
    python examples/qt_job.py QtAsyncio

A thread may not touch a widget; a generator may, because it runs where the widgets do.
"""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from PySide6.QtCore import Slot
from PySide6.QtGui import QCloseEvent
from PySide6.QtWidgets import (
    QApplication,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from cooperative_aio import CooperativeTask, cooperate

LIMIT = 300_000


class Window(QWidget):
    """A bar that the job moves, a field to type in, and a button that ends the job."""

    def __init__(self) -> None:
        super().__init__()
        self.bar, self.label = QProgressBar(maximum=LIMIT), QLabel()
        self.field, self.button = QLineEdit(), QPushButton("Stop")
        layout = QVBoxLayout(self)
        for widget in (self.bar, self.label, self.field, self.button):
            layout.addWidget(widget)
        self.button.clicked.connect(self.stop)
        self.found = 0
        self.closed = asyncio.Event()
        self.job: CooperativeTask[None] = cooperate(self.work(), name="primes")

    def work(self) -> Iterator[None]:
        """Compute, and move the bar."""
        for number in range(2, LIMIT):
            self.found += all(number % divisor for divisor in range(2, int(number**0.5) + 1))
            if number % 500 == 0:
                self.bar.setValue(number)
                self.label.setText(f"{self.found} primes below {number}")
            yield  # may be set aside here

    @Slot()
    def stop(self) -> None:
        """End the job."""
        if not self.job.done():
            self.job.stop()

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802 (Qt's name)
        """End the job with its window."""
        self.stop()
        self.closed.set()
        super().closeEvent(event)


async def show(use: Callable[[Window], Coroutine[Any, Any, None]] | None = None) -> None:
    """Show the window until it is closed; `use` does what a user would, for tests."""
    window = Window()
    window.show()
    if use is not None:
        await use(window)
    await window.closed.wait()


def run(loop: str, main: Coroutine[Any, Any, None]) -> None:
    """Run on that loop: "qasync" or "QtAsyncio"."""
    application = QApplication.instance() or QApplication(sys.argv)
    application.setQuitOnLastWindowClosed(False)  # the coroutine's end is the program's
    if loop == "qasync":
        import qasync  # noqa: PLC0415 (one of the two is enough)

        qasync.run(main)
    else:
        from PySide6 import QtAsyncio  # noqa: PLC0415

        QtAsyncio.run(main, keep_running=False)


if __name__ == "__main__":
    run(sys.argv[1], show())
