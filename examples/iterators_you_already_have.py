"""Iterators that libraries give you anyway: each is work that can be set aside.

Every function here does one job in pieces, ready for `accumulate`, `batch_accumulate`,
`batches` or `cooperate`. Nothing is changed in the libraries.
"""

# Each function imports what it needs, so that one runs without the others' libraries.

import asyncio
import re
from collections.abc import Iterator
from typing import Any


def render(template: Any, **context: Any) -> Iterator[str]:
    """Render a template of Jinja2, piece by piece; `"".join(...)` is the page."""
    return template.generate(**context)


def read_json(file: Any) -> Iterator[Any]:
    """Read a JSON array item by item, from a binary file."""
    import ijson

    return ijson.items(file, "item")


def read_xml(file: Any, tag: str) -> Iterator[dict[str, str]]:
    """Read XML with lxml, element by element, and forget what has been read."""
    from lxml import etree

    for _, element in etree.iterparse(file, tag=tag):
        yield dict(element.attrib)
        element.clear()
        while element.getprevious() is not None:
            del element.getparent()[0]


def read_xml_plainly(file: Any, tag: str) -> Iterator[dict[str, str] | None]:
    """Read XML with the standard library. The Nones are only places to be set aside."""
    from xml.etree import ElementTree as ET

    events = ET.iterparse(file, ("start", "end"))  # noqa: S314 (a file of our own)
    _, root = next(events)
    for event, element in events:
        if event == "end" and element.tag == tag:
            yield dict(element.attrib)
            root.clear()
        else:
            yield None


def read_csv(file: Any) -> Iterator[list[str]]:
    """Read CSV row by row."""
    import csv

    return csv.reader(file)


def read_sheet(path: Any) -> Iterator[tuple[Any, ...]]:
    """Read a spreadsheet row by row; `read_only` is what makes it an iterator."""
    from openpyxl import load_workbook

    workbook = load_workbook(path, read_only=True)
    try:
        yield from workbook.active.iter_rows(values_only=True)
    finally:
        workbook.close()


def write_sheet(path: Any, rows: Any) -> Iterator[None]:
    """Write a spreadsheet row by row. The `save` at the end is one step."""
    from openpyxl import Workbook

    workbook = Workbook(write_only=True)
    sheet = workbook.create_sheet()
    for row in rows:
        sheet.append(row)
        yield
    workbook.save(path)


def load_objects(session: Any, query: Any) -> Iterator[Any]:
    """Load objects of SQLAlchemy. Every 500 of them are one step, so not 5,000."""
    return iter(session.scalars(query.execution_options(yield_per=500)))


def fetch_rows(connection: Any, query: str) -> Iterator[Any]:
    """Fetch rows from SQLite. What has to be sorted first is sorted in the first step."""
    return connection.execute(query)


def sum_chunks(file: Any, column: str) -> Iterator[float]:
    """Read CSV with pandas, 1,000 rows (some 3 ms) at a time, and give each chunk's sum."""
    import pandas as pd

    with pd.read_csv(file, chunksize=1000) as chunks:
        for chunk in chunks:
            yield float(chunk[column].sum())


def slice_frame(frame: Any) -> Iterator[Any]:
    """Go through a frame of polars in slices, which copy nothing."""
    return frame.iter_slices(n_rows=1000)


def find_words(pattern: str, text: str) -> Iterator[str]:
    """Find what matches, one after the other."""
    for match in re.finditer(pattern, text):
        yield match[0]


def filter_image(image: Any, image_filter: Any, margin: int = 8) -> Iterator[Any]:
    """Filter an image of Pillow in strips; the last value is the new image."""
    result, height = image.copy(), 32
    for top in range(0, image.height, height):
        first, last = max(0, top - margin), min(image.height, top + height + margin)
        strip = image.crop((0, first, image.width, last)).filter(image_filter)
        bottom = min(image.height, top + height)
        result.paste(strip.crop((0, top - first, image.width, bottom - first)), (0, top))
        yield None
    yield result


def train(model: Any, samples: Any, labels: Any, classes: Any) -> Iterator[None]:
    """Train a model of scikit-learn that has `partial_fit`, 500 samples at a time."""
    for first in range(0, len(samples), 500):
        chosen = slice(first, first + 500)
        yield model.partial_fit(samples[chosen], labels[chosen], classes=classes) and None


def encode(tokenizer: Any, text: str) -> Iterator[list[int]]:
    """Tokenize word by word: the same ids as at once, if words are what it splits at first.

    At once it would hold the GIL, so in a thread as well.
    """
    for word in re.finditer(r"\s*\S+", text):
        yield tokenizer.encode(word[0], add_special_tokens=False).ids


def validate(model: Any, items: Any) -> Iterator[Any]:
    """Validate items with pydantic one by one, in place of `list[model]` at once."""
    from pydantic import TypeAdapter

    adapter = TypeAdapter(model)
    return map(adapter.validate_python, items)


def digest(blocks: Any) -> Iterator[Any]:
    """Hash in a thread: large blocks release the GIL, so there it holds up nobody."""
    import hashlib

    total = hashlib.sha256()
    for block in blocks:
        yield asyncio.to_thread(total.update, block)
    return total.hexdigest()


def compress(blocks: Any) -> Iterator[Any]:
    """Compress in a thread, for the same reason; it may be set aside between two blocks."""
    import zlib

    packer, packed = zlib.compressobj(), []
    for block in blocks:
        packed.append((yield asyncio.to_thread(packer.compress, block)))  # noqa: PERF401
    return b"".join([*packed, packer.flush()])
