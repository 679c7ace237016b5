"""The router's pure parts: keys, names, choice, token counts."""

import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.gateway import routes
from support.results import digest

from wardrobe_contracts.routes import RoutedAdapter, engine_adapter_name
from wardrobe_gateway import bodies
from wardrobe_gateway.admission import Admission, Pool
from wardrobe_gateway.errors import ApiError
from wardrobe_gateway.process import saved
from wardrobe_gateway.process.kube_source import addresses_of
from wardrobe_gateway.process.routes import InvalidRoutesError, parse
from wardrobe_gateway.process.source import Address
from wardrobe_gateway.router import keys, requests, usage
from wardrobe_gateway.router.backends import LONGEST_ASIDE_SECONDS, Backend, all_restarting
from wardrobe_gateway.router.choice import Target, pick, resolve, usable


def adapter(name: str, *departments: str, letter: str = "a") -> RoutedAdapter:
    return RoutedAdapter(
        engine_name=engine_adapter_name(name, digest(letter)),
        adapter=name,
        departments=list(departments),
        artifact=f"adapters/{name}",
        digest=digest(letter),
        manifest_digest=digest("e"),
    )


C1 = adapter("cardiology-v1", "cardiology")
C2 = adapter("cardiology-v2", "cardiology", letter="b")
P1 = adapter("paediatrics-v1", "paediatrics", letter="c")
SHARED = adapter("plain-v1", "cardiology", "paediatrics", letter="d")
ROUTES = routes(
    [C1, C2, P1, SHARED],
    {"cardiology": C2.engine_name, "paediatrics": P1.engine_name, "renal": None},
)


# Keys

K1, K2, K3, K4 = (f"k{number}-0123456789abc" for number in range(1, 5))


def test_keys_open_their_department_only() -> None:
    table = keys.build(["a", "b", "c"], {"a": f"{K1}\n\n {K2} \n", "b": K3, "elsewhere": K4})
    assert keys.owner(table, f"Bearer {K1}") == keys.owner(table, f"bearer  {K2} ") == "a"
    assert keys.owner(table, f"Bearer {K3}") == "b"
    assert table.missing == {"c"}
    assert table.counts == {"a": 2, "b": 1, "c": 0}
    for header, code in ((None, "key_missing"), (f"Basic {K1}", "key_missing"), (f"Bearer {K4}", "key_unknown")):
        with pytest.raises(ApiError) as raised:
            keys.owner(table, header)
        assert (raised.value.status, raised.value.code) == (401, code)
        assert raised.value.headers["WWW-Authenticate"] == "Bearer"


def test_a_key_in_two_departments_opens_neither_and_both_are_reported() -> None:
    table = keys.build(["a", "b", "c"], {"a": f"{K1}\n{K2}", "b": K1, "c": K3})
    with pytest.raises(ApiError, match="more than one department"):
        keys.owner(table, f"Bearer {K1}")
    assert keys.owner(table, f"Bearer {K2}") == "a"
    assert table.duplicates == {"a", "b"}
    assert table.counts == {"a": 1, "b": 0, "c": 1}
    assert not table.missing


def test_a_department_that_is_not_routed_collides_with_nothing() -> None:
    table = keys.build(["b"], {"a": K1, "b": K1})
    assert keys.owner(table, f"Bearer {K1}") == "b"


def test_keys_are_read_as_the_kubelet_writes_them(tmp_path: Path) -> None:
    data = tmp_path / "..2026_11_22"
    (data / "a").mkdir(parents=True)
    (data / "a" / "keys").write_text(f"{K1}\n")
    (tmp_path / "..data").symlink_to(data.name)
    (tmp_path / "a").symlink_to("..data/a")
    assert keys.read(tmp_path) == {"a": f"{K1}\n"}
    assert keys.read(tmp_path / "nowhere") == {}


