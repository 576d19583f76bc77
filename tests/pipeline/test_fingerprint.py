"""What a fingerprint counts as code: which definitions, and what of them."""

import ast
import hashlib
import sys
from pathlib import Path

import pytest

from der.core.errors import UserError
from der.pipeline.environment import SCRATCH
from der.pipeline.fingerprint import KEPT, REGISTRIES, Code, Hashes, dump
from stages.check import list_fingerprinted
from tests.locations import ROOT

SAMPLE = (Path(__file__).parent / "syntax_of_3_11.txt").read_bytes()
# Computed by CPython 3.11.7, 3.12.1, 3.13.0 and 3.14.2, which agree.
GOLDEN = "8f65f3aeb8aa1fcea8547de1e58cc70653afda57161ab894a0c3da4c2a17d31b"
# Kinds of nodes that no module's text gives: abstract, of earlier Pythons, or of other things than modules.
NOT_IN_MODULES = {
    "Expression",
    "FunctionType",
    "Interactive",
    "TypeIgnore",
    "Suite",
    "Param",
    "AugLoad",
    "AugStore",
}
EARLIER = {"Num", "Str", "Bytes", "NameConstant", "Ellipsis", "Index", "ExtSlice"}


def hash_tree(tree: ast.AST) -> str:
    return hashlib.sha256(dump(tree).encode()).hexdigest()


def hash_text(text: str) -> str:
    return hash_tree(ast.parse(text))


def concrete(kind: type) -> set[type]:
    below = kind.__subclasses__()
    return {kind}.union(*map(concrete, below)) if not below else set().union(*map(concrete, below))


def test_the_hash_is_the_same_on_every_python() -> None:
    assert hash_tree(ast.parse(SAMPLE)) == GOLDEN


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the sample holds what 3.11 knows")
def test_the_sample_holds_all_syntax() -> None:
    seen = {type(node) for node in ast.walk(ast.parse(SAMPLE))}
    missing = {kind.__name__ for kind in concrete(ast.AST) - seen}
    assert missing == NOT_IN_MODULES | EARLIER


def edited_constants(tree: ast.Module) -> int:
    """How many constants there are, each of which changes the hash; docstrings excepted."""
    before, count = hash_tree(tree), 0
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and not isinstance(node.value, str):
            value, node.value = node.value, "other"
            count += 1
            assert hash_tree(tree) != before, (ast.unparse(node), value)
            node.value = value
    return count


def test_every_number_and_name_counts() -> None:
    tree = ast.parse(SAMPLE)
    assert edited_constants(tree) > 80
    before = hash_tree(tree)
    for node in ast.walk(tree):
        for field in ("id", "attr", "arg", "name", "module", "asname", "rest"):
            if isinstance(value := getattr(node, field, None), str):
                setattr(node, field, value + "_")
                assert hash_tree(tree) != before, (field, value)
                setattr(node, field, value)


CODE = 'import a\n\n\ndef f(x: int = 1) -> str:\n    "Doc."\n    return f"{x}a" + "b"\n'
SAME = {
    "comments": "# One.\nimport a  # two\n" + CODE.removeprefix("import a\n"),
    "docstrings": '"""Module."""\n' + CODE.replace('"Doc."', '"""Another\n\n    of two lines."""'),
    "no docstring": CODE.replace('    "Doc."\n', ""),
    "layout": "import a\ndef f(\n  x:int=1,\n)->str:\n  return (f\"{x}a\"\n    + 'b')\n",
    "quotes": CODE.replace('"b"', "u'b'"),
    "line ends": CODE.replace("\n", "\r\n"),
    "escapes": CODE.replace('"b"', r'"\x62"'),
}
OTHER = {
    "a type": CODE.replace("int", "float"),
    "a default": CODE.replace("1", "1.0"),
    "true for one": CODE.replace("1", "True"),
    "bytes for text": CODE.replace('"b"', 'b"b"'),
    "a conversion": CODE.replace("{x}", "{x!s}"),
    "a specification": CODE.replace("{x}", "{x:3}"),
    "an order": CODE.replace('f"{x}a" + "b"', '"b" + f"{x}a"'),
    "a decorator": CODE.replace("def", "@a\ndef"),
    "a second string": CODE.replace('"Doc."', '"Doc."\n    "text"'),
    "async": CODE.replace("def", "async def"),
    "a name": CODE.replace("import a", "import a as b"),
    "a level": CODE.replace("import a", "from . import a"),
}


@pytest.mark.parametrize("name", SAME)
def test_what_does_not_count(name: str) -> None:
    assert SAME[name] != CODE
    assert hash_text(SAME[name]) == hash_text(CODE)


def test_what_counts() -> None:
    hashes = {hash_text(text) for text in (CODE, *OTHER.values())}
    assert len(hashes) == len(OTHER) + 1


def test_the_dump_tells_nothing_of_the_python() -> None:
    text = dump(ast.parse("x = '\u0378'; y = f''; z = 'a' f'b'"))
    assert text.isascii()
    assert "type_params" not in text
    assert "JoinedStr()" in text and "JoinedStr(values=[str:'ab'])" in text


