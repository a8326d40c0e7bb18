"""contract.params: what each method takes, to the last value, and how what it does not take is refused."""

from typing import Any

import msgspec
import pytest

from sidecar.contract import BudgetPeriod, Code, Mode, Reason, RpcError, ServiceTier, params
from sidecar.contract.params import Params, decode_params

Taken = tuple[type[Params], dict[str, Any]]


def refusal(kind: type[Params], given: Any) -> str:
    """The sentence that these params are refused with."""
    raw = given if isinstance(given, bytes) else msgspec.json.encode(given)
    with pytest.raises(RpcError) as caught:
        decode_params(kind, raw)
    assert caught.value.code is Code.INVALID_PARAMS
    return caught.value.message


def decoded(kind: type[Params], given: dict[str, Any]) -> dict[str, Any]:
    return msgspec.structs.asdict(decode_params(kind, msgspec.json.encode(given)))


# --- by name, strictly ----------------------------------------------------------------------------


@pytest.mark.parametrize("raw", [None, b"{}", b' {"limit": null, "after_id": null} '])
def test_absent_and_null_params_are_the_defaults(raw: bytes | None) -> None:
    assert decode_params(params.UntaggedParams, raw) == params.UntaggedParams(limit=None, after_id=0)


def test_a_number_that_no_float_holds_is_refused_under_its_name() -> None:
    sentence = refusal(params.ConfigureParams, b'{"batch_size": 5, "request_timeout_seconds": 1e999}')
    assert sentence == "`request_timeout_seconds`: a number is out of range."
    long_name = b'{"' + b"x" * 100 + b'": 1e999}'
    assert refusal(params.ConfigureParams, long_name) == f"`{'x' * 80}`: a number is out of range."


def test_params_by_position_are_refused() -> None:
    assert refusal(params.UntaggedParams, b"[1]") == "Params are taken by name: send an object, not an array."


@pytest.mark.parametrize("raw", [b'{"limit":', b'{"limit": "\\ud800"}', b'{"limit":' + b"[" * 100_000])
def test_params_that_cannot_be_read_are_refused_not_raised(raw: bytes) -> None:
    assert "cannot be read" in refusal(params.UntaggedParams, raw)


def test_an_unknown_param_is_refused_by_its_name_cut_to_eighty_characters() -> None:
    assert refusal(params.UntaggedParams, {"limits": 1}) == "Unknown parameter `limits`."
    assert refusal(params.NoParams, {"x" * 100: None}) == f"Unknown parameter `{'x' * 80}`."
    for name in ("surprise", "x" * 100):
        sentence = refusal(params.EstimateCostParams, {"prices": {"input": 1, "output": 1, name: 1}})
        assert sentence == f"Unknown parameter `prices.{name[:80]}`.", "strict inside of `prices` as well"


def test_a_wrong_value_is_refused_with_the_fields_name_and_one_full_stop() -> None:
    assert refusal(params.UntaggedParams, {"limit": "x"}) == "`limit`: takes a whole number."
    assert (
        refusal(params.ConfigureParams, {"base_url": "http://a:99999", "model": "m"})
        == "`base_url` cannot be used: its port is not a number from 1 to 65535."
    )


@pytest.mark.parametrize(
    ("kind", "given", "sentence"),
    [
        (params.AutoTagParams, {"batch_size": 0}, "`batch_size`: at least 1."),
        (params.AutoTagParams, {"batch_size": 501}, "`batch_size`: at most 500."),
        (params.ConfigureParams, {"hints": "x" * 2001}, "`hints`: at most 2,000 characters."),
        (params.ConfigureParams, {"request_timeout_seconds": 0}, "`request_timeout_seconds`: more than 0."),
        (params.EstimateCostParams, {"prices": {"input": -1, "output": 1}}, "`prices.input`: at least 0."),
        (params.ExclusionParams, {"glob": ""}, "`glob`: at least 1 character."),
        (
            params.ConfigureParams,
            {"base_url": "x"},
            "`base_url`: begins with http:// or https://, without blanks.",
        ),
        (params.ConfigureParams, {"model": ""}, "`model`: no model has such a name."),
        (params.AutoTagParams, {"model": "a b"}, "`model`: no model has such a name."),
        (params.AutoTagParams, {"file_ids": [1, 2**63]}, "`file_ids[1]`: at most 9,223,372,036,854,775,807."),
        (params.UntaggedParams, {"after_id": -(2**63) - 1}, "`after_id`: at least -9,223,372,036,854,775,808."),
    ],
)
def test_a_value_out_of_bounds_is_refused_with_the_bound(
    kind: type[Params], given: dict[str, Any], sentence: str
) -> None:
    assert refusal(kind, given) == sentence


