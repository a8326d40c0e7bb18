"""procedures: the batch's own row, its failures and proposals."""

from collections import Counter

import msgspec
import pytest

from sidecar.contract import FileFailure, Reason
from sidecar.library.changes import FileChange, rows_of
from sidecar.library.procedures import Rows, write_rows
from sidecar.library.proposals import StoredProposal, encoded_proposal
from sidecar.tagging.tags import Suggestion, Tags
from tests.procedures.scenes import COUNT, REPLACE, STAMP, Opened, contents, rows, tagged

FAILURE = FileFailure(4, "/s/4", Reason.CHANGED, "It was changed.")


def proposal(file_id: int) -> StoredProposal:
    return StoredProposal(
        file_id=file_id,
        file_path=f"/s/{file_id}",
        before=Tags(),
        record_id=None,
        suggestion=Suggestion("g"),
        after=Tags("g"),
    )


@pytest.mark.parametrize("changes", [[], [tagged(3)]])
def test_the_batch_leaves_its_own_row_its_failures_and_its_proposals(
    opened: Opened, changes: list[FileChange]
) -> None:
    library = opened()
    proposals = [proposal(1), proposal(2)]
    batch = rows_of(STAMP, changes, proposals=proposals, failures=[FAILURE], batch=COUNT)
    write_rows(library, batch)
    assert rows(library, "* FROM auto_tag_batches") == [
        (7, 2, STAMP.date, 1.25, 0.5, 3, 4, 5, 11, 12, 13, 14, 15, 16, 21, 22, 23, 24, 25)
    ]
    assert rows(library, "* FROM auto_tag_failures") == [(7, 4, "/s/4", "changed", "It was changed.")]
    assert rows(library, "* FROM auto_tag_proposals") == [
        (7, entry.file_id, encoded_proposal(entry)) for entry in proposals
    ]
    assert rows(library, "genre FROM audio_files WHERE id = 3") == [("new" if changes else "old",)]


def test_a_file_has_one_failure_and_one_proposal_in_a_run_the_last(opened: Opened) -> None:
    library = opened()
    again = msgspec.structs.replace(FAILURE, message="Again.")
    for failure, path in ((FAILURE, "/s/1"), (again, "/other")):
        entry = msgspec.structs.replace(proposal(1), file_path=path)
        write_rows(library, rows_of(STAMP, proposals=[entry], failures=[failure]))
    assert rows(library, "message FROM auto_tag_failures") == [("Again.",)]
    assert rows(library, "json_extract(proposal, '$.file_path') FROM auto_tag_proposals") == [("/other",)]


def test_rows_about_nothing_change_nothing_not_even_the_marks_of_autoincrement(opened: Opened) -> None:
    library = opened()
    before = contents(library)
    write_rows(library, Rows(run=7))
    write_rows(library, rows_of(STAMP))
    write_rows(library, rows_of(REPLACE, used=Counter()))
    assert contents(library) == before
    write_rows(library, rows_of(STAMP, failures=[FAILURE], batch=COUNT))
    assert contents(library)["sqlite_sequence"] == before["sqlite_sequence"] == [("audio_files", 9)]


def test_the_procedures_stand_in_no_file(opened: Opened) -> None:
    library = opened()
    assert rows(library, "name FROM main.sqlite_master WHERE type IN ('view', 'trigger')") == []
