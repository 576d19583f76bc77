"""What a name stands for."""

from pathlib import Path

import pytest

from der.common.errors import UserError
from der.common.registry import look_up

CHOICES = {"one": len, "two": sum}


def test_a_name_is_an_entry() -> None:
    assert look_up(CHOICES, "two", "key") is sum


def test_a_name_with_a_colon_is_a_function_on_the_path() -> None:
    import os.path

    assert look_up(CHOICES, "os.path:join", "key") is os.path.join


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("three", r"^key: 'three' does not fit; write one or two, or module:function of your own$"),
        ("no_such:f", r"^key: 'no_such' cannot be imported \(ModuleNotFoundError: .*\); correct it$"),
        ("os.path:no_such", r"^key: 'os\.path' has no function 'no_such'; write module:function$"),
        ("os.path:sep", r"^key: 'os\.path' has no function 'sep'; write module:function$"),
        ("os.path:", r"^key: 'os\.path' has no function ''; write module:function$"),
        (":f", r"^key: '' cannot be imported \(ValueError: .*\); correct it$"),
        (".a:f", r"^key: '\.a' cannot be imported \(TypeError: .*\); correct it$"),
        ("broken:f", r"^key: 'broken' cannot be imported \(SyntaxError: .*\); correct it$"),
        (
            "failing:f",
            r"^key: 'failing' cannot be imported \(ZeroDivisionError: division by zero\); correct it$",
        ),
    ],
)
def test_what_stands_for_nothing_is_one_sentence(
    name: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.py").write_text("def f(:\n")
    (tmp_path / "failing.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=sentence):
        look_up(CHOICES, name, "key")
