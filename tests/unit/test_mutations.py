"""The mutants that `make mutants` runs still fit the source, and the page shows them."""

import ast

import pytest

from tests.mutations import BEGIN, END, MUTANTS, PAGE, ROOT, Mutant, filled


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.what)
def test_every_mutant_still_applies(mutant: Mutant) -> None:
    """What it changes stands in the source exactly once, and what comes of it is still Python."""
    source = (ROOT / mutant.file).read_text(encoding="utf-8")
    assert source.count(mutant.old) == 1
    assert mutant.new not in source
    ast.parse(source.replace(mutant.old, mutant.new))


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.what)
def test_every_mutant_names_a_test_that_is_there(mutant: Mutant) -> None:
    """A test that was renamed catches nothing."""
    file, _, name = mutant.caught_by.partition("::")
    functions = ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8")))
    assert name.partition("[")[0] in {
        function.name for function in functions if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_mutants_differ() -> None:
    """Each is one of its own."""
    assert len({mutant.what for mutant in MUTANTS}) == len(MUTANTS) >= 12


def test_the_page_shows_the_mutants() -> None:
    """`python -m tests.mutations` writes it anew."""
    page = PAGE.read_text(encoding="utf-8")
    assert BEGIN in page
    assert END in page
    assert page == filled(page), "run `python -m tests.mutations`"
