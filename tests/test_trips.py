"""docs/trips.md says of the code what is so."""

import subprocess
from pathlib import Path

import pytest
from tools import trips

PAGE = """# Trips

| way | files before | now | goings back before | now | wanted |
|---|---|---|---|---|---|
| [a name](#a-name-to-the-end) to the end | 2 | 1 | 2 | 0 | 1 |

| what is added | files before | now | places before | now | files wanted |
|---|---|---|---|---|---|
| [engine](#an-engine): quick | 3 | 2 | 4 | 3 | 2 |

## A name, to the end

Before, at COMMIT: 2 files, 2 goings back.

```way
ward/bed.py: Bed
ward/nurse.py: call, KEYS
ward/bed.py: make
ward/nurse.py: call
```

Now: 1 files, 0 goings back.

```way
ward/nurse.py: call, KEYS
```

## An engine

Before, at COMMIT: 3 files, 4 places.

```places
+ ward/quick.py
ward/nurse.py: call*2
chart/values.yaml: images
```

Now, as it is there: 2 files, 3 places.

```places
+ ward/quick.py: Quick, start
ward/nurse.py: KEYS, +hurry
```
"""
FILES = {
    "hospital/src/ward/nurse.py": "KEYS: dict[str, str] = {}\n\n\nasync def call() -> None:\n    print(Bed)\n",
    "hospital/src/ward/quick.py": "class Quick:\n    def start(self) -> None: ...\n",
}
FILES_BEFORE = {
    "hospital/src/ward/nurse.py": FILES["hospital/src/ward/nurse.py"],
    "hospital/src/ward/bed.py": "class Bed:\n    def make(self) -> None: ...\n",
    "chart/values.yaml": "images: {}\n",
}


def test_the_page_holds_for_the_code_as_it_is() -> None:
    assert trips.faults(trips.PAGE.read_text()) == [], "walk the trip again, and change docs/trips.md"


@pytest.fixture
def hospital(tmp_path: Path) -> Path:
    """A repository of two commits, and the page."""
    git(tmp_path, "init", "--quiet")
    commit(tmp_path, FILES_BEFORE)
    for path in FILES_BEFORE:
        (tmp_path / path).unlink()
    commit(tmp_path, FILES)
    return tmp_path


def git(folder: Path, *command: str) -> str:
    own = ("-c", "user.name=nurse", "-c", "user.email=nurse@ward.example")
    return subprocess.run(["git", *own, *command], cwd=folder, check=True, text=True, stdout=subprocess.PIPE).stdout


def commit(folder: Path, files: dict[str, str]) -> None:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "A day")


def first_commit(folder: Path) -> str:
    return git(folder, "rev-list", "--max-parents=0", "HEAD").strip()


def test_a_page_that_holds_has_no_faults(hospital: Path) -> None:
    page = PAGE.replace("COMMIT", first_commit(hospital))
    assert [*trips.faults(page, hospital), *trips.faults_of_history(page, hospital)] == []


@pytest.mark.parametrize(
    ("right", "wrong", "fault"),
    [
        ("2 files, 2 goings back", "2 files, 1 goings back", "A name, to the end, at COMMIT: it says '2 files, 1"),
        ("3 files, 4 places", "3 files, 3 places", "An engine, at COMMIT: it says '3 files, 3 places'"),
        ("| 2 | 1 | 2 | 0 | 1 |", "| 2 | 1 | 2 | 0 | 2 |", "A name, to the end: its row has [2, 1, 2, 0, 2]"),
        ("| 3 | 2 | 4 | 3 | 2 |", "| 3 | 1 | 4 | 3 | 2 |", "An engine: its row has [3, 1, 4, 3, 2]"),
        ("(#an-engine): quick | 3", "(#engines): quick | 3", "An engine: it has no row in a table"),
        ("Now: 1 files", "Today: 1 files", "4 lists, and only 3 have figures"),
        ("ward/nurse.py: call, KEYS\n```", "ward/doctor.py: call\n```", "now: ward/doctor.py is not there"),
        ("ward/nurse.py: call, KEYS\n```", "ward/nurse.py: Bed\n```", "now: ward/nurse.py has no Bed"),
        ("+ ward/quick.py: Quick, start", "+ ward/quick.py", "An engine, now: ward/quick.py is there already"),
        ("KEYS, +hurry", "KEYS, +call", "An engine, now: ward/nurse.py has call already"),
    ],
)
def test_a_fault_is_found_without_history(tmp_path: Path, right: str, wrong: str, fault: str) -> None:
    for path, text in FILES.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert PAGE.count(right) == 1
    assert trips.faults(PAGE, tmp_path) == []
    assert fault in "\n".join(trips.faults(PAGE.replace(right, wrong), tmp_path))


@pytest.mark.parametrize(
    ("right", "wrong", "fault"),
    [
        ("ward/bed.py: Bed", "ward/sofa.py: Bed", "ward/sofa.py is not there"),
        ("ward/bed.py: make", "ward/bed.py: sell", "ward/bed.py has no sell"),
        ("+ ward/quick.py\n", "+ ward/bed.py\n", "ward/bed.py is there already"),
        ("chart/values.yaml: images", "chart/values.yaml: tags", "chart/values.yaml has no tags"),
    ],
)
def test_what_was_not_there_at_a_commit_is_found(hospital: Path, right: str, wrong: str, fault: str) -> None:
    page = PAGE.replace("COMMIT", first_commit(hospital))
    assert page.count(right) == 1
    assert fault in "\n".join(trips.faults_of_history(page.replace(right, wrong), hospital))
