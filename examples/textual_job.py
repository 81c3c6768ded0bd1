"""A Textual program that computes and stays awake: keys, clocks and its bar go on.

    python examples/textual_job.py

The job is a generator that touches the widgets itself, which a thread may not.
"""

from collections.abc import Iterator

from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.widgets import Footer, Label, ProgressBar

from cooperative_aio import CooperativeTask, cooperate

LIMIT = 300_000


class Primes(App[int]):
    """Count primes; `space` counts key presses, `s` stops the job, `q` quits."""

    BINDINGS = (
        Binding("space", "press", "Count a press"),
        Binding("s", "stop", "Stop"),
        Binding("q", "quit", "Quit"),
    )
    found = presses = 0
    job: CooperativeTask[None]

    def compose(self) -> ComposeResult:
        """Show a bar, and what was found and pressed."""
        yield ProgressBar(total=LIMIT, show_eta=False)
        yield Label(id="found")
        yield Label("0 presses", id="presses")
        yield Footer()

    def on_mount(self) -> None:
        """Begin the job, on the loop that Textual runs on."""
        self.job = cooperate(self.work(), name="primes")

    def work(self) -> Iterator[None]:
        """Compute, and move the bar."""
        bar, label = self.query_one(ProgressBar), self.query_one("#found", Label)
        for number in range(2, LIMIT):
            self.found += all(number % divisor for divisor in range(2, int(number**0.5) + 1))
            if number % 500 == 0:
                bar.update(progress=number)
                label.update(f"{self.found} primes below {number}")
            yield  # may be set aside here

    def action_press(self) -> None:
        """Count a press, which shows how soon keys are heard."""
        self.presses += 1
        self.query_one("#presses", Label).update(f"{self.presses} presses")

    def action_stop(self) -> None:
        """End the job."""
        if not self.job.done():
            self.job.stop()

    def on_unmount(self) -> None:
        """End the job with the program."""
        self.action_stop()


if __name__ == "__main__":
    Primes().run()
