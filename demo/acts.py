"""The acts: each shows what a user would type, does it, and waits where something takes a while."""

import secrets
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from . import asking, console, rollback, story
from .cluster import Cluster
from .console import DemoError, Progress
from .layout import side_by_side
from .story import BASE, DEPARTMENT, DEPARTMENTS, DEPLOYMENT, FIRST, RUNS, SECOND_RUN, Act, Observed

LOOK_EVERY = 2.0
WITHIN = 30 * 60.0
KEYS_WITHIN = 120.0
"""Seconds until a router has seen a Secret that is new; the kubelet takes up to 90."""
ENGINE_PORT = 8000
"""On the loopback of an engine pod, behind its agent."""

Finished = Callable[[Observed], object]
Now = Callable[[Observed], str]


def tell(cluster: Cluster) -> None:
    """All acts in order; what is over already is said in one line."""
    following = story.next_act(cluster.observe())
    if following is not Act.BASE:
        console.say()
        console.tell(f"The story goes on {f'at “{following.value}”' if following else 'to its end'}.")
    for number, act in enumerate(Act, 3):
        console.heading(f"{number}. {act.value}")
        if ended := story.ending(act, cluster.observe()):
            console.done(ended)
            continue
        PLAY[act](cluster)
        if ended := story.ending(act, cluster.observe()):
            console.say()
            console.done(ended)
        cluster.show_state()


def wait(
    observe: Callable[[], Observed],
    finished: Finished,
    now: Now,
    failed: Callable[[Observed], str | None],
    patience: float = 0.0,
    *,
    every: float = LOOK_EVERY,
) -> None:
    """Look until it is finished, saying how far it is. Raises DemoError where it takes too long, or where it failed.

    Trouble within the first `patience` seconds is not believed yet.
    """
    progress = Progress()
    console.say()
    while not finished(seen := observe()):
        if progress.elapsed >= patience and (trouble := failed(seen)):
            progress.clear()
            raise DemoError(trouble)
        if progress.elapsed > WITHIN:
            raise DemoError(f"not done after {WITHIN / 60:g} minutes: {now(seen)}")
        progress.show(now(seen))
        time.sleep(every)
    progress.clear()


def _base(cluster: Cluster) -> None:
    console.tell("A BaseModel names a folder of a claim. Wardrobe reads it once, and keeps its digest.")
    cluster.apply("basemodel.yaml")
    wait(
        cluster.observe,
        lambda seen: story.ending(Act.BASE, seen),
        lambda seen: story.waiting_for(seen, "BaseModel", BASE, "Ready"),
        lambda seen: story.failure(seen, "BaseModel", BASE),
    )


def _train(cluster: Cluster) -> None:
    console.tell(
        "A FineTuneJob checks its dataset, trains, evaluates base and adapter on rows that it kept out, and publishes "
        "an Adapter, which never changes. Each pod asks for one core, so that on a machine with two cores the "
        "runs take turns. `kubectl get ftj --watch` shows the same in another terminal."
    )
    cluster.apply(*(f"finetunejob-{run}.yaml" for run in RUNS))
    _await_runs(cluster, *RUNS)


def _train_again(cluster: Cluster) -> None:
    console.tell("The same line, so the next version of it. The first one stays as it is.")
    cluster.apply(f"finetunejob-{SECOND_RUN}.yaml")
    _await_runs(cluster, SECOND_RUN)


def _await_runs(cluster: Cluster, *runs: str) -> None:
    wait(
        cluster.observe,
        lambda seen: all(seen.adapter_of(run) for run in runs),
        lambda seen: story.run_progress(seen, runs),
        lambda seen: story.failure(seen, "FineTuneJob", *runs),
    )


def _deploy(cluster: Cluster) -> None:
    console.tell(
        "An AdapterDeployment says which Adapter answers for which department. Each department has keys of its own, "
        "in a Secret that the operator cannot read."
    )
    for department in DEPARTMENTS:
        if not cluster.exists("secret", f"{department}-keys"):
            key = f"--from-literal=keys={secrets.token_hex(16)}"
            cluster.perform("create", "secret", "generic", f"{department}-keys", key)
    if cluster.observe().find("AdapterDeployment", DEPLOYMENT) is None:
        cluster.apply("adapterdeployment.yaml")
    wait(
        cluster.observe,
        lambda seen: story.ending(Act.DEPLOY, seen),
        lambda seen: _deployment(seen, "Ready"),
        lambda seen: story.failure(seen, "AdapterDeployment", DEPLOYMENT),
        patience=KEYS_WITHIN,
    )


def _deployment(seen: Observed, *types: str) -> str:
    return story.waiting_for(seen, "AdapterDeployment", DEPLOYMENT, *types)


