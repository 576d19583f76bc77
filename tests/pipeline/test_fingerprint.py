"""What a fingerprint counts as code: which modules, and what of them."""

import ast
import hashlib
from pathlib import Path

import grimp
import pytest
from grimp import ImportGraph

from der.core.errors import UserError
from der.pipeline.fingerprint import PACKAGES, Code, dump
from stages.check import list_fingerprinted
from tests.locations import ROOT

SAMPLE = (Path(__file__).parent / "syntax_of_3_11.txt").read_bytes()
# Computed by CPython 3.11.7, 3.12.1, 3.13.0 and 3.14.2, which agree.
GOLDEN = "8f65f3aeb8aa1fcea8547de1e58cc70653afda57161ab894a0c3da4c2a17d31b"


def hash_tree(tree: ast.AST) -> str:
    return hashlib.sha256(dump(tree).encode()).hexdigest()


def hash_text(text: str) -> str:
    return hash_tree(ast.parse(text))


def test_the_hash_is_the_same_on_every_python() -> None:
    assert hash_tree(ast.parse(SAMPLE)) == GOLDEN


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


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    contents = {
        "stages/__init__.py": "import os\n",
        "stages/run.py": "def run():\n    from der.lazy import thing\n",
        "src/der/__init__.py": "",
        "src/der/lazy.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import der.pack.typed\n",
        "src/der/pack/__init__.py": "from der import sibling\n",
        "src/der/pack/typed.py": "from . import relative as other\nfrom ..deep.est import one\n",
        "src/der/pack/relative.py": "from . import *\n",
        "src/der/deep/__init__.py": "",
        "src/der/deep/est.py": "import stages.none, derived, der.none\n",
        "src/der/sibling.py": "pass\n",
        "src/der/other.py": "import stages.run\n",
        "src/derived.py": "pass\n",
    }
    for path, text in contents.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    return tmp_path


def test_every_kind_of_import(tree: Path) -> None:
    modules = {"lazy", "pack", "pack.typed", "pack.relative", "deep", "deep.est", "sibling"}
    assert set(Code({}, tree).hash_stage("run")) == {"stages", "stages.run", "der"} | {
        f"der.{one}" for one in modules
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"def", "line 1"), (b"x = '\xff'", "utf-8"), (b"\0", "null bytes"), (b"(" * 5000, "nested|recursion")],
)
def test_a_module_that_is_no_code_is_named(content: bytes, message: str, tree: Path) -> None:
    (tree / "src/der/sibling.py").write_bytes(content)
    with pytest.raises(
        UserError, match=rf"src/der/sibling\.py: cannot be parsed \(.*{message}.*\); correct it"
    ):
        Code({}, tree).hash_stage("run")


@pytest.fixture(scope="module")
def graph() -> ImportGraph:
    return grimp.build_graph(*PACKAGES, cache_dir=None)


@pytest.mark.parametrize("stage", ["check", *list_fingerprinted()])
def test_the_modules_are_those_that_grimp_finds(stage: str, graph: ImportGraph) -> None:
    expected, todo = set[str](), {f"stages.{stage}"}
    while todo:
        expected |= todo
        around = {name[:end] for name in expected for end, letter in enumerate(name) if letter == "."}
        todo = around.union(*map(graph.find_modules_directly_imported_by, expected)) - expected
    code = Code({}, ROOT)
    hashes = code.hash_stage(stage)
    assert set(hashes) == expected
    assert all(code.hash_module(name) == digest for name, digest in hashes.items())


def test_a_file_of_another_language_counts_with_its_module(tree: Path) -> None:
    before = Code({}, tree).hash_stage("run")
    source = tree / "src/der/pack/relative.cpp"
    source.write_text("int one;\n")
    added = Code({}, tree).hash_stage("run")
    source.write_text("int two;\n")
    edited = Code({}, tree).hash_stage("run")
    for one, two in ((before, added), (added, edited)):
        assert {name for name in one if one[name] != two[name]} == {"der.pack.relative"}


def test_what_stage_check_alone_does_is_no_other_stage_s_code() -> None:
    code = Code({}, ROOT)
    assert "der.pipeline.edits" in code.hash_stage("check")
    for stage in list_fingerprinted():
        assert "der.pipeline.edits" not in code.hash_stage(stage), stage