@given(st.dictionaries(st.sampled_from("abc"), st.lists(st.sampled_from([K1, K2, K3]))))
def test_no_key_opens_a_department_that_does_not_list_it(texts: dict[str, list[str]]) -> None:
    table = keys.build(["a", "b", "c"], {name: "\n".join(lines) for name, lines in texts.items()})
    for key in (K1, K2, K3):
        owners = [name for name, lines in texts.items() if key in lines]
        try:
            assert [keys.owner(table, f"Bearer {key}")] == owners
        except ApiError:
            assert len(owners) != 1


@pytest.mark.parametrize(
    "weak", ["fifteen-letters", "a key with blanks in it", "ключ-из-многих-букв", "tab\tin-a-key-0123456"]
)
def test_a_key_that_can_be_guessed_or_not_be_sent_opens_nothing_and_is_reported(weak: str) -> None:
    table = keys.build(["a", "b", "c"], {"a": f"{weak}\n{K1}", "b": weak})
    assert (set(table.weak), set(table.missing)) == ({"a", "b"}, {"c"})
    assert table.counts == {"a": 1, "b": 0, "c": 0}
    assert keys.owner(table, f"Bearer {K1}") == "a"
    with pytest.raises(ApiError) as raised:
        keys.owner(table, f"Bearer {weak}")
    assert (raised.value.status, raised.value.code) == (401, "key_too_short")


def test_a_key_of_any_bytes_is_unknown() -> None:
    with pytest.raises(ApiError) as raised:
        keys.owner(keys.build(["a"], {"a": K1}), "Bearer " + b"\xff\xfe".decode(errors="surrogateescape"))
    assert raised.value.code == "key_unknown"


# Names


def test_a_department_gets_its_live_adapter_and_any_loaded_one_by_name() -> None:
    live = Target("cardiology", C2.engine_name, C2.digest)
    for model in ("cardiology", None, "", "tgi", "dummy"):
        assert resolve(ROUTES, "cardiology", model) == live
    assert resolve(ROUTES, "cardiology", C1.engine_name) == Target("cardiology", C1.engine_name, C1.digest)
    assert resolve(ROUTES, "paediatrics", SHARED.engine_name).department == "paediatrics"


