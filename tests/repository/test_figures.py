"""The limits for modules and classes, and that the program that counts finds what exceeds them."""

from hack import figures

MODULES = figures.product()


def test_no_module_of_the_product_exceeds_its_limit() -> None:
    assert figures.long_modules(MODULES) == {}


def test_no_class_of_the_product_exceeds_its_limit() -> None:
    assert figures.long_classes(MODULES) == {}


def test_no_modules_of_the_product_import_each_other() -> None:
    assert figures.cycles(figures.imports()) == []


def test_a_long_module_and_a_long_class_are_found() -> None:
    text = "class Long:\n" + "    x = 1\n" * figures.MODULE_LINES
    assert figures.long_modules({"a.py": text, "b.py": "x = 1\n"}) == {"a.py": figures.MODULE_LINES + 1}
    assert figures.long_classes({"a.py": text, "b.py": "class Short: ...\n"}) == {"a.py:Long": 351}


def test_an_import_cycle_is_found() -> None:
    assert figures.cycles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["b", "c"]]
