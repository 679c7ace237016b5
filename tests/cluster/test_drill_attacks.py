"""One department's key against all others: nobody else waits for ever, fails, or is answered with another's words."""

import itertools
import json
import logging
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from support import attacked, deployed
from support.attacks import ATTACKS, LONG
from support.deployed import KEYS, Hospital
from support.traffic import question

from devcluster import kubectl
from wardrobe_contracts.state import (
    ADAPTER_HEADER,
    DEPARTMENT_HEADER,
    HEALTH_PATH,
    METRICS_PATH,
    READY_PATH,
    STATE_PATH,
)

pytestmark = [pytest.mark.node, pytest.mark.drill]

log = logging.getLogger(__name__)
Serve = Callable[..., Hospital]
CHAT = "/v1/chat/completions"
PLAIN = ("/generate", "/generate_stream", "/")
LIVE = {"cardiology": "cardiology-v2", "paediatrics": "paediatrics-v1"}
OTHER = {"cardiology": "paediatrics", "paediatrics": "cardiology"}
STRANGERS = ("", "key-of-a-stranger", *(key[:-1] for key in KEYS.values()), *(f"{key}s" for key in KEYS.values()))


@pytest.fixture(scope="module")
def hospital(serve: Serve) -> Hospital:
    """Two engines; an adapter that answered before is loaded beside the two that answer."""
    made = serve(deployed.deployment(replicas=2, cardiology="cardiology-v1", paediatrics="paediatrics-v1"))
    made.flip("cardiology", "cardiology-v2")
    made.is_ready()
    return made


def long(name: str) -> list[pytest.MarkDecorator]:
    """Up to two minutes; `tests/gateway` has the same against a router alone."""
    return [pytest.mark.gauntlet] if name in LONG else []


@pytest.mark.parametrize("name", [pytest.param(name, marks=long(name)) for name in ATTACKS])
def test_an_attack_harms_only_who_makes_it(hospital: Hospital, name: str) -> None:
    damage = attacked.suffer(hospital, ATTACKS[name])
    log.info("\n".join(attacked.tell(name, damage)))
    assert damage.failed == []
    assert damage.wrong == []
    assert damage.untouched
    assert [one for one in damage.memory if one.peak >= one.limit] == []
    assert {status for status in damage.attacker if status >= 500} <= {503}


def names_of(hospital: Hospital) -> dict[str, list[str]]:
    """What each department's key opens: itself, and its adapters."""
    adapters = sorted({adapter for adapter, _ in hospital.known})
    return {department: [department, *(one for one in adapters if one.startswith(department))] for department in KEYS}


def requests_for(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """A name in all places where one can be asked for."""
    yield CHAT, question(name, 8)
    yield CHAT, question(name, 8, stream=True)
    for path in PLAIN:
        yield path, {"inputs": "Hello?", "parameters": {"adapter_id": name, "max_new_tokens": 8}}


def post(hospital: Hospital, path: str, body: Any, key: str, **headers: str) -> requests.Response:
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    more = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {}), **headers}
    return requests.post(hospital.url + path, data=sent, headers=more, timeout=60)


def test_every_key_opens_its_own_department_and_no_other(hospital: Hospital) -> None:
    names = names_of(hospital)
    assert [len(of) for of in names.values()] == [3, 2]
    for caller, owner in itertools.product(KEYS, KEYS):
        for name in names[owner]:
            for path, body in requests_for(name):
                answer = post(hospital, path, body, KEYS[caller])
                assert answer.status_code == (200 if caller == owner else 403), (caller, name, path, answer.text)
                if caller == owner:
                    assert answer.headers[ADAPTER_HEADER].startswith(LIVE[owner] if name == owner else name)
                else:
                    assert ADAPTER_HEADER not in answer.headers


@pytest.mark.parametrize("key", STRANGERS)
def test_a_stranger_opens_nothing(hospital: Hospital, key: str) -> None:
    for name in itertools.chain(*names_of(hospital).values()):
        for path, body in requests_for(name):
            assert post(hospital, path, body, key).status_code == 401
    bearer = {"Authorization": f"Bearer {key}"} if key else {}
    assert requests.get(f"{hospital.url}/v1/models", headers=bearer, timeout=30).status_code == 401


