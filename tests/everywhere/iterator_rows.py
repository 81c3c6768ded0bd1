"""The rows of docs/how-to/iterators-you-already-have.md: what is read, how, how finely.

A row makes its material, and tells what blocks and what goes in pieces; both have to come to
the same. A library that is not installed skips its row.
"""

import contextlib
import csv
import hashlib
import io
import itertools
import json
import random
import re
import sqlite3
import zlib
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from cooperative_aio import Cooperator, accumulate, get_cooperator

EXAMPLES = Path(__file__).parents[2] / "examples"


@dataclass
class Row:
    """What is compared, made of `size` items."""

    block: Callable[[], Any]  # gives the result at once
    pieces: Callable[[], Any]  # gives a coroutine of the same in pieces
    steps: int  # at least
    finish: Callable[[Any], Any] = list  # makes the result of the pieces


def recipes():
    """Import the example."""
    import importlib.util

    path = EXAMPLES / "iterators_you_already_have.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


have = recipes()


using: ContextVar[Cooperator | None] = ContextVar("using", default=None)
"""What to run the pieces on, if not on the loop's own."""


def collect(iterator):
    return accumulate(iterator, using.get())


def work(generator):
    return (using.get() or get_cooperator()).cooperate(generator).join()


def records(size):
    generator = random.Random(1)
    return [
        {"number": number, "name": f"name {number}", "price": round(generator.random(), 4)}
        for number in range(size)
    ]


def jinja2(size, folder):
    library = pytest.importorskip("jinja2")
    row = "<tr><td>{{ r.name|e }}</td><td>{{ r.price }}</td></tr>"
    text = f"<table>{{% for r in rows %}}{row}\n{{% endfor %}}</table>"
    template, rows = library.Environment(autoescape=True).from_string(text), records(size)
    return Row(
        lambda: template.render(rows=rows),
        lambda: collect(have.render(template, rows=rows)),
        size,
        "".join,
    )


def ijson(size, folder):
    pytest.importorskip("ijson")
    text = json.dumps([{**record, "price": 1} for record in records(size)]).encode()
    return Row(
        lambda: json.loads(text), lambda: collect(have.read_json(io.BytesIO(text))), size
    )


def xml(size):
    parts = (f'<item number="{number}"><part/></item>' for number in range(size))
    return f"<items>{''.join(parts)}</items>".encode()


def lxml(size, folder):
    etree = pytest.importorskip("lxml.etree")
    text = xml(size)

    def block():
        return [dict(element.attrib) for element in etree.fromstring(text).iter("item")]

    return Row(block, lambda: collect(have.read_xml(io.BytesIO(text), "item")), size)


def elementtree(size, folder):
    text = xml(size)

    def block():
        return [dict(element.attrib) for element in ET.fromstring(text).iter("item")]

    return Row(block, lambda: collect(have.read_xml_plainly(io.BytesIO(text), "item")), size)


def csv_rows(size, folder):
    file = io.StringIO()
    csv.writer(file).writerows(record.values() for record in records(size))
    text = file.getvalue()
    return Row(
        lambda: list(csv.reader(io.StringIO(text))),
        lambda: collect(have.read_csv(io.StringIO(text))),
        size,
    )


def openpyxl(size, folder):
    library = pytest.importorskip("openpyxl")
    path = folder / "rows.xlsx"
    rows = [tuple(record.values()) for record in records(size)]
    for _ in have.write_sheet(path, rows):
        pass

    def block():
        return list(library.load_workbook(path).active.iter_rows(values_only=True))

    return Row(block, lambda: collect(have.read_sheet(path)), size)


def openpyxl_writing(size, folder):
    library = pytest.importorskip("openpyxl")
    rows = [tuple(record.values()) for record in records(size)]

    def read(path):
        workbook = library.load_workbook(path, read_only=True)
        with contextlib.closing(workbook):
            return list(workbook.active.iter_rows(values_only=True))

    def block():
        for _ in have.write_sheet(folder / "block.xlsx", rows):
            pass
        return size < LARGE and read(folder / "block.xlsx")

    return Row(
        block,
        lambda: work(have.write_sheet(folder / "pieces.xlsx", rows)),
        size,
        lambda _: read(folder / "pieces.xlsx"),
    )


def sqlalchemy(size, folder):
    library = pytest.importorskip("sqlalchemy")
    orm = pytest.importorskip("sqlalchemy.orm")

    class Base(orm.DeclarativeBase):
        pass

    class Item(Base):
        __tablename__ = "items"
        number: orm.Mapped[int] = orm.mapped_column(primary_key=True)
        name: orm.Mapped[str]
        price: orm.Mapped[float]

    Item.__annotations__  # noqa: B018
    engine = library.create_engine("sqlite://", poolclass=library.pool.StaticPool)
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(library.insert(Item), records(size))
    query = library.select(Item).order_by(Item.number)

    def as_tuples(items):
        return [(item.number, item.name, item.price) for item in items]

    def block():
        with orm.Session(engine) as session:
            return as_tuples(session.scalars(query).all())

    async def pieces():
        with orm.Session(engine) as session:
            return await collect(have.load_objects(session, query))

    return Row(block, pieces, size, as_tuples)


