"""The page: one document with its style and its script in it, and what it may do."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files

__all__ = ["page"]


@cache
def page() -> tuple[bytes, str]:
    """Return the page, and the policy that allows it its own script and nothing else."""
    here = files(__package__ or "cooperative_aio.monitor")
    html, style, script = (
        here.joinpath(name).read_text("utf-8") for name in ("page.html", "page.css", "page.js")
    )
    document = html.replace("/* page.css */", style).replace("/* page.js */", script)
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src '{_hash(script)}'",
            f"style-src '{_hash(style)}'",
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    )
    return document.encode(), policy


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
