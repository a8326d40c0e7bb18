"""Assertions of the harness say what they compared, as those of the tests do."""

import pytest

pytest.register_assert_rewrite("tests.harness")
