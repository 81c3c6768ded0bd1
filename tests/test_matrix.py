"""Every awaitable of the package, in every way to await, time out, group and cancel it.

Each is compared with a coroutine of asyncio's that does the same: see `matrix_support`.
Bodies wait for a second at first, so what happens after half a second finds them waiting.
"""

import pytest
from matrix_bodies import BODIES
from matrix_cancellations import WAYS
from matrix_support import SUBJECTS, compare

pytestmark = pytest.mark.thinned(2)

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
    # gather asks for the error by a private method: of other futures it gets one with the
    # message alone, where that of a Task has its class and its notes.
    *(
        (subject, "gathered", "raises a cancellation of its own")
        for subject in ("task", "defer_later", "looping_call", "tasklet")
    ),
    *(
        (subject, "gathered_and_cancelled", body)
        for subject in ("task", "defer_later", "looping_call", "tasklet")
        for body in (
            "raises a cancellation of its own when cancelled",
            "notes when it is cancelled",
        )
    ),
    ("defer_later", "gathered_with_exceptions", "raises a cancellation of its own"),
    ("looping_call", "gathered_with_exceptions", "raises a cancellation of its own"),
    # A scope of anyio's cancels on every turn; a tasklet, which does not wait for the end of
    # a coroutine that it has yielded, takes fewer.
    ("tasklet", "with_anyio_within_a_cancelled_task", "awaits what is no future"),
    ("tasklet", "with_anyio_within_a_cancelled_task", "waits for a group"),
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
    by_scope = "anyio" in way or "scope" in way or way in ANYIO  # these cancel on every turn
    return not (
        (way in AT_ONCE and subject in BEGUN)
        or ("spend(" in text and way not in COMPUTING)
        or ("while_it_computes" in way and "spend(" not in text)
        # A scope spins as long as a future refuses to be cancelled
        or ("stubborn(" in text and by_scope)
        # asyncio's is two tasks, of which the outer is cancelled once more
        or (by_scope and subject in TWO_TASKS and body in ENDED_BY_ONE)
        # A tasklet lets go of what it waits for, begins when it is made, and yields no values
        or (subject == "tasklet" and ("stubborn(" in text or way == "cancelled_before_a_turn"))
        or (subject == "tasklet" and ("yield 1" in text or "yield number" in text))
    )


TWO_TASKS = {"defer_later", "looping_call"}
ENDED_BY_ONE = {"swallows every cancellation", "fails when cancelled"}
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
