"""No module or class exceeds its limit, and the program that counts finds those that do."""

from hack import figures

MODULES = figures.product()


def test_no_module_of_the_product_exceeds_its_limit() -> None:
    assert figures.long_modules(MODULES) == {}


def test_no_class_of_the_product_exceeds_its_limit() -> None:
    assert figures.long_classes(MODULES) == {}


def test_the_product_has_no_import_cycle() -> None:
    assert figures.cycles(figures.imports()) == []


def test_figures_find_a_long_module_and_a_long_class() -> None:
    text = "class Long:\n" + "    x = 1\n" * figures.MODULE_LINES
    assert figures.long_modules({"a.py": text, "b.py": "x = 1\n"}) == {"a.py": figures.MODULE_LINES + 1}
    assert figures.long_classes({"a.py": text, "b.py": "class Short: ...\n"}) == {"a.py:Long": 351}


def test_figures_find_an_import_cycle() -> None:
    assert figures.cycles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["b", "c"]]
