"""contract.notifications: usage is counted number by number."""

from sidecar.contract import Usage

ONE = Usage(requests=1, retries=2, prompt_tokens=3, cached_tokens=4, output_tokens=5, thoughts_tokens=6)
OTHER = Usage(requests=10, retries=20, prompt_tokens=30, cached_tokens=40, output_tokens=50, thoughts_tokens=60)
BOTH = Usage(requests=11, retries=22, prompt_tokens=33, cached_tokens=44, output_tokens=55, thoughts_tokens=66)


def test_every_number_is_added_and_taken_away() -> None:
    assert ONE + OTHER == OTHER + ONE == BOTH
    assert BOTH - OTHER == ONE and BOTH - ONE == OTHER
    assert sum([ONE, OTHER], Usage()) == BOTH
    assert Usage() == ONE - ONE