@pytest.mark.parametrize(
    ("caller", "model", "status", "code"),
    [
        ("cardiology", "paediatrics", 403, "model_forbidden"),
        ("cardiology", P1.engine_name, 403, "model_forbidden"),
        ("cardiology", "renal", 403, "model_forbidden"),
        ("cardiology", "gpt-4", 404, "model_not_found"),
        ("cardiology", "cardiology-v1", 404, "model_not_found"),
        ("renal", "renal", 503, "no_version_yet"),
        ("renal", None, 503, "no_version_yet"),
        (None, None, 400, "model_missing"),
        (None, "gpt-4", 404, "model_not_found"),
    ],
)
def test_refusals_say_what_may_be_used(caller: str | None, model: str | None, status: int, code: str) -> None:
    with pytest.raises(ApiError) as raised:
        resolve(ROUTES, caller, model)
    assert (raised.value.status, raised.value.code) == (status, code)
    error = json.loads(raised.value.body())["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    if status in {403, 404}:
        assert all(name in error["message"] for name in usable(ROUTES, caller))
    if status == 503:
        assert raised.value.headers["Retry-After"] == "1"


def test_without_keys_everything_may_be_named() -> None:
    assert resolve(ROUTES, None, "paediatrics").adapter == P1.engine_name
    assert resolve(ROUTES, None, C1.engine_name).department == "cardiology"
    assert usable(ROUTES, None)[:3] == ["cardiology", "paediatrics", "renal"]
    assert usable(ROUTES, "paediatrics") == ["paediatrics", P1.engine_name, SHARED.engine_name]


# Choice

NOW = 100.0


@dataclass
class Candidate:
    address: str
    serves: frozenset[str]
    in_flight: int = 0
    last_used: int = 0
    aside_until: float = 0.0
    late: bool = False


def test_the_least_loaded_of_those_that_proved_it() -> None:
    both = frozenset({"v1", "v2"})
    a, b = Candidate("a", both, in_flight=3), Candidate("b", both, in_flight=1)
    c, idle = Candidate("c", both, in_flight=1, last_used=-1), Candidate("idle", frozenset({"v1"}))
    everyone = [a, b, c, idle]
    assert pick(everyone, "v2", (), NOW) is c
    assert pick(everyone, "v2", {"c"}, NOW) is b
    assert pick(everyone, "v1", (), NOW) is idle
    assert pick(everyone, "v3", (), NOW) is None
    assert pick(everyone, "v2", {"a", "b", "c"}, NOW) is None


def test_one_whose_agent_is_late_is_taken_where_there_is_no_other() -> None:
    late, busy = Candidate("a", frozenset({"v"}), late=True), Candidate("b", frozenset({"v"}), in_flight=9)
    assert pick([late, busy], "v", (), NOW) is busy
    assert pick([late], "v", (), NOW) is late


def test_a_restart_is_the_reason_where_no_other_engine_answers() -> None:
    restarting, other = Backend(Address("a", "a")), Backend(Address("b", "b"))
    assert not all_restarting([])
    assert not all_restarting([other])
    restarting.answering = restarting.restarting = True
    assert all_restarting([restarting])
    assert all_restarting([restarting, other])  # whose agent does not answer
    other.answering = True
    assert not all_restarting([restarting, other])


def test_one_that_fails_fast_is_set_aside_for_a_growing_time_and_never_the_last_one() -> None:
    failing, busy = Backend(Address("a", "a")), Backend(Address("b", "b"))
    failing.serves = busy.serves = frozenset({"v"})
    busy.in_flight = 9
    assert pick([failing, busy], "v", (), NOW) is failing
    now, spans = NOW, []
    for _ in range(12):
        failing.failed(now)
        failing.failed(now)  # what was under way beside it says nothing new
        spans.append(failing.aside_until - now)
        assert pick([failing, busy], "v", (), now) is busy
        assert pick([failing], "v", (), now) is failing
        now = failing.aside_until
        assert pick([failing, busy], "v", (), now) is failing
    assert spans[:3] == [0.5, 1.0, 2.0]
    assert max(spans) == spans[-1] == LONGEST_ASIDE_SECONDS
    failing.answered()
    failing.failed(now)
    assert failing.aside_until - now == spans[0]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3), st.booleans())))
def test_never_one_that_has_not_proved_it(rows: list[tuple[bool, int, bool]]) -> None:
    made = [
        (Candidate(str(n), frozenset({"v"} if proved else ()), load), tried)
        for n, (proved, load, tried) in enumerate(rows)
    ]
    but = {candidate.address for candidate, tried in made if tried}
    found = pick([candidate for candidate, _ in made], "v", but, NOW)
    may = [candidate for candidate, _ in made if candidate.serves and candidate.address not in but]
    assert (found is None) == (not may)
    if found is not None:
        assert found in may
        assert found.in_flight == min(candidate.in_flight for candidate in may)


# Requests


NAMED = {"adapter_id": "v1", "details": True}


def sent(path: str, payload: dict[str, Any]) -> tuple[requests.ParsedRequest, dict[str, Any]]:
    understood = requests.parse(path, payload)
    return understood, json.loads(requests.body_for(understood, "v1"))


def test_requests_name_exactly_one_adapter() -> None:
    chat, body = sent("/v1/chat/completions", {"model": "cardiology", "messages": [], "seed": 1})
    assert (chat.model, chat.hide_usage, body) == ("cardiology", False, {"model": "v1", "messages": [], "seed": 1})
    plain, body = sent("/generate", {"inputs": "x", "parameters": {"adapter_id": "w", "seed": 1}})
    assert (plain.model, plain.path, plain.as_list) == ("w", "/generate", False)
    assert body == {"inputs": "x", "parameters": {"adapter_id": "v1", "seed": 1, "details": True}}


