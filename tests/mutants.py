"""`make mutants`: the engine with one of its rules taken out, and the test that must then fail.

Each mutant of tests/mutations.py is applied to a copy of the tree, never in place, and its test runs there. A test
that fails without any mutant, a mutant that survives, or one that no longer applies, is a failure. Words on the
command line choose the mutants whose description holds them.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.mutations import MUTANTS, ROOT, Mutant

LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "*_cache", "__pycache__", ".hypothesis")
#: What pytest exits with when tests failed; anything else is no verdict.
FAILED = 1


def main(words: list[str]) -> int:
    """Run the mutants; 0 only if every one was caught, and every test passes without them."""
    chosen = [mutant for mutant in MUTANTS if all(word in mutant.what for word in words)]
    with tempfile.TemporaryDirectory(prefix="syncd-mutants-") as folder:
        tree = Path(folder) / "tree"
        shutil.copytree(ROOT, tree, ignore=LEFT_OUT)
        tests = sorted({mutant.caught_by for mutant in chosen})
        if broken := _failure(tree, *tests):
            print(f"without any mutant: {broken}", flush=True)
            return 1
        survived = [mutant for mutant in chosen if not _caught(tree, mutant)]
    print(f"{len(chosen) - len(survived)} of {len(chosen)} mutants were caught", flush=True)
    return 1 if survived or not chosen else 0


def _caught(tree: Path, mutant: Mutant) -> bool:
    with _applied(tree, mutant):
        failure = _failure(tree, mutant.caught_by)
    print(f"{'caught  ' if failure else 'SURVIVED'}  {mutant.what}: {failure or mutant.caught_by}", flush=True)
    return bool(failure)


@contextmanager
def _applied(tree: Path, mutant: Mutant) -> Iterator[None]:
    path = tree / mutant.file
    source = path.read_text(encoding="utf-8")
    if source.count(mutant.old) != 1:
        raise SystemExit(f"{mutant.file} no longer has, once: {mutant.old}")
    path.write_text(source.replace(mutant.old, mutant.new), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(source, encoding="utf-8")


def _failure(tree: Path, *tests: str) -> str:
    """The first test that fails in this tree; empty when none does."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    # The copy comes before the installed project; no compiled file of a mutant may outlive it. What runs is what
    # `make e2e` runs: every step of a scenario.
    more = {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1", "SYNCD_ALL_STEPS": "1"}
    env = {**os.environ, **more}
    done = subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True, check=False)
    if done.returncode not in {0, FAILED}:
        raise SystemExit(f"pytest exits with {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    if done.returncode == 0:
        return ""
    failed = (line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR")))
    return next(failed, "it failed without saying how").split(" - ")[0]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