@pytest.mark.parametrize("department", KEYS)
def test_a_request_that_says_two_things_gets_at_most_its_own(hospital: Hospital, department: str) -> None:
    """Whatever is answered is answered by the caller's own adapter, with that adapter's text."""
    other, key = OTHER[department], KEYS[department]
    foreign = next(adapter for adapter, _ in hospital.known if adapter.startswith(LIVE[other]))
    own, theirs = json.dumps(question(department, 8)), json.dumps(question(other, 8))
    twice = own[:-1] + f', "model": "{other}"}}'
    cases: list[tuple[bytes, dict[str, str]]] = [
        (own.encode(), {DEPARTMENT_HEADER: other}),
        (own.encode(), {ADAPTER_HEADER: foreign}),
        (own.encode(), {"X-Forwarded-For": "127.0.0.1", "X-Original-URL": "/state"}),
        (twice.encode(), {}),
        ((theirs[:-1] + f', "model": "{department}"}}').encode(), {}),
        (own.replace(f'"{department}"', f'["{other}"]').encode(), {}),
        (own.replace(f'"{department}"', f'"{department}\\u0000{other}"').encode(), {}),
        (own.replace(f'"{department}"', f'"{other} "').encode(), {}),
        ((own[:-1] + f', "adapter_id": "{foreign}", "lora_name": "{foreign}"}}').encode(), {}),
        ((own[:-1] + f', "parameters": {{"adapter_id": "{foreign}"}}}}').encode(), {}),
    ]
    answers = [(case, post(hospital, CHAT, case[0], key, **case[1])) for case in cases]
    assert any(answer.ok for _, answer in answers), "who only lies in a header is answered"
    for (body, headers), answer in answers:
        assert answer.status_code < 500, (body, headers, answer.text)
        if answer.ok:
            adapter = answer.headers[ADAPTER_HEADER]
            assert adapter.startswith(LIVE[department]), (body, headers)
            assert answer.json()["choices"][0]["message"]["content"] == hospital.known[adapter, 8], (body, headers)


RAW = [
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {own}\r\nAuthorization: Bearer {other}\r\n"
    b"Content-Length: {length}\r\n\r\n{theirs}",
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {own}\r\nContent-Length: 1\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{theirs}",
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization : Bearer {own}\r\nContent-Length: 0\r\n\r\n",
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {own}\x01\r\nContent-Length: 0\r\n\r\n",
    b"POST /v1/chat/completions?key={own} HTTP/9.9\r\nAuthorization: Bearer {own}\r\n\r\n",
    b"Authorization: Bearer {own}\r\n\r\n",
    b"POST http://a/v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {own}\r\n"
    b"Content-Length: {length}\r\n\r\n{theirs}",
    b"POST /v1/../state HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {own}\r\nContent-Length: 0\r\n\r\n",
]


@pytest.mark.parametrize("template", RAW)
def test_a_malformed_head_is_refused_and_tells_nothing(hospital: Hospital, template: bytes) -> None:
    for department, other in OTHER.items():
        theirs = json.dumps(question(other, 8)).encode()
        named = {"own": KEYS[department], "other": "nobody's key at all", "length": str(len(theirs))}
        sent = template.replace(b"{theirs}", theirs)
        for name, value in named.items():
            sent = sent.replace(f"{{{name}}}".encode(), value.encode())
        answered = raw(hospital, sent)
        assert answered == b"" or 400 <= int(answered.split()[1]) < 500, answered
        assert KEYS[department].encode() not in answered
        assert ADAPTER_HEADER.lower().encode() not in answered.lower()


def raw(hospital: Hospital, sent: bytes) -> bytes:
    """All that one router answers to these bytes, until it closes or we end our side."""
    at = attacked.target(hospital)
    with socket.create_connection((at.router, at.port), timeout=60) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        came = b""
        try:
            while piece := connection.recv(1 << 16):
                came += piece
        except ConnectionResetError:
            pass
        return came


@pytest.mark.parametrize("path", [STATE_PATH, METRICS_PATH, READY_PATH, HEALTH_PATH])
def test_operations_are_not_on_the_clients_port(hospital: Hospital, path: str) -> None:
    bearer = {"Authorization": f"Bearer {KEYS['cardiology']}"}
    assert requests.get(hospital.url + path, headers=bearer, timeout=30).status_code == 404


def test_no_key_is_in_any_log(hospital: Hospital, kubeconfig: Path) -> None:
    """After all of the above; neither of pods nor of their former containers."""
    namespace = hospital.namespace.name
    for pod in [*hospital.pods("router"), *hospital.pods("engine")]:
        name = pod["metadata"]["name"]
        said = kubectl.run(kubeconfig, "logs", name, f"--namespace={namespace}", "--all-containers", "--tail=-1")
        assert said
        assert [key for key in KEYS.values() if key in said] == []
