"""What a process knows of the library's tags: vocabulary, mappings, and who is asking for which.

Loaded once a process, inside a transaction, and again only when another process has changed the
database. One for each process.
"""

import sqlite3
from collections.abc import Iterable

from msgspec import Struct

from sidecar.gemini.mapping import UnknownTags
from sidecar.library import queries
from sidecar.library.writer import Transaction
from sidecar.tagging.mappings import Key, Mapping, Mappings
from sidecar.tagging.vocabulary import Vocabulary


class Tables(Struct, frozen=True):
    """The two tables as one transaction saw them. `generation` dates them, `digest` is of what they hold.

    `are_known`: that is what this process knew then, and `mappings` is empty.
    """

    vocabulary: Vocabulary
    mappings: list[Mapping]
    generation: int
    digest: bytes
    are_known: bool = False


class Knowledge:
    """Shared by all batches. Changed from the trio thread only; the writer thread reads it meanwhile."""

    def __init__(self) -> None:
        self.vocabulary = Vocabulary(())
        self.unknown_tags = UnknownTags(Mappings())
        self.generation = -1
        self._digest = b""
        """Of the tables as they were read; empty where this process has written to them since."""
        self.exclusions_version = 0
        """Rises whenever this process excludes files."""

    def files_excluded(self) -> None:
        """This process has excluded files: requests that wait are looked at anew before they are sent."""
        self.exclusions_version += 1

    @property
    def mappings(self) -> Mappings:
        """The mapping cache in memory."""
        return self.unknown_tags.mappings

    def newer(self, transaction: Transaction) -> Tables | None:
        """The tables, read again if they may have changed. For the writer thread: changes nothing here."""
        if transaction.generation == self.generation:
            return None
        connection: sqlite3.Connection = transaction.connection
        # A shell that writes changes the database between any two batches, and these tables hardly ever.
        digest = queries.tags_digest(connection, transaction.shape)
        if digest == self._digest:
            return Tables(self.vocabulary, [], transaction.generation, digest, are_known=True)
        return Tables(
            queries.vocabulary(connection, transaction.shape),
            queries.mappings(connection),
            transaction.generation,
            digest,
        )

    def adopt(self, tables: Tables | None, saved: Iterable[Mapping] = ()) -> None:
        """Takes over what a transaction has read, and then the mappings that it has saved behind that."""
        if tables is not None and tables.generation > self.generation and self._has_what_is_known(tables):
            if tables.vocabulary.fingerprint != self.vocabulary.fingerprint:
                self.vocabulary = tables.vocabulary
            if not tables.are_known:
                self.mappings.replace(tables.mappings)
                self._digest = tables.digest
            # Last: a transaction that finds this generation here takes the rest for what it is.
            self.generation = tables.generation
        written = [*saved]
        self.mappings.saved(written)
        if written:
            self._digest = b""

    def _has_what_is_known(self, tables: Tables) -> bool:
        """Whether those that were known then still are; else the next transaction has to read them again."""
        return not tables.are_known or tables.digest == self._digest

    def hear(self, tables: Tables | None, key: Key, mapping: Mapping | None) -> None:
        """A person has set or (None) deleted what an unknown tag stands for; `tables`: see `adopt`.

        Nothing else changes: what batches have learnt and saved meanwhile stays known.
        """
        self.adopt(tables)  # of that very transaction, so that none from before it is adopted any more
        if mapping is None:
            self.mappings.remove(key)
        else:
            self.mappings.put(mapping)
        self._digest = b""