TREE = {
    "stages/__init__.py": "import os\n\nos.umask(0o22)\n",
    "stages/run.py": (
        "from der.tools import used\nfrom der.pack import sibling\nfrom der import values\n\n"
        "def run():\n    from der.lazy import Thing\n"
        "    return used(), sibling.part(), Thing, dict(all=values)\n"
    ),
    "src/der/__init__.py": "",
    "src/der/tools.py": (
        "from typing import TYPE_CHECKING\nimport json\nimport math as m\n"
        "from der.other import other, same\n\n"
        "if TYPE_CHECKING:\n    from der import typed\n\n"
        "LIMIT, FAR = 1, 2\nNAMES = {'a': 'der.named:function'}\nUNUSED: int = 3\n\n"
        "def used():\n    return helper(LIMIT), NAMES, m.pi, same\n\n"
        "def helper(x):\n    return x\n\ndef unused():\n    return UNUSED, json, other\n"
    ),
    "src/der/other.py": "def other():\n    return 1\n\ndef same():\n    return 2\n",
    "src/der/named.py": "def function():\n    return 3\n\ndef unused():\n    return 4\n",
    "src/der/pack/__init__.py": "from der.pack.deep import deep\n",
    "src/der/pack/sibling.py": "from . import deep\n\ndef part():\n    return deep()\n",
    "src/der/pack/deep.py": "def deep():\n    return 6\n\ndef unused():\n    return 7\n",
    "src/der/lazy.py": (
        "from der.base import Base\n\nclass Thing(Base):\n    def one(self):\n        return 8\n\n"
        "@cache\ndef unused():\n    return 9\n\n@register\ndef registered():\n    return 10\n"
    ),
    "src/der/lazy.cpp": "int eleven;\n",
    "src/der/base.py": "class Base:\n    value = 12\n",
    "src/der/values.py": "def by_attribute():\n    return 13\n",
    "src/der/typed.py": "print(14)\n",
}
COUNTS = {
    "a function that is called": ("tools.py", "return helper", "return 0, helper"),
    "one that it calls": ("tools.py", "return x", "return -x"),
    "a constant among others": ("tools.py", "1, 2", "-1, 2"),
    "what stands at the top of a module": ("other.py", "def other", "print(0)\n\ndef other"),
    "what runs when a package is imported": ("../../stages/__init__.py", "0o22", "0o77"),
    "a function in a table, by its name": ("named.py", "return 3", "return 0"),
    "where a name comes from": ("tools.py", "import other, same", "import other, other as same"),
    "what another package's name stands for": ("tools.py", "math as m", "cmath as m"),
    "an import for what it does": ("tools.py", "import json", "import json\nimport readline"),
    "through a package": ("pack/deep.py", "return 6", "return 0"),
    "a method": ("lazy.py", "return 8", "return 0"),
    "a base class": ("base.py", "12", "0"),
    "a function that a decorator may keep": ("lazy.py", "return 10", "return 0"),
    "a file of the same name": ("lazy.cpp", "eleven", "zero"),
    "all of a module that is used as a value": ("values.py", "13", "0"),
}
COUNTS_NOT = {
    "a function that nobody calls": ("tools.py", "return UNUSED", "return 0, UNUSED"),
    "a constant that nobody reads": ("tools.py", "int = 3", "int = 0"),
    "an import for what is not used": ("tools.py", "import json", "import yaml as json"),
    "another function of a module": ("named.py", "return 4", "return 0"),
    "one behind a package": ("pack/deep.py", "return 7", "return 0"),
    "one with a decorator that keeps nothing": ("lazy.py", "return 9", "return 0"),
    "an import for types": ("typed.py", "14", "0"),
    "a new function with an import": (
        "other.py",
        "def other",
        "import json\n\ndef new():\n    json\n\ndef other",
    ),
}


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for path, text in TREE.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    monkeypatch.setenv(SCRATCH, str(tmp_path / "scratch"))
    return tmp_path


def read(root: Path) -> Hashes:
    code = Code({}, root)
    return code.hash_reached(code.reach("stages.run"))


@pytest.mark.parametrize("name", [*COUNTS, *COUNTS_NOT])
def test_an_edit_counts_where_it_is_reached(name: str, tree: Path) -> None:
    path, old, new = (COUNTS | COUNTS_NOT)[name]
    file, before = tree / "src/der" / path, read(tree)
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1
    file.write_text(text.replace(old, new), encoding="utf-8")
    assert (read(tree) != before) == (name in COUNTS)


def test_what_was_read_is_not_parsed_again_and_no_damage_of_it_counts(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = Code({}, tree)
    before = code.hash_reached(code.reach("stages.run"))
    code.keep()
    with monkeypatch.context() as patch:
        patch.delattr(ast, "parse")
        assert read(tree) == before
    (tree / "src/der/other.py").write_text("def same():\n    return 0\n")
    assert read(tree) != before
    kept = tree / "scratch" / KEPT
    kept.write_bytes(kept.read_bytes().replace(b"helper", b"hepler"))
    (tree / "src/der/other.py").write_text(TREE["src/der/other.py"])
    assert read(tree) == before


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"def", "line 1"), (b"x = '\xff'", "utf-8"), (b"\0", "null bytes"), (b"(" * 5000, "nested|recursion")],
)
def test_a_module_that_is_no_code_is_named(content: bytes, message: str, tree: Path) -> None:
    (tree / "src/der/other.py").write_bytes(content)
    with pytest.raises(
        UserError, match=rf"src/der/other\.py: cannot be parsed \(.*{message}.*\); correct it"
    ):
        read(tree)


def test_tables_in_which_settings_are_looked_up_are_reached_by_name() -> None:
    code = Code({}, ROOT)
    reached = [code.reach(f"stages.{stage}") for stage in list_fingerprinted()]
    assert {name for one in reached for names in one.values() for name in names} >= set(REGISTRIES.values())
