"""What the machine underneath has not got.

In a browser (Pyodide, PyScript) there is one thread, no process and no signal. Python has the
modules for them there all the same, and some fail late, or quietly: a thread pool that runs
nothing hands back nothing. So what needs them asks here first.
"""

from __future__ import annotations

import sys

__all__ = ["IN_WEBASSEMBLY", "check_host_has"]

IN_WEBASSEMBLY = sys.platform in {"emscripten", "wasi"}


def check_host_has(what: str, doing: str, remedy: str) -> None:
    """Refuse what WebAssembly cannot do.

    Args:
        what: What is needed: "threads", say.
        doing: What needs it, as a verb and its object.
        remedy: What to do instead.

    Raises:
        NotImplementedError: There is none of that here.
    """
    if IN_WEBASSEMBLY:
        raise NotImplementedError(
            f"cannot {doing} in WebAssembly, where there are no {what}; {remedy}"
        )