@pytest.mark.parametrize(
    ("kind", "given", "sentence"),
    [
        (params.ConfigureParams, {"max_attempts": "5"}, "`max_attempts`: takes a whole number."),
        (params.ConfigureParams, {"backoff_max_seconds": "5"}, "`backoff_max_seconds`: takes a number."),
        (params.ConfigureParams, {"hints": 5}, "`hints`: takes text."),
        (params.CheckKeyParams, {"verify": 1}, "`verify`: takes true or false."),
        (params.AutoTagParams, {"file_ids": 5}, "`file_ids`: takes a list."),
        (params.AutoTagParams, {"file_ids": [1, "x"]}, "`file_ids[1]`: takes a whole number."),
        (params.EstimateCostParams, {"prices": 5}, "`prices`: takes an object."),
        (params.EstimateCostParams, {"prices": {"input": "free"}}, "`prices.input`: takes a number."),
        (params.ConfigureParams, {"service_tier": "fast"}, "`service_tier`: takes `standard` or `flex`."),
        (params.AutoTagParams, {"mode": 5}, "`mode`: takes `merge` or `replace`."),
        (params.ApplyParams, {"run_id": "r", "accept": "none"}, "`accept`: takes `all` or a list."),
        (params.ApplyParams, {"run_id": "r", "accept": ["all"]}, "`accept[0]`: takes a whole number."),
        (
            params.DeleteMappingParams,
            {"tag_type": "tone' - at `$.mode`", "invalid_tag": "x"},
            "`tag_type`: takes `genre`, `mood`, `occasion`, `keyword` or `keywords`.",
        ),
    ],
)
def test_a_value_of_another_kind_is_refused_with_what_is_taken(
    kind: type[Params], given: dict[str, Any], sentence: str
) -> None:
    assert refusal(kind, given) == sentence


@pytest.mark.parametrize("kind", Params.__subclasses__())
@pytest.mark.parametrize("value", ["\x02", 1, 1.5, True, [], {}, ["x"], [[]], [1.5], 2**70, -(2**70), "x" * 5000])
def test_no_refusal_is_in_the_words_of_a_library(kind: type[Params], value: Any) -> None:
    for name in kind.__struct_fields__:
        try:
            decode_params(kind, msgspec.json.encode({name: value}))
        except RpcError as error:
            assert error.message.startswith("`") and len(error.message) < 250
            assert not any(word in error.message for word in ("Expected", "Invalid", "Object", "$", "array"))


def test_a_needed_param_that_is_missing_is_named() -> None:
    assert refusal(params.UndoParams, {}) == "`run_id` is missing."
    assert refusal(params.EstimateCostParams, {"prices": {"input": 1}}) == "`prices.output` is missing."


# --- defaults ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "needed", "defaults"),
    [
        (params.CheckKeyParams, {}, {"verify": False}),
        (
            params.AutoTagParams,
            {},
            {
                "batch_size": None,
                "max_parallel": None,
                "file_ids": None,
                "mode": Mode.MERGE,
                "dry_run": False,
                "model": None,
            },
        ),
        (params.CancelParams, {}, {"run_id": None}),
        (params.RunParams, {}, {"run_id": None}),
        (params.RetryParams, {}, {"run_id": None, "reasons": None}),
        (params.ApplyParams, {"run_id": "r"}, {"accept": "all", "reject": []}),
        (params.ListRunsParams, {}, {"limit": 20}),
        (params.EstimateParams, {}, {"batch_size": None, "file_ids": None}),
        (params.BudgetParams, {}, {"max_requests": None, "max_tokens": None, "per": BudgetPeriod.RUN}),
        (params.ExclusionParams, {}, {"glob": None, "file_id": None}),
    ],
)
def test_what_is_left_out_has_the_default_of_the_contract(
    kind: type[Params], needed: dict[str, Any], defaults: dict[str, Any]
) -> None:
    assert decoded(kind, needed) == needed | defaults


def test_configure_leaves_everything_that_it_does_not_name() -> None:
    assert set(decoded(params.ConfigureParams, {}).values()) == {None}


def test_prices_are_dollars_unless_another_currency_is_named() -> None:
    cost = decode_params(params.EstimateCostParams, b'{"prices": {"input": 0.1, "output": 0.4}}')
    assert cost.prices == params.Prices(input=0.1, output=0.4, cached=None, currency="USD")


# --- bounds -----------------------------------------------------------------------------------------

KEY = {"tag_type": "mood", "invalid_tag": "meh"}
MAPPING = {**KEY, "valid_tag": "calm"}
PRICES = {"input": 1, "output": 1}
ID_MIN, ID_MAX = -(2**63), 2**63 - 1


