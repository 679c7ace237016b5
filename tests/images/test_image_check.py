"""Pure parts of `make images-check`: what it complains about, and how it starts things."""

import stat
from pathlib import Path

import pytest

from image_check import __main__ as program
from image_check import base, builder, container, content
from image_check.content import Entry

LOCK = {("aiohttp", "3.14.5"), ("prometheus-client", "0.26.0"), ("wardrobe", "0.1.0"), ("torch", "2.13.0")}
SITE = "opt/wardrobe/operator/lib/python3.11/site-packages"


def file(path: str, mode: int = 0o644, owner: int = 0) -> Entry:
    return Entry(path, stat.S_IFREG | mode, owner, owner)


def folder(path: str, mode: int = 0o755) -> Entry:
    return Entry(path, stat.S_IFDIR | mode, 0, 0)


CLEAN = [
    folder("tmp", 0o1777),
    folder("var/lib/apt/lists"),
    Entry("bin", stat.S_IFLNK | 0o777, 0, 0),
    Entry("dev/null", stat.S_IFCHR | 0o666, 0, 0),
    file("usr/bin/python3.11", 0o755),
    file("usr/share/bash-completion/completions/make"),
    file("opt/wardrobe/operator/bin/wardrobe-operator", 0o755),
    file(f"{SITE}/wardrobe/plan/plan.py"),
    folder(f"{SITE}/aiohttp-3.14.5.dist-info"),
    folder(f"{SITE}/prometheus_client-0.26.0.dist-info"),
    folder(f"{SITE}/aiohttp/tests"),
]
BAD = {
    "a cache or log": file("var/cache/apt/archives/python3.deb"),
    "left from the build": folder("source"),
    "belongs to the user that runs it": file(f"{SITE}/wardrobe/api.py", owner=10001),
    "everybody may write": folder(SITE, 0o777),
    "cannot be read by the user that runs it": file(f"{SITE}/wardrobe/api.py", 0o600),
    "a tool of the build": file("usr/bin/gcc", 0o755),
    "a test": file(f"{SITE}/wardrobe/tests/test_api.py"),
    "a package of trainer and engine": folder(f"{SITE}/torch"),
    "not a version of uv.lock": folder(f"{SITE}/aiohttp-3.13.0.dist-info"),
}


def test_a_clean_image_gives_no_complaint() -> None:
    assert content.complaints("operator", CLEAN, LOCK) == []


@pytest.mark.parametrize(("complaint", "entry"), BAD.items(), ids=list(BAD))
def test_what_must_not_be_in_an_image_is_named(complaint: str, entry: Entry) -> None:
    assert content.complaints("operator", [*CLEAN, entry], LOCK) == [f"{complaint}: /{entry.path}"]


def test_certificates_of_the_machine_are_noticed() -> None:
    found = content.complaints("operator", [file("usr/local/share/ca-certificates/own.crt")], LOCK)
    assert found == ["left from the build: /usr/local/share/ca-certificates/own.crt"]


def test_pip_as_a_package_is_noticed() -> None:
    found = content.complaints("operator", [folder("usr/lib/python3/dist-packages/pip")], LOCK)
    assert found == ["a tool of the build: /usr/lib/python3/dist-packages/pip"]


def test_torch_is_at_home_in_the_trainer() -> None:
    assert content.complaints("trainer", [folder(f"{SITE}/torch")], LOCK) == []


@pytest.mark.parametrize(("member", "wrong"), [("trainer", False), ("engine", True)])
def test_a_compiler_is_at_home_in_the_trainer_only(member: str, wrong: bool) -> None:
    """Without one, Triton fails at the first step on a GPU; there is still no git, no make and no curl."""
    compiler = [file(f"usr/bin/{name}", 0o755) for name in sorted(content.COMPILES["trainer"])]
    found = content.complaints(member, [*compiler, file("usr/bin/make", 0o755)], LOCK)
    expected = [*(f"usr/bin/{name}" for name in sorted(content.COMPILES["trainer"]) if wrong), "usr/bin/make"]
    assert found == [f"a tool of the build: /{path}" for path in expected]


