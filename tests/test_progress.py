"""runs.progress: the law of the counters, and the sentences that a person reads."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.contract import FileFailure, Progress, Reason, RunStatus, Usage
from sidecar.library.run_writes import RunKind
from sidecar.runs.outcomes import BatchOutcome
from sidecar.runs.progress import Tally, Waiting, completion_message, progress


def failures(*reasons: Reason) -> list[FileFailure]:
    return [FileFailure(number, f"{number}.mp3", reason, "why") for number, reason in enumerate(reasons)]


def tally(total: int = 10, batches: int = 2) -> Tally:
    return Tally(total_files=total, total_batches=batches)


def moment(state: Tally, elapsed: float = 10, waiting: Waiting | None = None) -> Progress:
    return progress("run", state, Usage(requests=3), elapsed, waiting)


def test_at_the_start_all_files_remain() -> None:
    start = moment(tally(), elapsed=0)
    assert (start.remaining_files, start.processed_files, start.current_batch) == (10, 0, 0)
    assert (start.eta_seconds, start.files_per_minute, start.waiting_seconds) == (None, 0, 0)
    assert start.status == "Tagging: 0 of 10 files"


def test_a_dry_run_does_not_say_that_it_tags() -> None:
    assert progress("run", tally(), Usage(), 10, None, dry_run=True).status == "Dry run: 0 of 10 files"


def test_a_finished_batch_moves_its_files_to_tagged_failed_and_skipped() -> None:
    after = tally().with_batch(BatchOutcome(2, failures(Reason.BLOCKED, Reason.CHANGED, Reason.DELETED)))
    assert (after.processed_files, after.failed_files, after.skipped_files) == (2, 1, 2)
    assert (after.remaining_files, after.current_batch) == (5, 1)
    assert after.reasons == {Reason.BLOCKED: 1, Reason.CHANGED: 1, Reason.DELETED: 1}


def test_what_is_waited_for_comes_on_top_of_what_the_rest_takes() -> None:
    after = tally().with_batch(BatchOutcome(5, []))
    assert moment(after, elapsed=8).eta_seconds == 8
    assert moment(after, elapsed=8, waiting=Waiting(27, outage=False)).eta_seconds == 35


def test_in_an_outage_nobody_knows_how_long_the_rest_takes() -> None:
    after = tally().with_batch(BatchOutcome(0, failures(Reason.SERVICE_UNAVAILABLE)))
    assert moment(after, waiting=Waiting(3, outage=True)).eta_seconds is None
    assert moment(after).eta_seconds is not None


def test_a_tally_is_not_changed_by_a_further_batch() -> None:
    first = tally().with_batch(BatchOutcome(1, failures(Reason.BLOCKED)))
    first.with_batch(BatchOutcome(1, failures(Reason.BLOCKED)))
    assert first.reasons == {Reason.BLOCKED: 1}
    assert tally().reasons == {}


@given(st.lists(st.tuples(st.integers(0, 5), st.lists(st.sampled_from(Reason), max_size=5))))
def test_the_counters_always_add_up_and_never_go_back(batches: list[tuple[int, list[Reason]]]) -> None:
    total = sum(tagged + len(reasons) for tagged, reasons in batches) + 1
    state, last = tally(total, len(batches)), (0, 0, 0, 0)
    for tagged, reasons in batches:
        state = state.with_batch(BatchOutcome(tagged, failures(*reasons)))
        said = moment(state)
        parts = (said.processed_files, said.failed_files, said.skipped_files)
        assert sum(parts) + said.remaining_files == total
        now = (*parts, said.current_batch)
        assert all(new >= old for new, old in zip(now, last, strict=True))
        last = now
    assert state.remaining_files == 1
    assert state.current_batch == len(batches)


def test_rate_and_time_left_come_from_what_is_closed() -> None:
    said = moment(tally().with_batch(BatchOutcome(4, failures(Reason.BLOCKED))), elapsed=10)
    assert (said.files_per_minute, said.eta_seconds) == (30, 10)
    assert said.elapsed_seconds == 10
    assert said.usage == Usage(requests=3)


def test_at_the_end_no_time_is_left() -> None:
    said = moment(tally().with_batch(BatchOutcome(10, [])))
    assert (said.remaining_files, said.eta_seconds) == (0, 0)
    assert said.status == "Tagging: 10 of 10 files"


def test_one_file_is_not_files() -> None:
    assert moment(tally(1, 1)).status == "Tagging: 0 of 1 file"


def test_the_status_says_why_nothing_is_sent() -> None:
    limited = moment(tally(), waiting=Waiting(14.6, outage=False))
    assert limited.status == "Waiting 15 s: Gemini's rate limit"
    assert limited.waiting_seconds == 14.6
    assert moment(tally(), waiting=Waiting(30, outage=True)).status == (
        "Gemini cannot be reached; trying again in 30 s"
    )


def test_a_wait_of_an_instant_is_said_to_be_a_second() -> None:
    assert "1 s" in moment(tally(), waiting=Waiting(0.01, outage=False)).status


# --- the last sentence --------------------------------------------------------------------------------


def said_at_the_end(state: Tally, status: RunStatus = RunStatus.COMPLETED, why: str = "") -> str:
    return completion_message(state, status, why)


def test_a_clean_run_says_how_many_were_tagged() -> None:
    assert said_at_the_end(tally().with_batch(BatchOutcome(10, []))) == "10 files tagged."
    assert said_at_the_end(tally(1, 1).with_batch(BatchOutcome(1, []))) == "1 file tagged."
    assert said_at_the_end(tally(0, 0)) == "0 files tagged."


def test_one_reason_is_said_without_its_number() -> None:
    state = tally().with_batch(BatchOutcome(8, failures(Reason.BLOCKED, Reason.BLOCKED)))
    assert said_at_the_end(state) == (
        "8 files tagged, 2 failed (blocked by Gemini's content filter). Start tagging again to retry what failed."
    )


def test_several_reasons_are_said_the_most_frequent_first() -> None:
    state = tally().with_batch(BatchOutcome(7, failures(Reason.TIMEOUT, Reason.BLOCKED, Reason.BLOCKED)))
    assert "3 failed (2 blocked by Gemini's content filter, 1 not answered by Gemini in time)" in said_at_the_end(
        state
    )


@pytest.mark.parametrize("reason", [Reason.SERVICE_UNAVAILABLE, Reason.TIMEOUT])
def test_where_gemini_did_not_answer_the_last_cause_is_said_too(reason: Reason) -> None:
    state = tally().with_batch(BatchOutcome(0, [FileFailure(1, "1.mp3", reason, "Earlier.")]))
    state = state.with_batch(BatchOutcome(8, [FileFailure(2, "2.mp3", reason, "No route.")]))
    assert said_at_the_end(state).endswith("). No route. Start tagging again to retry what failed.")


def test_skipped_files_have_their_own_reasons() -> None:
    state = tally().with_batch(BatchOutcome(8, failures(Reason.CHANGED, Reason.DELETED)))
    assert said_at_the_end(state) == ("8 files tagged, 2 skipped (1 changed meanwhile, 1 deleted meanwhile).")


def test_a_cancelled_run_says_what_remains_and_how_to_go_on() -> None:
    message = said_at_the_end(tally().with_batch(BatchOutcome(4, [])), RunStatus.CANCELLED)
    assert message == "Cancelled: 4 files tagged, 6 remaining. Start tagging again to go on."


def test_where_files_were_named_the_same_have_to_be_named_again() -> None:
    failed = tally().with_batch(BatchOutcome(9, failures(Reason.BLOCKED)))
    message = completion_message(failed, RunStatus.COMPLETED, "", RunKind.NAMED)
    assert message.endswith("Start tagging the same files again to retry what failed.")
    assert "the same files again to go on" in completion_message(tally(), RunStatus.CANCELLED, "", RunKind.NAMED)


@pytest.mark.parametrize(
    ("given", "status", "message"),
    [
        (
            4,
            RunStatus.CANCELLED,
            "Cancelled: 4 files given proposals, 6 remaining. Nothing has been written: look at",
        ),
        (0, RunStatus.CANCELLED, "Cancelled: 0 files given proposals, 10 remaining. Nothing has been written."),
        (
            0,
            RunStatus.INTERRUPTED,
            "Interrupted: 0 files given proposals, 10 remaining. Nothing has been written.",
        ),
    ],
)
def test_a_dry_run_that_was_cut_off_does_not_say_that_another_goes_on(
    given: int, status: RunStatus, message: str
) -> None:
    state = tally().with_batch(BatchOutcome(given, []))
    assert completion_message(state, status, "", RunKind.DRY).startswith(message)


def test_a_dry_run_with_nothing_to_look_at_does_not_say_to_look_at_it() -> None:
    state = tally(1, 1).with_batch(BatchOutcome(0, failures(Reason.BLOCKED)))
    assert completion_message(state, RunStatus.COMPLETED, "", RunKind.DRY) == (
        "0 files given proposals, 1 failed (blocked by Gemini's content filter). Nothing has been written."
    )


def test_proposals_that_could_not_be_saved_are_applied_again() -> None:
    state = tally().with_batch(BatchOutcome(9, failures(Reason.DATABASE_ERROR)))
    message = completion_message(state, RunStatus.COMPLETED, "", RunKind.APPLY)
    assert message.endswith("Apply the proposals again to retry what failed.")


def test_of_a_run_whose_process_died_the_numbers_are_said_without_reasons() -> None:
    state = Tally(total_files=10, total_batches=2, processed_files=4, failed_files=1, skipped_files=2)
    assert said_at_the_end(state, RunStatus.INTERRUPTED) == (
        "Interrupted: 4 files tagged, 1 failed, 2 skipped, 3 remaining. Start tagging again to go on."
    )


@pytest.mark.parametrize("status", [RunStatus.FAILED, RunStatus.QUOTA_EXHAUSTED])
def test_a_run_that_ended_early_says_why_first(status: RunStatus) -> None:
    message = said_at_the_end(tally().with_batch(BatchOutcome(4, failures(Reason.TIMEOUT))), status, "It broke.")
    assert message == ("It broke. So far: 4 files tagged, 1 failed (not answered by Gemini in time), 5 remaining.")


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_words(reason: Reason) -> None:
    message = said_at_the_end(tally().with_batch(BatchOutcome(9, failures(reason))))
    assert ("1 skipped (" if reason.is_skip else "1 failed (") in message
    assert "()" not in message
    assert "_" not in message
