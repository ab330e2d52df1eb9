"""Data of publications as JSON: what is taken, and what is said about what is not."""

from __future__ import annotations

import datetime
import json
import sys
from decimal import Decimal
from typing import Any

import plotly.graph_objects as go
import pytest

from ws_service.publisher.json_data import encode


@pytest.mark.parametrize(
    "data", [None, True, 0, 1.5, "text", "ü€😀", [], {}, {"a": [1, {"b": None}]}, {1: 2}, ("a", "b"), 2**70]
)
def test_what_json_expresses_is_encoded_as_it_is(data: Any) -> None:
    assert json.loads(encode(data)) == json.loads(json.dumps(data))


def test_the_text_is_compact_and_in_utf_8() -> None:
    assert encode({"a": [1, 2], "ü": "€"}) == '{"a":[1,2],"ü":"€"}'.encode()


@pytest.mark.parametrize("nan", [float("nan"), float("inf"), -float("inf")])
def test_nan_and_infinity_are_null_as_in_dash(nan: float) -> None:
    assert encode({"y": [1.0, nan, "NaN"]}) == b'{"y":[1.0,null,"NaN"]}'


def test_what_plotlys_encoder_takes_is_taken() -> None:
    data = {
        "y": [1.0, float("nan")],
        "when": datetime.datetime(2026, 11, 28, 12, 30),
        "day": datetime.date(2026, 11, 28),
        "price": Decimal("189.5"),
        "figure": go.Figure(go.Scatter(y=[1, 2])),
    }
    encoded = json.loads(encode(data))
    assert encoded["y"] == [1.0, None]
    assert encoded["when"] == "2026-11-28T12:30:00"
    assert encoded["day"] == "2026-11-28"
    assert float(encoded["price"]) == 189.5
    assert encoded["figure"]["data"][0]["type"] == "scatter"
    assert b"NaN" not in encode(data)


def test_numpy_and_pandas_are_taken() -> None:
    numpy = pytest.importorskip("numpy", reason="no dependency of this project: Dash needs neither")
    pandas = pytest.importorskip("pandas", reason="no dependency of this project: Dash needs neither")
    data = {
        "array": numpy.array([[1.0, float("nan")], [float("inf"), 2]]),
        "scalar": numpy.float32(0.5),
        "int": numpy.int64(7),
        "series": pandas.Series([1, None]),
        "index": pandas.date_range("2026-11-28", periods=1),
        "missing": pandas.NaT,
    }
    encoded = json.loads(encode(data))
    assert encoded["array"] == [[1.0, None], [None, 2]]
    assert (encoded["scalar"], encoded["int"]) == (0.5, 7)
    assert encoded["series"] == [1.0, None]
    assert encoded["index"][0].startswith("2026-11-28T00:00:00")
    assert encoded["missing"] is None


def test_what_cannot_be_encoded_is_named_by_its_key() -> None:
    with pytest.raises(TypeError, match=r"data\['rows'\]\[1\]\['blob'\] is a bytes, which JSON does not have"):
        encode({"rows": [{"blob": "x"}, {"blob": b"x"}]})
    with pytest.raises(TypeError, match=r"data\['o'\] is a object"):
        encode({"when": datetime.date(2026, 1, 1), "o": object()})
    with pytest.raises(TypeError, match=r"data\['a'\] has the key \(1, 2\), a tuple"):
        encode({"a": {(1, 2): 3}})


def test_without_plotly_it_says_that_plotly_would_help(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plotly.io.json", None)
    with pytest.raises(TypeError, match=r"data\['t'\] is a datetime.date, .* or install plotly"):
        encode({"n": float("nan"), "t": datetime.date(2026, 1, 1)})
    assert encode([float("nan")]) == b"[null]"


def test_half_of_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(ValueError, match=r"data\['name'\] is no text that UTF-8 can encode"):
        encode({"name": "\ud800"})


def test_data_that_contains_itself_is_refused() -> None:
    data: dict[str, Any] = {}
    data["a"] = [data]
    with pytest.raises(ValueError, match=r"data\['a'\]\[0\] contains itself"):
        encode(data)


def test_data_that_is_nested_without_end_is_refused() -> None:
    data: Any = None
    for _ in range(200_000):
        data = [data]
    with pytest.raises((ValueError, TypeError), match="nested deeper"):
        encode(data)
    while data:  # one level at a time: freeing it at once would recurse too
        data = data.pop()


def test_an_object_whose_conversion_fails_is_named() -> None:
    class Odd:
        def to_plotly_json(self) -> object:
            raise RuntimeError("not today")

    with pytest.raises(TypeError, match=r"data\['odd'\] is a .*Odd"):
        encode({"odd": Odd()})
