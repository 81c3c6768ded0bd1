"""Bodies: generator functions as text, of which twins are compiled."""

import ast
import functools
import textwrap

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


class _Awaits(ast.NodeTransformer):
    """Make `yield x` into `await step(x)`, and the function a coroutine function."""

    def visit_Yield(self, node):
        self.generic_visit(node)
        value = node.value or ast.Constant(None)
        step = ast.Call(ast.Name("step", ast.Load()), [value], [])
        return ast.Await(step)

    def visit_FunctionDef(self, node):
        self.generic_visit(node)
        return ast.AsyncFunctionDef(**{name: getattr(node, name) for name in node._fields})


@functools.cache
def compiled(text, *, awaits):
    """Compile the text of a body, as a generator function or as a coroutine function."""
    source = "def body():\n" + textwrap.indent(textwrap.dedent(text), "    ")
    tree = ast.parse(source + "\n    if False:\n        yield\n")
    if awaits:
        tree = ast.fix_missing_locations(_Awaits().visit(tree))
    return compile(tree, "<body>", "exec")
