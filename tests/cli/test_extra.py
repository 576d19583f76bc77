"""Commands that lack a package of the extra say what to install."""

import sys

import pytest

from der.cli.extra import PIPELINE, naming_the_extra
from der.cli.main import main
from der.core.errors import UserError


def lack(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have imports of a package fail as if it were not installed."""
    for module in [one for one in sys.modules if one == name or one.startswith(f"{name}.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.parametrize("name", sorted(PIPELINE))
def test_what_to_install(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lack(name, monkeypatch)
    with pytest.raises(UserError) as caught, naming_the_extra():
        __import__(name)
    assert str(caught.value) == (
        f"{name} is missing, which this command needs; pip install 'der-pipeline[pipeline]'"
    )


def test_a_command_ends_in_that_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    lack("jinja2", monkeypatch)
    for module in [one for one in sys.modules if one.startswith(("der.report.", "der.pipeline.page"))]:
        monkeypatch.delitem(sys.modules, module)
    with pytest.raises(SystemExit) as ended:
        main(["report"])
    assert str(ended.value.code).startswith("error: jinja2 is missing, ")


@pytest.mark.parametrize("name", ["numpy", "der.no_such_module", "dvcx"])
def test_another_module_that_is_missing_is_a_fault_of_ours(name: str) -> None:
    with pytest.raises(ModuleNotFoundError), naming_the_extra():
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
