"""Target `tgi`, from an image that only root can use as TGI's own: its Python lies below /root, which nobody else may
enter (its issue #3082). That image itself cannot be had here."""

import shutil
from pathlib import Path

from devcluster.console import DevclusterError, say
from devcluster.instance import checkout

from . import starts
from .builder import Builder, image_of
from .container import WORK, Image
from .content import USER

TARGET = "tgi"
LAUNCHER = "text-generation-launcher"
LIKE = f"localhost/like-{TARGET}:check"
CONTAINER_FILE = f"""
FROM {image_of("python")}
RUN mkdir --parents /root/python /usr/src/.venv/bin && cp /usr/bin/python3.11 /root/python \\
    && ln --symbolic /root/python/python3.11 /usr/src/.venv/bin/python3 && chmod 700 /root
COPY --chmod=755 {LAUNCHER} /usr/local/bin/
USER root
"""
WRAPPER = Path("gateway/src/wardrobe_gateway/wrapper/wrapper.py")
WANTED = {"User": str(USER), "Entrypoint": [LAUNCHER], "WorkingDir": "/tmp"}  # noqa: S108 - inside


def build(builder: Builder) -> None:
    """The target, and the image before it."""
    say(f"building target {TARGET} from an image like TGI's own…")
    builder.build("python", checkout())
    folder = builder.scratch / TARGET
    folder.mkdir(exist_ok=True)
    shutil.copy(Path(__file__).with_name("like_tgi.py"), folder / LAUNCHER)
    (folder / "Dockerfile").write_text(CONTAINER_FILE)
    builder.run("build", "--quiet", "--isolation=chroot", f"--tag={LIKE}", str(folder))
    shutil.rmtree(folder)
    builder.build(TARGET, checkout(), TGI=LIKE)


def start(builder: Builder, place: starts.Place) -> str:
    """As a pod starts it: below the wrapper, until it answers. Raises DevclusterError where it does not."""
    config = builder.config(image_of(TARGET))
    if wrong := {name: config.get(name) for name, wanted in WANTED.items() if config.get(name) != wanted}:
        raise DevclusterError(f"target {TARGET}: {wrong}; wanted: {WANTED}")
    shutil.copy(checkout() / WRAPPER, place.runner.work)
    port = starts.free_port()
    with builder.mounted(image_of(TARGET)) as root:
        image = Image(root, config)
        command = ["python3", f"{WORK}/{WRAPPER.name}", "--control", f"{WORK}/control", "--", *image.entry_point]
        with place.runner.running(image, command, variables={"PORT": str(port)}, port=port) as container:
            container.await_answer("/health", f"user {USER}".encode())
            container.stop()
    return "made from an image that only root could use, it started below the wrapper as an ordinary user"
