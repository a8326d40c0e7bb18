"""What a settings page keeps up: the mapping cache and the exclusions."""

from datetime import UTC, datetime

from sidecar.contract import (
    DeleteMappingParams,
    Exclusion,
    ExclusionParams,
    NoParams,
    Removed,
    SetMappingParams,
    TagMapping,
    TagType,
    invalid_params,
)
from sidecar.library import exclusions, mapping_rows, queries
from sidecar.library.own_tables import create_tables
from sidecar.library.writer import Transaction
from sidecar.rpc.methods.app import Answer, App
from sidecar.runs.knowledge import Tables
from sidecar.runs.stamps import rfc3339
from sidecar.tagging.mappings import REMOVE, Mapping
from sidecar.tagging.vocabulary import normalise, tag_type


async def list_tag_mappings(app: App, _params: NoParams) -> Answer[list[TagMapping]]:
    """The mapping cache: what stands for tags that are not in the vocabulary."""
    return Answer(await app.library.read(lambda c, _: mapping_rows.list_mappings(c)))


async def set_tag_mapping(app: App, params: SetMappingParams) -> Answer[TagMapping]:
    """Says what an invalid tag stands for from now on."""
    kind = _kind(params.tag_type)
    knowledge = app.runs.knowledge

    def write(transaction: Transaction) -> tuple[Tables | None, TagMapping]:
        tables = knowledge.newer(transaction)
        vocabulary = tables.vocabulary if tables else knowledge.vocabulary
        if not normalise(params.invalid_tag):
            raise invalid_params("`invalid_tag`: this is no tag.")
        if vocabulary.find(kind, params.invalid_tag) is not None:
            raise invalid_params(f"`invalid_tag`: this is a {kind} of the vocabulary, so it is never mapped.")
        valid = REMOVE if params.valid_tag == REMOVE else vocabulary.find(kind, params.valid_tag)
        if valid is None:
            raise invalid_params(f"`valid_tag`: the vocabulary has no active {kind} of that name.")
        connection, shape = transaction.connection, transaction.shape
        return tables, mapping_rows.set_mapping(
            connection, shape, kind, params.invalid_tag, valid, datetime.now(UTC)
        )

    tables, entry = await app.library.write(write)
    mapping = Mapping(kind, entry.invalid_tag, entry.valid_tag, entry.tag_type)
    knowledge.hear(tables, mapping.key, mapping)
    return Answer(entry)


async def delete_tag_mapping(app: App, params: DeleteMappingParams) -> Answer[Removed]:
    """Forgets what an invalid tag stands for: Gemini is asked when it comes up again."""
    kind = _kind(params.tag_type)
    knowledge = app.runs.knowledge

    def write(transaction: Transaction) -> tuple[Tables | None, bool]:
        tables = knowledge.newer(transaction)
        return tables, mapping_rows.delete_mapping(transaction.connection, kind, params.invalid_tag)

    tables, removed = await app.library.write(write)
    knowledge.hear(tables, (kind, normalise(params.invalid_tag)), None)
    return Answer(Removed(removed))


async def list_exclusions(app: App, _params: NoParams) -> Answer[list[Exclusion]]:
    """The exclusions: globs and single files that no request, estimate or count may hold."""
    return Answer(await app.library.read(lambda c, _: exclusions.list_exclusions(c)))


async def add_exclusion(app: App, params: ExclusionParams) -> Answer[Exclusion]:
    """Keeps files out of tagging: those that a glob covers, or one file.

    What a glob has kept out it keeps out, also when other files change the paths as sent.
    """
    _refuse_both(params)

    def write(transaction: Transaction) -> Exclusion:
        connection = transaction.connection
        if params.file_id is not None and queries.unknown_ids(connection, [params.file_id]):
            raise invalid_params(f"`file_id`: no file has the id {params.file_id}.")
        create_tables(connection)
        entry = Exclusion(params.glob, params.file_id, rfc3339(datetime.now(UTC)))
        added = exclusions.add_exclusion(connection, entry)
        exclusions.keep_root(connection, queries.library_root(connection))
        return added

    entry = await app.library.write(write, dates_reads=True)
    app.runs.knowledge.files_excluded()
    return Answer(entry)


async def remove_exclusion(app: App, params: ExclusionParams) -> Answer[Removed]:
    """Lets files be tagged again."""
    _refuse_both(params)

    def write(transaction: Transaction) -> bool:
        connection = transaction.connection
        return exclusions.remove_exclusion(connection, params.glob, params.file_id)

    return Answer(Removed(await app.library.write(write)))


def _kind(word: str) -> TagType:
    kind = tag_type(word)
    assert kind is not None, word
    return kind


def _refuse_both(params: ExclusionParams) -> None:
    if (params.glob is None) == (params.file_id is None):
        raise invalid_params("Name one of `glob` and `file_id`.")
