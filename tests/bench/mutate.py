"""Small changes of what decides, one at a time: does a test fail for each? ``script/mutate``.

Nothing is copied or written: a process is forked for each change, in which the changed syntax tree
takes the module's place, and pytest runs the tests that belong to the file until the first fails.
What the tests start as processes of their own runs unchanged. Changes that may live stand in
``tests/mutants.txt``, each with its reason.
"""

import argparse
import ast
import copy
import importlib.abc
import importlib.machinery
import importlib.util
import os
import re
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
ACCEPTED: Final = ROOT / "tests/mutants.txt"
PRODUCT: Final = "wyoming_flux"

UNIT: Final = "tests/unit"
RECORDS: Final = (
    f"{UNIT}/utterance/test_regression_records.py",
    f"{UNIT}/utterance/test_record.py",
)
# The tests that belong to a file or folder, the quick ones first; the longest prefix counts.
BELONGS: Final = {
    "utterance": (
        f"{UNIT}/utterance/test_machine_rules.py",
        f"{UNIT}/utterance/test_texts.py",
        f"{UNIT}/utterance/test_machine_properties.py",
    ),
    "utterance/texts.py": (
        f"{UNIT}/utterance/test_texts.py",
        f"{UNIT}/utterance/test_machine_rules.py",
        f"{UNIT}/utterance/test_machine_properties.py",
    ),
    "utterance/words.py": (
        f"{UNIT}/utterance/test_words.py",
        f"{UNIT}/utterance/test_texts.py",
    ),
    "utterance/transcriber.py": (f"{UNIT}/utterance/test_transcriber.py",),
    "utterance/proof.py": (f"{UNIT}/utterance/test_proof.py",),
    "utterance/outcome.py": (f"{UNIT}/utterance/test_transcriber.py",),
    "utterance/guess.py": (f"{UNIT}/utterance/test_guess.py",),
    "utterance/record.py": RECORDS,
    "utterance/recorder.py": RECORDS,
    "utterance/replay.py": RECORDS,
    "utterance/capture.py": RECORDS,
    "flux/refusal.py": (
        f"{UNIT}/flux/test_refusal.py",
        f"{UNIT}/flux/test_refused_parameters.py",
    ),
    "flux/learnt.py": (
        f"{UNIT}/flux/test_learnt.py",
        f"{UNIT}/flux/test_refused_parameters.py",
    ),
    "settings.py": (
        f"{UNIT}/test_settings.py",
        f"{UNIT}/cli/test_reference.py",
        f"{UNIT}/cli/test_cli_options.py",
        f"{UNIT}/home/test_where.py",
        f"{UNIT}/server/test_server_settings.py",
    ),
    "declare.py": (f"{UNIT}/test_settings.py", f"{UNIT}/cli/test_reference.py"),
    "minutes.py": (f"{UNIT}/test_minutes.py",),
    "audio": (
        f"{UNIT}/audio/test_audio_converter.py",
        f"{UNIT}/audio/test_intake.py",
        f"{UNIT}/audio/test_audio_quality.py",
    ),
    "audio/intake.py": (f"{UNIT}/audio/test_intake.py",),
    "audio/level.py": (f"{UNIT}/audio/test_level.py",),
    "audio/wav.py": (f"{UNIT}/audio/test_wav_reader.py",),
}

OTHER: Final[dict[type, type]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
}
NAMES: Final = {"min": "max", "max": "min", "any": "all", "all": "any"}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change: where it is, how it reads, the tree that has it."""

    line: int
    name: str
    """``Class.function: before -> after``; what :data:`ACCEPTED` knows it by."""
    tree: ast.Module


def changes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what may stand instead of a node."""
    match node:
        case ast.Compare(ops=ops):
            for index, operator in enumerate(ops):
                if type(operator) in OTHER:
                    other = copy.deepcopy(node)
                    other.ops[index] = OTHER[type(operator)]()
                    yield other
        case ast.BoolOp(op=op) | ast.BinOp(op=op) | ast.AugAssign(op=op) if type(op) in OTHER:
            other = copy.deepcopy(node)
            other.op = OTHER[type(op)]()
            yield other
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield operand
        case ast.Constant(value=bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(value=int() | float() as value):
            yield ast.Constant(value + 1)
        case ast.Call(func=ast.Name(id=name)) if name in NAMES:
            yield ast.Call(ast.Name(NAMES[name], ast.Load()), node.args, node.keywords)
        case ast.Call(args=[first, second, *rest]) if not isinstance(second, ast.Starred):
            if ast.dump(first) != ast.dump(second):
                yield ast.Call(node.func, [second, first, *rest], node.keywords)
        case ast.If(test=test) | ast.IfExp(test=test) if not _changes_itself(test):
            other = copy.copy(node)
            other.test = ast.UnaryOp(ast.Not(), test)
            yield other
        case ast.Expr(value=ast.Call() | ast.Await()):
            yield ast.Pass()
        case ast.Assign(targets=[ast.Attribute()]):
            yield ast.Pass()


def _changes_itself(test: ast.expr) -> bool:
    return isinstance(test, ast.Compare | ast.BoolOp) or (
        isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)
    )


