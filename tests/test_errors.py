"""The error tree."""

from __future__ import annotations

import pytest

from stainstream import errors
from stainstream.errors import MissingExtra, NotPixelwise, StainstreamError, WireError


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_is_in_the_tree_and_in_its_drawing(name: str) -> None:
    assert issubclass(getattr(errors, name), StainstreamError)
    assert errors.__doc__ is not None
    assert f"{name} " in f"{errors.__doc__} ".replace("\n", " ")


def test_every_error_is_public() -> None:
    assert set(errors.__all__) == {name for name, value in vars(errors).items() if isinstance(value, type)}


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (("cannot open x",), "cannot open x"),
        (("cannot open x", "it is busy"), "cannot open x: it is busy"),
        (("cannot open x", "it is busy", "wait"), "cannot open x: it is busy; wait"),
        (("cannot open x", "", "wait"), "cannot open x; wait"),
        (("cannot\nopen x", "two\n\tlines  here"), "cannot open x: two lines here"),
    ],
)
def test_a_message_is_one_line(parts: tuple[str, ...], message: str) -> None:
    error = StainstreamError(*parts)
    assert str(error) == message
    assert (error.asked, error.reason, error.cure) == (*parts, "", "")[:3]


def test_a_missing_extra_says_how_to_get_it() -> None:
    error = MissingExtra("cannot use 'net_onnx'", "onnxruntime", "onnx")
    assert str(error) == (
        "cannot use 'net_onnx': the Python module 'onnxruntime' is missing; run: pip install 'stainstream[onnx]'"
    )


def test_a_wire_error_has_a_cause_to_count_it_under() -> None:
    error = WireError("short payload", "12 bytes of 48")
    assert (error.cause, str(error)) == ("short payload", "short payload: 12 bytes of 48")


def test_a_model_that_is_not_pixelwise_is_a_model_error() -> None:
    assert issubclass(NotPixelwise, errors.ModelError)
