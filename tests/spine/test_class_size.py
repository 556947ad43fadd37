"""No class of the product keeps more than fifteen things: past that, two ideas live there."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.spine.test_layout import modules, tree

MOST = 15


def classes() -> Iterator[tuple[Path, ast.ClassDef]]:
    for path in modules():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ClassDef):
                yield path, node


def kept(made: ast.ClassDef) -> set[str]:
    """The names that a class assigns on self, wherever in it, and the fields of one that `dataclass` writes.

    Documents and configurations are apart: what cannot change once it is made is no state.
    """
    assigned = {
        node.attr
        for node in ast.walk(made)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    }
    decorators = [ast.unparse(decorator) for decorator in made.decorator_list]
    if any("dataclass" in text and "frozen=True" not in text for text in decorators):
        fields = (node.target for node in made.body if isinstance(node, ast.AnnAssign))
        assigned |= {target.id for target in fields if isinstance(target, ast.Name)}
    return assigned


def counts() -> dict[str, int]:
    """How much each class keeps, what its bases in the product keep included."""
    found: dict[str, list[ast.ClassDef]] = {}
    for _, made in classes():
        found.setdefault(made.name, []).append(made)

    def all_of(made: ast.ClassDef) -> set[str]:
        names = kept(made)
        for base in made.bases:
            for parent in found.get(ast.unparse(base).partition("[")[0].rpartition(".")[2], []):
                names |= all_of(parent)
        return names

    return {name: max(len(all_of(made)) for made in same) for name, same in found.items()}


def test_no_class_keeps_more_than_fifteen_things() -> None:
    found = counts()
    assert found["Agent"] > 1, "it counts nothing"
    over = {name: count for name, count in found.items() if count > MOST}
    assert not over, "compose them of parts that each say their idea in their first line"


def test_everything_that_keeps_a_name_is_counted() -> None:
    made = ast.parse(
        "@dataclass(slots=True)\n"
        "class A:\n"
        "    a: int\n"
        "    def f(self):\n"
        "        self.b, self.c = 1, 2\n"
        "        self.d: int = 3\n"
        "        self.e += 1\n"
        "        with open(x) as self.g:\n"
        "            def h(): self.i = 1\n"
        "        self.a = self.read = other.j = 4\n"
        "        return self.k\n"
    ).body[0]
    assert isinstance(made, ast.ClassDef)
    assert kept(made) == {"a", "b", "c", "d", "e", "g", "i", "read"}
