"""A program for a pipeline's directory: `python -m stages` that notes which definitions each stage executes.

It writes them to the file that its argument names: stage -> module -> names at the top of the module. What
runs only to give a name its value, when a module is imported, is left out.
"""

import ast
import json
import sys
import threading
from collections import defaultdict
from pathlib import Path
from types import CodeType, FrameType

ROOTS = {package: Path(place).absolute() for package, place in (("der", "src/der"), ("stages", "stages"))}


def main() -> None:
    out = Path(sys.argv.pop())
    sys.path.insert(0, "")
    import stages.__main__ as program

    executed: dict[str, set[CodeType]] = defaultdict(set)
    perform, running = program.perform_stage, [""]

    def perform_noted(name: str, run: object) -> None:
        running[0] = name.partition("@")[0]
        perform(name, run)  # type: ignore[arg-type]
        running[0] = ""

    def note(frame: FrameType, event: str, _: object) -> None:
        code, seen = frame.f_code, executed[running[0]]
        if event == "call" and code not in seen and not (module_of(code) and importing(frame)):
            seen.add(code)

    program.perform_stage = perform_noted
    threading.setprofile(note)
    sys.setprofile(note)
    try:
        program.main()
    finally:
        sys.setprofile(None)
        found: dict[str, dict[str, list[str]]] = {stage: {} for stage in executed if stage}
        for stage, modules in found.items():
            for code in filter(module_of, executed[stage]):
                modules.setdefault(module_of(code), []).extend(names_at(code))
        out.write_text(json.dumps(found), encoding="utf-8")


def module_of(code: CodeType) -> str:
    """The module of ours that code lies in; "" if there is none."""
    path = Path(code.co_filename)
    for package, root in ROOTS.items():
        if path.is_relative_to(root) and code.co_name != "<module>":
            return ".".join([package, *path.relative_to(root).with_suffix("").parts]).removesuffix(
                ".__init__"
            )
    return ""


def importing(frame: FrameType) -> bool:
    """Whether a frame is part of an import of a module of ours."""
    back = frame.f_back
    while back and back.f_code.co_name != "<module>":
        back = back.f_back
    return back is not None and back.f_code.co_filename != __file__


def names_at(code: CodeType) -> list[str]:
    """The name that the statement at the top of a module defines which holds some code; none for others."""
    for statement in ast.parse(Path(code.co_filename).read_bytes()).body:
        decorators = getattr(statement, "decorator_list", [])
        first = min([statement.lineno, *(one.lineno for one in decorators)])
        if first <= code.co_firstlineno <= (statement.end_lineno or 0) and hasattr(statement, "name"):
            return [statement.name]
    return []


if __name__ == "__main__":
    main()
