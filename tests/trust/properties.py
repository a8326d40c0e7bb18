"""Hypothesis examples over what reads other people's bytes: the unit tests' own properties, many times over.

Decoder and line splitter, Gemini's answers and refusals, the normaliser, settings, the path relativiser.
"""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import hypothesis
import trio
from hypothesis import HealthCheck

from tests import (
    test_failures,
    test_hostile_answers,
    test_jsonrpc,
    test_lines,
    test_paths,
    test_settings,
    test_vocabulary,
)
from tests.trust.row import Counts, Row, attempt

PROPERTIES: tuple[Callable[[], None], ...] = (
    test_jsonrpc.test_read_never_raises_and_every_answer_is_a_line_of_ascii_json,
    test_jsonrpc.test_a_result_survives_the_wire,
    test_jsonrpc.test_a_string_id_comes_back_as_the_string_it_was,
    test_lines.test_where_the_chunks_were_cut_makes_no_difference,
    test_hostile_answers.test_no_text_raises_and_every_file_is_sorted_exactly_once,
    test_failures.test_no_body_and_no_header_raises,
    test_vocabulary.test_any_text_can_be_looked_up,
    test_vocabulary.test_every_tag_finds_itself,
    test_settings.test_no_env_content_raises,
    test_paths.test_the_users_name_is_never_left_below_a_home,
    test_paths.test_what_smallest_and_largest_share_all_share,
    test_paths.test_any_path_can_be_cut,
    test_paths.test_a_path_that_ends_in_a_name_never_becomes_empty,
)


async def run(size: int, seed: int) -> Counts:
    """`size` examples, evenly over the properties."""
    logging.getLogger("dotenv").setLevel(logging.ERROR)  # it says of every broken line that it is broken
    counts = Counts()
    each = -(-size // len(PROPERTIES))
    for number, test in enumerate(PROPERTIES):

        async def check(test: Callable[[], None] = test, number: int = number) -> None:
            await trio.to_thread.run_sync(partial(_examples, test, each, seed + number, counts))

        counts.failures += await attempt(f"{test.__module__}.{test.__name__}", check)
    return counts


def _examples(test: Callable[[], None], count: int, seed: int, counts: Counts) -> None:
    """Raises what the property raises for the smallest example that Hypothesis finds."""
    described: Any = test.hypothesis  # type: ignore[attr-defined]
    inner = described.inner_test

    def counted(*args: Any, **kwargs: Any) -> Any:
        counts.done += 1
        return inner(*args, **kwargs)

    described.inner_test = counted
    try:
        many = hypothesis.settings(
            max_examples=count, database=None, deadline=None, suppress_health_check=list(HealthCheck)
        )
        hypothesis.seed(seed)(many(test))()
    finally:
        described.inner_test = inner


ROW = Row("examples", "Hypothesis examples: decoder, answers, normaliser, settings, paths", (60_000, 600_000), run)
