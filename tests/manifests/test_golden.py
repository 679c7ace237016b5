"""What the operator makes of a resource, to the letter. `make golden` writes the files anew; read what has changed."""

import pytest
from support import golden


@pytest.mark.parametrize("name", golden.RESOURCES)
def test_all_children_of_a_resource(name: str) -> None:
    assert golden.children_of(golden.RESOURCES[name]) == (golden.FOLDER / f"{name}.yaml").read_text()


def test_there_is_no_file_of_a_resource_that_is_gone() -> None:
    assert {path.stem for path in golden.FOLDER.iterdir()} == set(golden.RESOURCES)