# Of a message for a person, a type, a class that is declared, nothing is changed.
_LEFT_ALONE: Final = (ast.JoinedStr, ast.arguments, ast.Slice)
_FIELDS_LEFT_ALONE: Final = frozenset({"annotation", "returns", "decorator_list", "bases"})


def mutants(source: str) -> Iterator[Mutant]:
    """Yield all changes of a module."""
    tree = ast.parse(source)
    for parent, field, index, node, where in _walk(tree, ""):
        held = getattr(parent, field)
        for other in changes(node):
            ast.copy_location(other, node)
            if index is None:
                setattr(parent, field, other)
            else:
                held[index] = other
            changed = ast.fix_missing_locations(copy.deepcopy(tree))
            if index is None:
                setattr(parent, field, held)
            else:
                held[index] = node
            line = getattr(node, "lineno", 0)
            yield Mutant(line, f"{where}: {_read(node)} -> {_read(other)}", changed)


def _read(node: ast.AST) -> str:
    if isinstance(node, ast.If):
        return f"if {ast.unparse(node.test)}"
    return re.sub(r"\s+", " ", ast.unparse(node))[:160]


def _walk(parent: ast.AST, where: str) -> Iterator[tuple[ast.AST, str, int | None, ast.AST, str]]:
    if isinstance(parent, _LEFT_ALONE):
        return
    if isinstance(parent, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        where = f"{where}.{parent.name}".lstrip(".")
    for field, value in ast.iter_fields(parent):
        if field in _FIELDS_LEFT_ALONE:
            continue
        many = isinstance(value, list)
        for index, node in enumerate(value if many else [value]):
            if isinstance(node, ast.AST):
                yield parent, field, index if many else None, node, where
                yield from _walk(node, where)


class _Instead(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Gives one module the code of a changed tree."""

    def __init__(self, module: str, path: Path, code: CodeType) -> None:
        self._module, self._path, self._code = module, path, code

    def find_spec(
        self, fullname: str, path: object, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._module:
            return None
        return importlib.util.spec_from_file_location(fullname, self._path, loader=self)

    def get_source(self, fullname: str) -> str | None:
        return None

    def get_code(self, fullname: str) -> CodeType:
        return self._code


def run_tests(tests: Sequence[str]) -> int:
    """Run tests in this process; return pytest's exit code."""
    for name in list(sys.modules):
        if name.split(".")[0] in (PRODUCT, "tests") and name != __name__:
            del sys.modules[name]
    options = "-q -x --tb=line --assert=plain -p no:cacheprovider -o timeout=0".split()
    return int(pytest.main([*options, "-m", "not slow", *tests]))


def in_child(tests: Sequence[str], most: float, instead: _Instead | None = None) -> tuple[int, str]:
    """Run tests in a process of their own; its exit code (9: too slow) and what it printed."""
    reading, writing = os.pipe()
    if not (pid := os.fork()):
        os.setsid()
        os.close(reading)
        os.dup2(writing, 1)
        os.dup2(writing, 2)
        if instead is not None:
            sys.meta_path.insert(0, instead)
        code = 3
        try:
            code = run_tests(tests)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    os.close(writing)
    until, printed, late = time.monotonic() + most, b"", False
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        while not late:
            ready, _, _ = select.select([pipe], [], [], max(0.0, until - time.monotonic()))
            late = not ready
            if ready and not (some := pipe.read(65536)):
                break
            printed += some if ready else b""
    if late:
        os.killpg(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return 9 if late else os.waitstatus_to_exitcode(status), printed.decode(errors="replace")


def tests_of(file: str) -> list[str]:
    """Return the tests that belong to a file of the product."""
    inside = file.removeprefix(f"{PRODUCT}/")
    prefixes = [one for one in BELONGS if inside == one or inside.startswith(f"{one}/")]
    if not prefixes:
        raise SystemExit(f"mutate: no tests are named for {file}; add them to {__file__}")
    return [one for one in BELONGS[max(prefixes, key=len)] if (ROOT / one).exists()]


def changed_lines() -> dict[str, set[int]]:
    """Return the lines of the product that differ from the branch ``main``."""
    command = ("git", "diff", "-U0", "--no-ext-diff", "main", "--", PRODUCT)
    text = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    found: dict[str, set[int]] = {}
    file = ""
    for line in text.splitlines():
        if line.startswith("+++ "):
            file = line[4:].removeprefix("b/")
        elif hunk := re.match(r"@@ .* \+(\d+)(?:,(\d+))? @@", line):
            start, count = int(hunk[1]), int(hunk[2] or 1)
            found.setdefault(file, set()).update(range(start, start + count))
    return found


def accepted() -> dict[str, set[str]]:
    """Return the changes that may live, by file."""
    found: dict[str, set[str]] = {}
    file = ""
    for line in ACCEPTED.read_text("utf-8").splitlines():
        if line.startswith("["):
            file = line.strip("[]")
        elif line and not line.startswith("#"):
            found.setdefault(file, set()).add(line.rpartition("  # ")[0].strip())
    return found


def judge(
    file: str, lines: Container[int] | None, until: float, known: set[str]
) -> tuple[int, int]:
    """Try all changes of a file; print those that live. Return how many, and how many live."""
    path, tests = ROOT / file, tests_of(file)
    began = time.monotonic()
    code, printed = in_child(tests, 600)
    if code:
        raise SystemExit(f"mutate: the tests of {file} fail as they are:\n{printed[-3000:]}")
    most = 10 + 4 * (time.monotonic() - began)
    module = ".".join(Path(file).with_suffix("").parts).removesuffix(".__init__")
    tried = lived = allowed = 0
    seen: set[str] = set()
    for mutant in mutants(path.read_text("utf-8")):
        if lines is not None and mutant.line not in lines:
            continue
        if time.monotonic() > until:
            print(f"  stopped before line {mutant.line}: no time left")
            break
        code_object = compile(mutant.tree, str(path), "exec")
        exit_code, _ = in_child(tests, most, _Instead(module, path, code_object))
        tried += 1
        if exit_code == 0:
            seen.add(mutant.name)
            if mutant.name in known:
                allowed += 1
            else:
                lived += 1
                print(f"  lives, {file}:{mutant.line}\n    {mutant.name}", flush=True)
    if lines is None and time.monotonic() <= until:
        for name in sorted(known - seen):
            print(f"  accepted, but dies now or is gone: {name}")
    print(f"{file}: {tried} changes, {lived} live, {allowed} more may", flush=True)
    return tried, lived


def main() -> int:
    """Judge files; 0 if nothing lives that is not accepted."""
    parser = argparse.ArgumentParser(prog="script/mutate")
    parser.add_argument("files", nargs="*", metavar="FILE[:LINE]", help="of it, or from a line on")
    parser.add_argument("--changed", action="store_true")
    parser.add_argument("--minutes", type=float, default=60.0)
    options = parser.parse_args()
    os.chdir(ROOT)
    os.environ["HYPOTHESIS_PROFILE"] = "mutate"
    wanted: dict[str, Container[int] | None] = {}
    for one in options.files:
        file, _, line = one.partition(":")
        wanted[file] = range(int(line), sys.maxsize) if line else None
    if options.changed:
        wanted |= {file: lines for file, lines in changed_lines().items() if _decides(file)}
    elif not wanted:
        every = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / PRODUCT).rglob("*.py"))
        wanted = dict.fromkeys(file for file in every if _decides(file))
    until = time.monotonic() + options.minutes * 60
    known = accepted()
    # Once here: what is imported now is there in each child.
    for name in ("hypothesis", "numpy", "websockets", "wyoming", "pytest_asyncio", "xdist"):
        importlib.import_module(name)
    results = [judge(file, lines, until, known.get(file, set())) for file, lines in wanted.items()]
    print(f"in all: {sum(r[0] for r in results)} changes, {sum(r[1] for r in results)} live")
    return int(any(lived for _, lived in results))


def _decides(file: str) -> bool:
    inside = file.removeprefix(f"{PRODUCT}/")
    return any(inside == one or inside.startswith(f"{one}/") for one in BELONGS)


if __name__ == "__main__":
    sys.exit(main())