def test_the_compatible_path_streams_as_the_body_says() -> None:
    stream, body = sent("/", {"inputs": "x", "stream": True})
    assert (stream.path, body) == ("/generate_stream", {"inputs": "x", "parameters": NAMED})
    whole = requests.parse("/", {"inputs": "x"})
    assert (whole.path, whole.as_list, whole.model) == ("/generate", True, None)


@pytest.mark.parametrize("options", [None, {}, {"include_usage": False}])
def test_streams_report_their_usage_to_us(options: dict[str, Any] | None) -> None:
    understood, body = sent("/v1/chat/completions", {"model": "m", "stream": True, "stream_options": options})
    assert understood.hide_usage
    assert body["stream_options"]["include_usage"] is True


def test_who_asks_for_the_usage_gets_it() -> None:
    understood, _ = sent("/v1/chat/completions", {"stream": True, "stream_options": {"include_usage": True}})
    assert not understood.hide_usage
    assert not requests.parse("/generate", {"inputs": "x", "parameters": {"details": True}}).hide_usage


@pytest.mark.parametrize(
    ("path", "payload"),
    [
        ("/v1/chat/completions", {"model": 1}),
        ("/v1/chat/completions", {"stream_options": []}),
        ("/v1/chat/completions", {"model": "m" * 254}),
        ("/v1/chat/completions", {"messages": ["\ud800"]}),
        ("/generate", {"parameters": "x"}),
        ("/generate", {"parameters": [1]}),
        ("/generate", {"parameters": {"adapter_id": ["a"]}}),
    ],
)
def test_parts_of_another_type_are_refused(path: str, payload: dict[str, Any]) -> None:
    with pytest.raises(ApiError) as raised:
        requests.parse(path, payload)
    assert raised.value.status == 400


@given(st.dictionaries(st.text(max_size=5), st.text(), max_size=4), st.sampled_from(requests.PATHS))
def test_nothing_of_a_request_is_lost_and_no_text_grows(payload: dict[str, str], path: str) -> None:
    payload = {name: value for name, value in payload.items() if name not in asked_about}
    body = requests.body_for(requests.parse(path, payload), "v1")
    assert payload.items() <= json.loads(body).items()
    assert len(body) < len(json.dumps(payload, ensure_ascii=False).encode()) + 80


asked_about = {"model", "parameters", "stream", "stream_options"}


# Places


def test_one_department_gets_half_of_the_places_and_leaves_the_rest_to_others() -> None:
    pool = Pool(30)
    assert [pool.take("greedy", 1) for _ in range(16)] == [True] * 15 + [False]
    assert [pool.take("other", 1) for _ in range(8)] == [True] * 7 + [False]
    assert pool.take("quiet", 4)
    pool.give_back("greedy", 15)
    assert pool.take("other", 1)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 40)), max_size=60))
def test_places_are_never_more_than_there_are_and_who_holds_none_finds_some(asked_for: list[tuple[str, int]]) -> None:
    pool, used = Pool(100), dict.fromkeys("abc", 0)
    for who, amount in asked_for:
        used[who] += amount if pool.take(who, amount) else 0
    assert sum(used.values()) <= 88  # each took half of what was left, at most
    assert pool.take("quiet", 6)
    for who, amount in used.items():
        pool.give_back(who, amount)
    pool.give_back("quiet", 6)
    assert pool.take("one", 50)


def test_a_place_is_free_again_however_a_request_ends() -> None:
    admission = Admission(requests=2, size=10)
    for _ in range(3):
        with pytest.raises(ApiError) as raised, admission.request("a") as place:
            place.charge(6)
        assert (raised.value.status, raised.value.code) == (429, "busy")
        with admission.request("a") as place:
            place.charge(5)
    with admission.request("a"), pytest.raises(ApiError), admission.request("a"):
        pass


