"""Many ids as one bound JSON text: one statement, one step, however many there are."""

from collections.abc import Iterable

import msgspec

WANTED = "(SELECT value AS auto_tag_wanted FROM json_each(?) LIMIT -1) CROSS JOIN"
"""To select from, before the table whose rows are looked up, `ON … = auto_tag_wanted`, as no column of theirs is
called.

`IN` would leave SQLite the choice to look through the whole table instead, and it makes that choice wherever
ANALYZE has last seen the table nearly empty. CROSS JOIN leaves none, and LIMIT keeps a subquery whole. Where there
are further conditions on the table, SQLite may still read all of it, for a Bloom filter (3.40 does): the rows of a
batch are told apart after the query.
"""


def as_json(ids: Iterable[int]) -> str:
    """The text for `WANTED`."""
    # Not by `json`, which is ten times slower, and would keep the event loop waiting for a million of them.
    return msgspec.json.encode(list(ids)).decode()