@pytest.mark.parametrize(
    ("kind", "needed", "name", "taken", "refused"),
    [
        (params.ConfigureParams, {}, "api_key", ["", "k" * 4096], ["k" * 4097]),
        (
            params.ConfigureParams,
            {},
            "model",
            ["m", "m" * 128, "a/b.c"],
            ["", "m" * 129, "-m", "a b", "a/../b", "m\n"],
        ),
        (
            params.ConfigureParams,
            {},
            "base_url",
            ["http://a", "https://a", "https://a/" + "a" * 2038],
            [
                *(
                    "",
                    "ftp://a",
                    "https://",
                    "https://a\n",
                    "https://a b",
                    " https://a",
                    "xhttps://a",
                    "https://a/" + "a" * 2039,
                ),
                *("http://a..b", "http://[::1", "http://a:99999", "http://:80"),
            ],
        ),
        (params.ConfigureParams, {}, "batch_size", [1, 500], [0, 501]),
        (params.ConfigureParams, {}, "max_parallel", [1, 32], [0, 33]),
        (params.ConfigureParams, {}, "request_timeout_seconds", [0.001, 3600], [0, -1, 3600.5]),
        (params.ConfigureParams, {}, "max_attempts", [1, 100], [0, 101, 1.5]),
        (params.ConfigureParams, {}, "outage_max_seconds", [0, 86_400], [-1, 86_401]),
        (params.ConfigureParams, {}, "hints", ["", "h" * 2000], ["h" * 2001]),
        (params.ConfigureParams, {}, "service_tier", list(ServiceTier), ["fast", ""]),
        (params.UntaggedParams, {}, "limit", [0, ID_MAX], [-1, ID_MAX + 1]),
        (params.UntaggedParams, {}, "after_id", [ID_MIN, ID_MAX], [ID_MIN - 1, ID_MAX + 1]),
        (params.AutoTagParams, {}, "mode", list(Mode), ["add"]),
        (params.RetryParams, {}, "reasons", [[], list(Reason)], [["tired"]]),
        (params.ApplyParams, {"run_id": "r"}, "accept", ["all", [], [1]], ["none", ["all"], 1]),
        (
            params.DeleteMappingParams,
            KEY,
            "tag_type",
            ["genre", "mood", "occasion", "keyword", "keywords"],
            ["genres", "Mood", "moods", "occasions", ""],
        ),
        (params.DeleteMappingParams, KEY, "invalid_tag", ["t", "t" * 200], ["", "t" * 201]),
        (params.SetMappingParams, MAPPING, "valid_tag", ["t", "REMOVE", "t" * 200], ["", "t" * 201]),
        (params.ExclusionParams, {}, "glob", ["*", "g" * 4096], ["", "g" * 4097]),
        (params.BudgetParams, {}, "per", list(BudgetPeriod), ["week"]),
    ],
)
def test_bounds_are_those_of_the_contract_and_both_ends_are_within(
    kind: type[Params], needed: dict[str, Any], name: str, taken: list[Any], refused: list[Any]
) -> None:
    for value in taken:
        assert msgspec.to_builtins(decoded(kind, {**needed, name: value})[name]) == value
    for value in refused:
        assert f"`{name}" in refusal(kind, {**needed, name: value})


@pytest.mark.parametrize(
    "prices",
    [
        {"input": 0, "output": 1e9},
        {**PRICES, "cached": 0.5},
        {**PRICES, "cached": None},
        {**PRICES, "currency": "C" * 16},
    ],
)
def test_prices_from_nothing_to_a_thousand_million_are_taken(prices: dict[str, Any]) -> None:
    taken = decode_params(params.EstimateCostParams, msgspec.json.encode({"prices": prices})).prices
    assert {name: getattr(taken, name) for name in prices} == prices


@pytest.mark.parametrize(
    "wrong",
    [
        {"input": -0.001},
        {"output": 1e9 + 0.5},
        {"cached": -1},
        {"input": "free"},
        {"currency": "C" * 17},
    ],
)
def test_other_prices_are_refused_by_the_place_where_they_stand(wrong: dict[str, Any]) -> None:
    [name] = wrong
    assert f"`prices.{name}`" in refusal(params.EstimateCostParams, {"prices": {**PRICES, **wrong}})


def test_a_null_inside_of_an_object_means_the_default_too_where_there_is_one() -> None:
    raw = b'{"prices": {"input": 1, "output": 2, "cached": null, "currency": null}}'
    taken = decode_params(params.EstimateCostParams, raw).prices
    assert taken == params.Prices(input=1, output=2, cached=None, currency="USD")
    assert (
        refusal(params.EstimateCostParams, {"prices": {**PRICES, "input": None}}) == "`prices.input` is missing."
    )