# Bodies


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"[" * 100_000, "request_too_complex"),
        (b'{"a":' + b"[" * 1000 + b"]" * 1000 + b"}", "request_too_deep"),
        (b'{"a":' * 100_000, "request_too_complex"),
        (b'{"a":[' + b"[]," * 300_000 + b"1]}", "request_too_complex"),
        (b'{"a":[' + b"0," * 300_000 + b"1]}", "request_too_complex"),
        (b'{"a":[' + b'"",' * 300_000 + b"1]}", "request_too_complex"),
        (b'"' * 300_000, "request_too_complex"),
        (b'{"a":1e999}', "invalid_json"),
        (b'{"a":NaN}', "invalid_json"),
        (b'{"a":' + b"1" * 5000 + b"}", "invalid_json"),
        (b'{"a":"\xff"}', "invalid_json"),
        ("{}".encode("utf-16"), "invalid_json"),
        (b"[]", "invalid_json"),
        (b"", "invalid_json"),
    ],
)
def test_bodies_that_cost_too_much_are_refused_before_they_are_parsed(body: bytes, code: str) -> None:
    with pytest.raises(ApiError) as raised:
        bodies.parse(body)
    assert (raised.value.status, raised.value.code) == (400, code)


def test_brackets_and_commas_in_texts_are_no_structure() -> None:
    text = '[{",\\' * 50_000
    assert bodies.parse(json.dumps({"a": text}).encode()) == {"a": text}
    assert bodies.parse(json.dumps({"a": text}, ensure_ascii=False).encode()) == {"a": text}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
)


@given(st.dictionaries(st.text(), JSON, max_size=5), st.booleans())
def test_all_other_bodies_are_what_they_were(payload: dict[str, Any], escaped: bool) -> None:
    assert bodies.parse(json.dumps(payload, ensure_ascii=escaped).encode()) == payload


# Token counts

CHAT_EVENTS = [
    b'data: {"choices": [{"delta": {"content": "a"}}], "usage": null}\n\n',
    b'data: {"choices": [{"delta": {"content": "\\n\\n"}}]}\n\n',
    b'data: {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2}}\n\n',
    b"data: [DONE]\n\n",
]
PLAIN_EVENTS = [
    b'data:{"token": {"id": 1}, "details": null}\n\n',
    b'data:{"token": {"id": 2}, "details": {"generated_tokens": 2, "input_length": 9}}\n\n',
]


def through(data: bytes, cuts: list[int], *, hide: bool) -> tuple[bytes, usage.Events]:
    events = usage.Events(hide_usage=hide)
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    shown = b"".join(events.feed(data[a:b]) for a, b in itertools.pairwise(edges))
    return shown + events.rest(), events


CUTS = st.lists(st.integers(0, 10_000), max_size=12)


@given(CUTS, st.booleans())
def test_a_chat_stream_arrives_the_same_however_it_is_cut(cuts: list[int], hide: bool) -> None:
    shown, events = through(b"".join(CHAT_EVENTS), cuts, hide=hide)
    assert events.usage == usage.Usage(7, 2)
    expected = [event for event in CHAT_EVENTS if not (hide and b'"choices": []' in event)]
    assert shown == b"".join(expected)


@given(CUTS)
def test_a_plain_stream_loses_only_its_details(cuts: list[int]) -> None:
    shown, events = through(b"".join(PLAIN_EVENTS), cuts, hide=True)
    assert events.usage == usage.Usage(9, 2)
    last = json.loads(shown.split(b"\n\n")[1].removeprefix(b"data:"))
    assert last == {"token": {"id": 2}, "details": None}
    assert through(b"".join(PLAIN_EVENTS), cuts, hide=False)[0] == b"".join(PLAIN_EVENTS)


