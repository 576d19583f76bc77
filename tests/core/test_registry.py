"""What a name resolves to."""

import sys
from importlib import import_module
from pathlib import Path

import pytest

from der.core.errors import UserError
from der.core.registry import check_imported, look_up, module_of

CHOICES = {"one": len, "two": sum}


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three modules of the user's, not imported yet."""
    (tmp_path / "own_good.py").write_text("value = 1\ndef f(): ...\n")
    (tmp_path / "own_broken.py").write_text("def f(:\n")
    (tmp_path / "own_failing.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_good", raising=False)


def test_a_name_with_a_colon_is_a_function_on_the_path() -> None:
    found = look_up(CHOICES, "own_good:f", "key")
    assert found is sys.modules["own_good"].f


def test_untrusted_names_resolve_only_to_imported_modules() -> None:
    check_imported("one", "key")
    with pytest.raises(UserError, match=r"^key: 'own_good:f' is code .*; import own_good first, if"):
        check_imported("own_good:f", "key")
    assert "own_good" not in sys.modules
    import_module("own_good")
    check_imported("own_good:f", "key")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("three", r"^key: 'three' does not fit; write one or two, or module:function of your own$"),
        ("timm:x", r"^key: 'timm:x' does not fit; write one or two, or module:function of your own$"),
        ("no_such:f", r"^key: 'no_such' cannot be imported \(ModuleNotFoundError: .*\); correct it$"),
        ("own_good:no_such", r"^key: 'own_good' has no function 'no_such'; write module:function$"),
        ("own_good:value", r"^key: 'own_good' has no function 'value'; write module:function$"),
        ("own_good:", r"^key: 'own_good' has no function ''; write module:function$"),
        (":f", r"^key: '' cannot be imported \(ValueError: .*\); correct it$"),
        (".a:f", r"^key: '\.a' cannot be imported \(TypeError: .*\); correct it$"),
        ("own_broken:f", r"^key: 'own_broken' cannot be imported \(SyntaxError: .*\); correct it$"),
        ("own_failing:f", r"^key: 'own_failing' cannot be imported \(ZeroDivisionError: .*\); correct it$"),
        ("os:_exit", r"^key: 'os' is Python's own; write a function made for this$"),
    ],
)
def test_a_name_that_resolves_to_nothing_is_one_sentence(name: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        look_up(CHOICES, name, "key")


def test_a_package_that_a_module_needs_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "needing.py").write_text("import no_such_package.inner\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"^key: 'needing' needs no_such_package, which is missing; install"):
        look_up(CHOICES, "needing:f", "key")


def test_a_family_is_no_module() -> None:
    choices = {"one": object(), "timm:": object()}
    assert look_up(choices, "timm:resnet50.a1_in1k", "key") is choices["timm:"]
    check_imported("timm:resnet50", "key")
    assert module_of("timm:resnet50") is None and module_of("own_good:f") == "own_good"
    with pytest.raises(UserError, match=r"^key: 'timm' does not fit; write one or timm:<name>, or module:"):
        look_up(choices, "timm", "key")