def sqlite(size, folder):
    connection = sqlite3.connect(":memory:")
    connection.execute("create table items (number integer, name text, price real)")
    rows = [tuple(record.values()) for record in records(size)]
    connection.executemany("insert into items values (?, ?, ?)", rows)
    query = "select * from items"

    def finish(rows):
        connection.close()
        return list(rows)

    return Row(
        lambda: connection.execute(query).fetchall(),
        lambda: collect(have.fetch_rows(connection, query)),
        size,
        finish,
    )


def pandas(size, folder):
    library = pytest.importorskip("pandas")
    path = folder / "rows.csv"
    library.DataFrame(records(size)).to_csv(path)

    return Row(
        lambda: round(float(library.read_csv(path)["price"].sum()), 6),
        lambda: collect(have.sum_chunks(path, "price")),
        size // 1000,
        lambda sums: round(sum(sums), 6),
    )


def polars(size, folder):
    library = pytest.importorskip("polars")
    frame = library.DataFrame(records(size))

    return Row(
        frame.rows,
        lambda: collect(part.rows() for part in have.slice_frame(frame)),
        size // 1000,
        lambda parts: list(itertools.chain.from_iterable(parts)),
    )


def regular_expressions(size, folder):
    text, pattern = "some words, and 12 numbers; " * size, r"[a-z]+(?=,|;)"
    return Row(
        lambda: re.findall(pattern, text), lambda: collect(have.find_words(pattern, text)), size
    )


def pillow(size, folder):
    image_module = pytest.importorskip("PIL.Image")
    filters = pytest.importorskip("PIL.ImageFilter")
    image = image_module.effect_noise((512, max(256, size // 8)), 40)
    blur = filters.MedianFilter(5)

    return Row(
        lambda: image.filter(blur).tobytes(),
        lambda: collect(have.filter_image(image, blur)),
        image.height // 32,
        lambda images: images.pop().tobytes(),
    )


def scikit_learn(size, folder):
    linear = pytest.importorskip("sklearn.linear_model")
    numpy = pytest.importorskip("numpy")
    generator = numpy.random.default_rng(1)
    samples = generator.normal(size=(size, 20))
    labels = (samples[:, 0] > 0).astype(int)

    def make():
        return linear.SGDClassifier(random_state=1, shuffle=False)

    def block():
        model = make()
        for _ in have.train(model, samples, labels, [0, 1]):
            pass
        return model.coef_.round(6).tolist()

    model = make()
    return Row(
        block,
        lambda: work(have.train(model, samples, labels, [0, 1])),
        size // 500,
        lambda _: model.coef_.round(6).tolist(),
    )


def tokenizers(size, folder):
    library = pytest.importorskip("tokenizers")
    text = " ".join(record["name"] + " costs something" for record in records(size))
    tokenizer = library.Tokenizer(library.models.BPE())
    tokenizer.pre_tokenizer = library.pre_tokenizers.Whitespace()
    trainer = library.trainers.BpeTrainer(vocab_size=200, show_progress=False)
    tokenizer.train_from_iterator([text[:2000]], trainer)

    return Row(
        lambda: tokenizer.encode(text, add_special_tokens=False).ids,
        lambda: collect(have.encode(tokenizer, text)),
        size,
        lambda found: list(itertools.chain.from_iterable(found)),
    )


def pydantic(size, folder):
    library = pytest.importorskip("pydantic")
    model = library.create_model("Item", number=(int, ...), name=(str, ...), price=(float, ...))
    items = records(size)

    return Row(
        lambda: library.TypeAdapter(list[model]).validate_python(items),
        lambda: collect(have.validate(model, items)),
        size,
    )


def hashing(size, folder):
    blocks = [bytes([number]) * 2**20 for number in range(4)] * max(1, size // 1000)
    return Row(
        lambda: hashlib.sha256(b"".join(blocks)).hexdigest(),
        lambda: work(have.digest(blocks)),
        len(blocks),
        str,
    )


def compressing(size, folder):
    block = json.dumps(records(1000)).encode()
    blocks = [block] * max(4, size // 1000)

    def shrink():
        return zlib.compress(b"".join(blocks))

    return Row(shrink, lambda: work(have.compress(blocks)), len(blocks), bytes)


LARGE = 5000
ROWS = [
    jinja2,
    ijson,
    lxml,
    elementtree,
    csv_rows,
    openpyxl,
    openpyxl_writing,
    sqlalchemy,
    sqlite,
    pandas,
    polars,
    regular_expressions,
    pillow,
    scikit_learn,
    tokenizers,
    pydantic,
    hashing,
    compressing,
]