@given(st.lists(st.binary(max_size=30)), st.booleans())
def test_no_byte_of_anything_else_is_lost(pieces: list[bytes], hide: bool) -> None:
    events = usage.Events(hide_usage=hide)
    assert b"".join(events.feed(piece) for piece in pieces) + events.rest() == b"".join(pieces)


def test_whole_answers() -> None:
    body = b'{"usage": {"prompt_tokens": 3, "completion_tokens": 4}}'
    assert usage.of_answer(body, {}, hide=False) == (usage.Usage(3, 4), body)
    told, shown = usage.of_answer(b'{"generated_text": "x", "details": {"generated_tokens": 5}}', {}, hide=True)
    assert (told, json.loads(shown)) == (usage.Usage(0, 5), {"generated_text": "x"})
    headers = {"X-Prompt-Tokens": "6", "X-Generated-Tokens": "7"}
    assert usage.of_answer(b"{}", headers, hide=True)[0] == usage.Usage(6, 7)
    assert usage.of_answer(b"no json", {}, hide=True) == (usage.Usage(), b"no json")


# Routes and addresses


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "gone"),
        ("", "cannot be read"),
        ("[]", "cannot be read"),
        (ROUTES.model_dump_json(by_alias=True).replace('"generation":1', '"generation":-1'), "generation"),
        ('{"format": 2, "adapters": {}}', r"format is 2: .* reads formats up to 1 \(deployment: .*; generation: "),
        (ROUTES.model_dump_json(by_alias=True).replace(C2.digest, digest("f")), "adapter cardiology-v2-.* is not"),
    ],
)
def test_routes_that_cannot_be_used_say_why(text: str | None, message: str) -> None:
    with pytest.raises(InvalidRoutesError, match=message):
        parse(text, "tantanila")


def test_routes_of_a_newer_operator_are_followed() -> None:
    newer = ROUTES.model_dump_json(by_alias=True).replace('"format":1', '"format":2,"canary":{"cardiology":5}')
    assert parse(newer, "tantanila") == ROUTES


def test_another_deployments_routes_are_refused() -> None:
    with pytest.raises(InvalidRoutesError, match="not of other"):
        parse(ROUTES.model_dump_json(by_alias=True), "other")
    assert parse(ROUTES.model_dump_json(by_alias=True), "tantanila") == ROUTES


def test_addresses_are_those_of_all_endpoints() -> None:
    slices: list[dict[str, Any]] = [
        {
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8090}, {"name": "ops", "port": 8091}],
            "endpoints": [
                {"addresses": ["10.0.0.1"], "conditions": {"ready": True}},
                {"addresses": ["10.0.0.2"], "conditions": {"ready": False}},
            ],
        },
        {"addressType": "IPv6", "ports": [{"name": "http", "port": 8080}], "endpoints": [{"addresses": ["fd00::1"]}]},
        {"addressType": "IPv4", "ports": None, "endpoints": [{"addresses": ["10.0.0.3"]}]},
        {"addressType": "IPv4", "ports": [{"port": 8080}], "endpoints": None},
    ]
    assert addresses_of(slices) == {
        Address("10.0.0.1:8090", "10.0.0.1:8091"),
        Address("10.0.0.2:8090", "10.0.0.2:8091"),
        Address("[fd00::1]:8080", "[fd00::1]:8081"),
        Address("10.0.0.3:8080", "10.0.0.3:8081"),
    }


def test_what_is_kept_on_disk_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "last.json"
    assert saved.load(path) == saved.Saved()
    kept = saved.Saved("{}", frozenset({Address("10.0.0.1:8080", "10.0.0.1:8081")}))
    saved.store(path, kept)
    assert saved.load(path) == kept
    path.write_text('{"routes": "{}", "addresses": ["10.0.0.1:8080"]}')  # as release 0.1 wrote it
    assert saved.load(path) == kept
    path.write_text("{half")
    assert saved.load(path) == saved.Saved()
    saved.store(tmp_path / "missing" / "last.json", kept)  # a disk that fails stops nothing