def _ask(cluster: Cluster) -> None:
    console.tell(
        f"“{asking.QUESTION}” The bare base is asked on an engine pod, at a port that only the pod itself reaches; "
        "the departments through the router. The model is tiny (5.8 million parameters): it has the departments' "
        "tone and no knowledge. Nothing it says is medical advice."
    )
    pod = engine_pod(cluster)
    with cluster.forward(f"pod/{pod}", ENGINE_PORT) as url:
        console.command(asking.curl(BASE, None, url))
        columns = [("the bare base", asking.ask(url, BASE).text)]
    with router(cluster) as url:
        columns += [_department_answer(cluster, url, department) for department in DEPARTMENTS]
    _show(columns)


def _department_answer(cluster: Cluster, url: str, model: str, department: str | None = None) -> tuple[str, str]:
    key = cluster.key(department or model)
    console.command(asking.curl(model, f"<key of {department or model}>", url))
    answer = asking.ask(url, model, key)
    return f"model “{model}”, answered by {answer.adapter}", answer.text


def _show(columns: list[tuple[str, str]]) -> None:
    console.say()
    for line in side_by_side(columns, 97):
        console.say(f"   {line}".rstrip())


def engine_pod(cluster: Cluster) -> str:
    """A running one. Raises DemoError."""
    selector = f"wardrobe.dev/owner={DEPLOYMENT},wardrobe.dev/part=engine"
    found = cluster.read("get", "pods", "-l", selector, "--field-selector=status.phase=Running", "-o", "name").split()
    if not found:
        raise DemoError(f"no engine pod runs: {cluster.typed('get', 'pods', '-l', selector)}")
    return found[0].removeprefix("pod/")


def router(cluster: Cluster) -> AbstractContextManager[str]:
    """The routers' URL: the Service's own where this machine reaches it, else forwarded."""
    if not cluster.reachable:
        return cluster.forward(f"service/{DEPLOYMENT}", 80)
    return nullcontext(str((cluster.observe().find("AdapterDeployment", DEPLOYMENT) or {})["status"]["url"]))


def _point(cluster: Cluster) -> None:
    second = cluster.observe().adapter_of(SECOND_RUN)
    if second is None:
        raise DemoError(f"FineTuneJob {SECOND_RUN} has not made an Adapter")
    console.tell(
        f"{FIRST} goes on answering until every engine pod has loaded {second} and proved it: its recorded scores are "
        "found again under it, and not under the base or another adapter."
    )
    cluster.perform(*rollback.patch(second))
    wait(
        cluster.observe,
        lambda seen: seen.answering(second),
        lambda seen: _deployment(seen, "AdaptersProved", "RoutesApplied"),
        lambda seen: story.failure(seen, "AdapterDeployment", DEPLOYMENT),
    )
    console.tell("What answered before stays loaded, and can still be asked by its name:")
    with router(cluster) as url:
        answers = [_department_answer(cluster, url, DEPARTMENT)]
        answers.append(_department_answer(cluster, url, _engine_name(cluster, FIRST), DEPARTMENT))
    _show(answers)


def _engine_name(cluster: Cluster, adapter: str) -> str:
    """What engines call an Adapter: its name and the beginning of its digest."""
    digest = cluster.get("adapter", adapter)["spec"]["digest"]
    return f"{adapter}-{digest.removeprefix('sha256:')[:8]}"


def _roll_back(cluster: Cluster) -> None:
    live = cluster.observe().department["adapter"]
    keys = {department: cluster.key(department) for department in DEPARTMENTS}
    before = pods(cluster)
    with router(cluster) as url:
        flip, judgement = rollback.under_traffic(cluster, url, keys, live, FIRST)
    untouched = pods(cluster) == before
    restarts = f"the same {len(before)}, none restarted" if untouched else "changed: kubectl get pods"
    console.say()
    for line in rollback.report(flip, judgement, restarts=restarts):
        console.say(f"     {line}")


def pods(cluster: Cluster) -> dict[str, int]:
    """The deployment's pods by uid, and how often their containers were started again."""
    items = cluster.get("pods", "-l", f"wardrobe.dev/owner={DEPLOYMENT}")["items"]
    kinds = ("containerStatuses", "initContainerStatuses")
    return {
        pod["metadata"]["uid"]: sum(one["restartCount"] for kind in kinds for one in pod["status"].get(kind, []))
        for pod in items
    }


PLAY: dict[Act, Callable[[Cluster], None]] = {
    Act.BASE: _base,
    Act.TRAIN: _train,
    Act.DEPLOY: _deploy,
    Act.ASK: _ask,
    Act.TRAIN_AGAIN: _train_again,
    Act.POINT: _point,
    Act.ROLL_BACK: _roll_back,
}
