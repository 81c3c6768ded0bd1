"""A page of NiceGUI whose job moves its bar, in one process, for each visitor.

python examples/nicegui_job.py
"""

from collections.abc import Iterator

from nicegui import ui

from cooperative_aio import CooperativeTask, cooperate

LIMIT = 300_000


class Job:
    """One visitor's page, and what it computes."""

    def __init__(self) -> None:
        self.found = 0
        self.bar = ui.linear_progress(0.0, show_value=False)
        self.label = ui.label("nothing found yet")
        ui.button("Start", on_click=self.start)
        ui.button("Stop", on_click=self.stop)
        self.task: CooperativeTask[None] | None = None
        ui.context.client.on_disconnect(self.stop)  # what nobody sees is not computed

    def start(self) -> None:
        """Begin, if it has not begun."""
        if self.task is None:
            self.task = cooperate(self.work(), name="primes")

    def stop(self) -> None:
        """End the job, and say so."""
        if self.task is not None and not self.task.done():
            self.task.stop()
            self.label.set_text(f"stopped at {self.found} primes")

    def work(self) -> Iterator[None]:
        """Compute, and move the bar."""
        for number in range(2, LIMIT):
            self.found += all(number % divisor for divisor in range(2, int(number**0.5) + 1))
            if number % 2000 == 0:
                self.bar.set_value(number / LIMIT)
                self.label.set_text(f"{self.found} primes")
            yield  # may be set aside here


@ui.page("/")
def page() -> None:
    """Show a job to a visitor."""
    Job()


if __name__ in {"__main__", "__mp_main__"}:
    ui.run(title="A job", reload=False, show=False)