def test_a_walk_counts_a_file_of_two_names_once_and_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/one").write_bytes(b"x" * 100)
    (tmp_path / "a/two").hardlink_to(tmp_path / "a/one")
    (tmp_path / "outside").symlink_to("/usr")
    found = list(content.walk(tmp_path))
    assert sorted(entry.path for entry, _ in found) == ["a", "a/one", "a/two", "outside"]
    assert sum(size for _, size in found) == 100


def test_the_lock_of_this_repository_names_what_is_installed() -> None:
    found = content.locked(Path(__file__).parents[2] / "uv.lock")
    assert ("wardrobe", "0.1.0") in found
    assert {name for name, _ in found} >= {"kopf", "kubernetes", "torch"}


@pytest.mark.parametrize(
    ("targets", "members", "with_tgi"),
    [
        ([], ["operator", "gateway", "trainer", "engine"], True),
        (["gateway"], ["gateway"], False),
        (["gateway", "tgi"], ["gateway"], True),
        (["tgi"], [], True),
    ],
)
def test_what_is_checked_is_named_or_all(targets: list[str], members: list[str], with_tgi: bool) -> None:
    found, tgi = program.chosen(targets)
    assert (sorted(found), tgi) == (sorted(members), with_tgi)


def test_certificates_are_mounted_for_the_build_where_there_are_any() -> None:
    tree = Path("/tree")
    certificates = "--volume=/usr/local/share/ca-certificates:/usr/local/share/ca-certificates:ro"
    assert certificates in builder.build_command("operator", tree, [Path("own.crt")])
    assert certificates not in builder.build_command("operator", tree, [])


def test_a_build_takes_the_base_that_was_made_here() -> None:
    command = builder.build_command("gateway", Path("/tree"), [])
    assert f"--build-arg=BASE={builder.BASE}" in command
    assert command[-3:] == ["--target=gateway", "--tag=localhost/wardrobe-gateway:check", "/tree"]
    assert "--build-arg=TGI=like-it" in builder.build_command("tgi", Path("/tree"), [], TGI="like-it")
    assert base.command(Path("/x/base.tar"))[-2:] == ["bookworm", "/x/base.tar"]


def test_a_container_may_do_no_more_than_a_pod() -> None:
    config = {"User": "10001", "Env": ["PATH=/x/bin"], "WorkingDir": "/", "Entrypoint": ["run"]}
    image = container.Image(Path("/root-of-it"), config)
    found = container.bundle(image, ["run", "--fast"], Path("/w"), {"A": "b"})
    process = found["process"]
    assert (process["user"], process["capabilities"], process["noNewPrivileges"]) == (
        {"uid": 10001, "gid": 10001},
        {},
        True,
    )
    assert found["root"] == {"path": "/root-of-it", "readonly": True}
    assert process["args"] == ["run", "--fast"]
    assert process["env"] == ["PATH=/x/bin", "HOME=/tmp", "A=b"]
    binds = [mount for mount in found["mounts"] if mount["type"] == "bind"]
    assert [(mount["source"], mount["destination"]) for mount in binds] == [("/w", "/work")]


def test_settings_that_differ_from_the_development_image_are_named() -> None:
    wanted: dict[str, object] = {"User": "10001", "Entrypoint": ["run"]}
    assert program.settings_complaints({**wanted, "Labels": {"by": "buildah"}}, wanted) == []
    assert program.settings_complaints({**wanted, "Cmd": ["bash"]}, wanted) == [
        "Cmd is ['bash'], in the development cluster None"
    ]
    assert program.settings_complaints({"Entrypoint": ["run"]}, wanted) == [
        "User is None, in the development cluster 10001"
    ]
