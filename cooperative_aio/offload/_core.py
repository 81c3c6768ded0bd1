"""What `offload` takes from the core; nothing of it imports asyncio, so workers may have it."""

from cooperative_aio._checks import check_count, check_finite
from cooperative_aio._iterators import check_iterator

__all__ = ["check_count", "check_finite", "check_iterator"]
