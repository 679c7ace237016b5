"""Copies of one form for a TGI: which form a set has, what is refused, and that padding changes no product."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from support import lora_files
from support.lora_files import ATTENTION, Array
from support.results import digest

from wardrobe_contracts import paths
from wardrobe_contracts.base import Variant
from wardrobe_contracts.engines import Precision
from wardrobe_contracts.engines.tgi import ADAPTED_MODULES, ZERO_ADAPTER
from wardrobe_contracts.manifest import ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE
from wardrobe_contracts.routes import BaseShape, engine_adapter_name
from wardrobe_gateway.agent import tensors
from wardrobe_gateway.agent.set_folders import SetFolders
from wardrobe_gateway.agent.settings import Settings
from wardrobe_gateway.agent.tgi.forms import AdapterForm, SetForm, UnfitError, read_form, set_digest, set_form
from wardrobe_gateway.agent.tgi.padding import WrittenSet, copies_in, environment, read_set, write_set

REPOSITORY = Path(__file__).parents[2]

BASE = BaseShape(
    model_type="llama",
    layers=3,
    hidden_size=16,
    intermediate_size=24,
    attention_heads=4,
    key_value_heads=2,
    head_dim=4,
)
Q = frozenset({"self_attn.q_proj"})
QV = frozenset({"self_attn.q_proj", "self_attn.v_proj"})
SOME = "base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight"
TensorEdit = Callable[[dict[str, Array]], object]


def form(rank: int, modules: frozenset[str] = Q) -> AdapterForm:
    return AdapterForm(rank, 2.0, modules)


@pytest.mark.parametrize(
    ("ranks", "shards", "rank"),
    [
        ((4,), 1, 16),
        ((8, 16), 1, 16),
        ((4, 17), 1, 32),
        ((24,), 1, 32),
        ((8,), 2, 32),
        ((33,), 2, 64),
        ((8,), 4, 64),
        ((128,), 1, 128),
        ((256,), 2, 256),
    ],
)
def test_the_rank_is_the_next_that_tgi_scales_rightly(ranks: tuple[int, ...], shards: int, rank: int) -> None:
    assert set_form([form(one) for one in ranks], shards).rank == rank


def test_a_form_covers_all_modules() -> None:
    assert set_form([form(8), form(8, QV)], 1).modules == tuple(sorted(QV))


def test_a_rank_beyond_the_kernels_is_refused() -> None:
    with pytest.raises(UnfitError, match="r is 512: TGI's kernels take 128 for each of 2 GPUs"):
        set_form([form(8), form(512)], 2)


def test_another_member_file_or_form_is_another_set() -> None:
    one, other = SetForm(rank=16, modules=tuple(Q)), SetForm(rank=32, modules=tuple(Q))
    members = {"a-v1-00000000": digest("1"), "b-v1-00000000": digest("2")}
    swapped = {"a-v1-00000000": digest("2"), "b-v1-00000000": digest("1")}
    fewer = {"a-v1-00000000": digest("1")}
    digests = [set_digest(*given) for given in ((members, one), (members, other), (swapped, one), (fewer, one))]
    assert len(set(digests)) == 4
    assert set_digest(dict(reversed(members.items())), one) == digests[0]


@pytest.mark.parametrize(
    ("config", "scale"), [({}, 2.0), ({"use_rslora": True}, 16 / 8**0.5), ({"lora_alpha": 4}, 0.5)]
)
def test_the_form_of_an_adapter(tmp_path: Path, config: dict[str, Any], scale: float) -> None:
    folder = lora_files.write(tmp_path / "a", lora_files.matrices(BASE, 8, sorted(QV)), 8, **config)
    assert read_form(folder, BASE) == AdapterForm(8, pytest.approx(scale), QV)  # type: ignore[arg-type]  # pytest's


def test_half_of_the_layers_are_enough_where_the_config_says_so(tmp_path: Path) -> None:
    half = lora_files.matrices(BASE, 8, sorted(QV), layers=[0])
    folder = lora_files.write(tmp_path / "a", half, 8, layers_to_transform=[0])
    assert read_form(folder, BASE).modules == QV
    with pytest.raises(UnfitError, match=r"lacks .*layers\.1\.self_attn\.q_proj\.lora_A\.weight, one of 4"):
        read_form(lora_files.write(tmp_path / "b", half, 8), BASE)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"peft_type": "IA3"}, "peft_type is 'IA3': only LORA is served"),
        ({"use_dora": True}, "use_dora is True: TGI does not look at it"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save is"),
        ({"bias": "all"}, "bias is 'all': TGI drops"),
        ({"rank_pattern": {"q_proj": 4}}, "rank_pattern is"),
        ({"alpha_pattern": {"q_proj": 4}}, "alpha_pattern is"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights is 'pissa'"),
        ({"r": 16}, r"lora_A.weight is of \(8, 16\): with r 16 on this base it must be of \(16, 16\)"),
        ({"r": 0}, "r is 0: a rank is a whole number"),
        ({"r": True}, "r is True: a rank is"),
        ({"r": 10**9}, "r is 1000000000: TGI's kernels take 128 for each of 16 GPUs"),
        ({"r": 10**400}, "TGI's kernels take 128 for each of 16 GPUs"),
        ({"lora_alpha": "16"}, "lora_alpha is '16'"),
        ({"lora_alpha": 1e300}, "lora_alpha is 1e.300"),
        ({"lora_alpha": float("nan")}, "lora_alpha is nan"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out is True"),
    ],
)
def test_what_the_config_asks_beyond_plain_lora_is_refused(
    tmp_path: Path, config: dict[str, Any], message: str
) -> None:
    folder = lora_files.write(tmp_path / "a", lora_files.matrices(BASE, 8, sorted(Q)), 8, **config)
    with pytest.raises(UnfitError, match=message):
        read_form(folder, BASE)


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"[" * 100_000])
def test_a_config_that_is_none_is_refused(tmp_path: Path, text: bytes) -> None:
    folder = lora_files.write(tmp_path / "a", lora_files.matrices(BASE, 8, sorted(Q)), 8)
    (folder / ADAPTER_CONFIG_FILE).write_bytes(text)
    with pytest.raises(UnfitError, match=ADAPTER_CONFIG_FILE):
        read_form(folder, BASE)


def rename(old: str, new: str) -> TensorEdit:
    return lambda found: found.update({name.replace(old, new): found.pop(name) for name in [*found]})


def spoil(value: float) -> TensorEdit:
    return lambda found: found[SOME].__setitem__((3, 5), value)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (rename("model.layers", "transformer.h"), "TGI serves matrices of self_attn.q_proj"),
        (rename("self_attn.q_proj", "lm_head"), "TGI serves matrices of"),
        (rename("layers.1.", "layers.01."), "TGI serves matrices of"),
        (rename("layers.2.", "layers.3."), r"layers\.3\..* and the base has 3 layers: it is another base's"),
        (
            lambda found: found.update({SOME.replace("lora_A.weight", "lora_magnitude_vector"): found[SOME]}),
            "TGI serves",
        ),
        (lambda found: found.update({SOME: found[SOME][:, :8]}), r"is of \(8, 8\): with r 8 on this base"),
        (lambda found: found.pop(SOME), f"lora_B.weight and no {SOME}"),
        (lambda found: found.clear(), "has no tensor"),
        (spoil(float("nan")), f"{SOME} holds values that are no numbers"),
        (spoil(float("-inf")), f"{SOME} holds values that are no numbers"),
        (lambda found: found.update({SOME: found[SOME].astype(np.float64)}), "is of type F64: F32, F16, BF16 are read"),
        (lambda found: found.update({SOME: found[SOME].reshape(2, 4, 16)}), "is no matrix"),
    ],
)
def test_tensors_that_tgi_would_serve_as_something_else_are_refused(
    tmp_path: Path, edit: TensorEdit, message: str
) -> None:
    found = lora_files.matrices(BASE, 8, sorted(Q))
    edit(found)
    with pytest.raises(UnfitError, match=message):
        read_form(lora_files.write(tmp_path / "a", found, 8, target_modules=["q_proj"]), BASE)


@pytest.mark.parametrize("kind", ["qwen2", "starcoder2", "qwen3"])
def test_bases_on_which_tgi_drops_adapters_are_refused(tmp_path: Path, kind: str) -> None:
    folder = lora_files.write(tmp_path / "a", lora_files.matrices(BASE, 8, sorted(Q)), 8)
    with pytest.raises(UnfitError, match=f"model_type is '{kind}': TGI applies adapters on gemma2, gemma3_text, llama"):
        read_form(folder, BASE.model_copy(update={"model_type": kind}))


def announce(**said: object) -> Callable[[dict[str, Any]], object]:
    return lambda header: header[SOME].update(said)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (announce(shape=[2**40, 2**40]), "does not fit into bytes"),
        (announce(shape=[0, 16]), "does not fit into bytes"),
        (announce(shape=[-8, -16]), "does not fit into bytes"),
        (announce(data_offsets=[0, 2**60]), "does not fit into bytes"),
        (announce(data_offsets=[-512, 0]), "does not fit into bytes"),
        (announce(data_offsets=[2**60, 2**60 + 512]), "does not fit into bytes"),
        (announce(dtype="I64"), "is of type I64"),
        (announce(dtype=7), "is no matrix"),
        (lambda header: header.update({SOME: "x" * 10_000}), "is no matrix"),
        (lambda header: header.update({str(number): {} for number in range(5_001)}), "no object of at most 5000"),
    ],
)
def test_a_header_is_believed_nothing(tmp_path: Path, edit: Callable[[dict[str, Any]], object], message: str) -> None:
    found = lora_files.matrices(BASE, 8, sorted(Q))
    folder = lora_files.write(tmp_path / "a", found, 8)
    lora_files.save(folder / ADAPTER_WEIGHTS_FILE, found, edit)
    with pytest.raises(UnfitError, match=message) as raised:
        read_form(folder, BASE)
    assert len(str(raised.value)) < 1000


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "its header has 0 bytes"),
        (b"\xff" * 64, "its header has 18446744073709551615 bytes"),
        ((2 << 20).to_bytes(8, "little") + b" " * (2 << 20), "its header has 2097152 bytes: 1048576"),
        ((4).to_bytes(8, "little") + b"[{}]", "its header is no object"),
        ((4).to_bytes(8, "little") + b"{{{{", "its header is no JSON"),
        ((60_000).to_bytes(8, "little") + b"[" * 60_000, "its header is no JSON"),
    ],
)
def test_a_file_that_is_no_safetensors_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    folder = lora_files.write(tmp_path / "a", lora_files.matrices(BASE, 8, sorted(Q)), 8)
    (folder / ADAPTER_WEIGHTS_FILE).write_bytes(data)
    with pytest.raises(UnfitError, match=message):
        read_form(folder, BASE)


def test_a_cut_off_file_is_refused(tmp_path: Path) -> None:
    folder = lora_files.write(tmp_path / "a", lora_files.matrices(BASE, 8, sorted(Q)), 8)
    whole = (folder / ADAPTER_WEIGHTS_FILE).read_bytes()
    (folder / ADAPTER_WEIGHTS_FILE).write_bytes(whole[:-100])
    with pytest.raises(UnfitError, match="does not fit into bytes"):
        read_form(folder, BASE)


def made_set(cache: Path) -> tuple[WrittenSet, dict[str, Path]]:
    """A narrow adapter, one of half the layers, and a wide one in bfloat16."""
    found = {
        "a": (lora_files.matrices(BASE, 4, sorted(Q), seed=1), 4, {}),
        "b": (
            lora_files.matrices(BASE, 8, ATTENTION, [1], seed=2),
            8,
            {"layers_to_transform": 1, "use_rslora": True},
        ),
        "c": (lora_files.matrices(BASE, 24, ADAPTED_MODULES, seed=3), 24, {}),
    }
    for name, tensor in found["c"][0].items():
        found["c"][0][name] = (tensor.view(np.uint32) >> 16).astype(np.uint16)
    digests = {engine_adapter_name(f"{name}-v1", digest(name)): digest(name) for name in found}
    folders = {
        name: lora_files.write(cache / name, tensors, rank, **config)
        for name, (tensors, rank, config) in zip(digests, found.values(), strict=True)
    }
    shared = set_form([read_form(folder, BASE) for folder in folders.values()], 1)
    return WrittenSet(members=digests, form=shared), folders


def products(folder: Path) -> dict[str, Array]:
    """What an adapter adds to each module's weights."""
    config = json.loads((folder / ADAPTER_CONFIG_FILE).read_text())
    scale = config["lora_alpha"] / (config["r"] ** 0.5 if config.get("use_rslora") else config["r"])
    found = lora_files.load(folder / ADAPTER_WEIGHTS_FILE)
    sides = [(name, name.replace("lora_A", "lora_B")) for name in found if "lora_A" in name]
    return {a: scale * found[b] @ found[a] for a, b in sides}


def test_copies_of_one_form_say_the_same_as_what_they_copy(tmp_path: Path) -> None:
    made, folders = made_set(tmp_path / "cache")
    target = tmp_path / "sets" / "one"
    target.parent.mkdir()
    write_set(target, made, folders, BASE)
    shapes = []
    for name, folder in folders.items():
        copy = copies_in(target, made)[name]
        own, copied = products(folder), products(copy)
        assert len(copied) == BASE.layers * len(ADAPTED_MODULES)
        for module, product in copied.items():
            np.testing.assert_allclose(product, own.get(module, 0 * product), rtol=1e-5, atol=1e-7)
        found = lora_files.load(copy / ADAPTER_WEIGHTS_FILE)
        shapes.append({tensor: array.shape for tensor, array in found.items()})
        assert read_form(copy, BASE).rank == 32
    assert shapes[0] == shapes[1] == shapes[2]
    zeros = lora_files.load(target / ZERO_ADAPTER / ADAPTER_WEIGHTS_FILE)
    assert {tensor: array.shape for tensor, array in zeros.items()} == shapes[0]
    assert not any(array.any() for array in zeros.values())
    assert read_set(target) == made
    assert read_set(target).digest == made.digest


@pytest.mark.parametrize("piece", [1, 100, tensors.PIECE_BYTES])
def test_matrices_are_padded_the_same_in_pieces_of_any_size(tmp_path: Path, piece: int) -> None:
    """A piece of one byte is a row."""
    matrix = np.arange(1, 61, dtype=np.float32).reshape(12, 5)
    lora_files.save(tmp_path / "made", {"a": matrix})
    wanted = [("a", "F32", (19, 8)), ("b", "F16", (30, 3))]
    with tensors.opened(tmp_path / "made", piece) as weights:
        assert weights.first_not_finite() is None
        tensors.write(tmp_path / "copy", wanted, [weights.pieces("a"), ()], piece)
    copied = lora_files.load(tmp_path / "copy")
    np.testing.assert_array_equal(copied["a"], np.pad(matrix, ((0, 7), (0, 3))))
    np.testing.assert_array_equal(copied["b"], np.zeros((30, 3)))


def test_a_set_is_written_once_and_whole_or_not_at_all(tmp_path: Path) -> None:
    made, folders = made_set(tmp_path / "cache")
    target = tmp_path / "one"
    partial = tmp_path / "one.partial"
    partial.mkdir()
    (partial / "left").write_text("by an agent that was killed")
    spoiled = next(iter(folders.values())) / ADAPTER_WEIGHTS_FILE
    whole = spoiled.read_bytes()
    spoiled.write_bytes(b"")
    with pytest.raises(UnfitError):
        write_set(target, made, folders, BASE)
    assert not target.exists()
    assert not partial.exists()
    spoiled.write_bytes(whole)
    write_set(target, made, folders, BASE)
    assert sorted(path.name for path in target.iterdir()) == ["0", "1", "2", "set.json", ZERO_ADAPTER]
    spoiled.unlink()
    write_set(target, made, folders, BASE)  # what is there is never written again


def test_an_adapter_wider_than_the_set_is_refused(tmp_path: Path) -> None:
    made, folders = made_set(tmp_path / "cache")
    narrow = WrittenSet(members=made.members, form=SetForm(rank=16, modules=made.form.modules))
    with pytest.raises(UnfitError, match=r"r 24 on .* is wider than the set's"):
        write_set(tmp_path / "one", narrow, folders, BASE)


def test_the_environment_names_copies_and_the_zero_adapter(tmp_path: Path) -> None:
    made = WrittenSet(members={"b-v1-00000000": digest("b"), "a-v1-00000000": digest("a")}, form=set_form([form(8)], 1))
    copies = {"a-v1-00000000": "0", "b-v1-00000000": "1", ZERO_ADAPTER: ZERO_ADAPTER}
    named = [f"{name}={tmp_path / folder}" for name, folder in copies.items()]
    assert environment(tmp_path, made) == {"LORA_ADAPTERS": ",".join(named)}


def test_a_set_that_no_process_can_be_started_with_is_refused_before_it_is_written(tmp_path: Path) -> None:
    members = {engine_adapter_name(f"a-{number}-v1", digest("a")): digest("a") for number in range(2000)}
    made = WrittenSet(members=members, form=set_form([form(8)], 1))
    with pytest.raises(UnfitError, match=r"LORA_ADAPTERS of 2000 adapters has \d+ bytes: 120000 are the most"):
        write_set(tmp_path / "one", made, {}, BASE)
    assert not any(tmp_path.iterdir())


def test_the_largest_deployment_that_can_be_written_is_a_set_that_a_process_can_be_started_with() -> None:
    """Of each department the adapter that answers, the one that is to, and all that are kept; by the longest names."""
    crd = yaml.safe_load((REPOSITORY / "crds" / "adapterdeployments.yaml").read_text())
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    longest = spec["departments"]["additionalProperties"]["properties"]["adapter"]["maxLength"]
    departments = range(spec["departments"]["maxProperties"])
    versions = range(2 + spec["history"]["properties"]["keepLoaded"]["maximum"])
    ends = [f"{department:02}-v{100_000 + version}" for department in departments for version in versions]
    members = {engine_adapter_name(end.rjust(longest, "x"), digest("a")): digest("a") for end in ends}
    assert len(members) == 640
    made = WrittenSet(members=members, form=set_form([form(8)], 1))
    settings = Settings("tantanila", Path(paths.STORE), Path(paths.CACHE), Variant.NONE, Precision.BFLOAT16)
    told = SetFolders(settings.sets, 1).start(made).environment
    subprocess.run(["/bin/true"], env=told, check=True)


def test_of_a_rank_that_the_gpus_cannot_have_no_weights_are_read(tmp_path: Path) -> None:
    folder = lora_files.write(tmp_path / "a", lora_files.matrices(BASE, 8, sorted(Q)), 8, r=129)
    (folder / ADAPTER_WEIGHTS_FILE).unlink()
    with pytest.raises(UnfitError, match="r is 129: TGI's kernels take 128 for each of 1 GPUs"):
        read_form(folder, BASE, 1)
    with pytest.raises(FileNotFoundError):
        read_form(folder, BASE, 2)


MEASURED = """
import sys
from pathlib import Path
from support.results import digest
from wardrobe_contracts.routes import BaseShape
from wardrobe_gateway.agent.tgi.forms import read_form, set_form
from wardrobe_gateway.agent.tgi.padding import WrittenSet, write_set
folder, target, shape = Path(sys.argv[1]), Path(sys.argv[2]), BaseShape.model_validate_json(sys.argv[3])
def most():  # of this program alone, which getrusage does not say
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1])
before = most()
made = WrittenSet(members={"a-v1-00000000": digest("a")}, form=set_form([read_form(folder, shape)], 2))
write_set(target, made, {"a-v1-00000000": folder}, shape)
print(most() - before)
"""


def test_a_wide_adapter_takes_a_few_pieces_of_memory(tmp_path: Path) -> None:
    wide = BaseShape(**{**BASE.model_dump(), "layers": 1, "hidden_size": 14336, "head_dim": 4096})
    folder = lora_files.write(tmp_path / "a", lora_files.matrices(wide, 129, sorted(Q)), 129)
    command = [sys.executable, "-c", MEASURED, str(folder), str(tmp_path / "set"), wide.model_dump_json()]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert int(done.stdout) << 10 < 6 * tensors.PIECE_BYTES, "of tensors that have 8 MB each"


@pytest.mark.parametrize("name", ["a,b-00000000", "a=b-00000000", "a@b-00000000", "a b-00000000", "../b-00000000"])
def test_a_name_that_tgi_would_split_is_refused(tmp_path: Path, name: str) -> None:
    made = WrittenSet(members={name: digest("b")}, form=set_form([form(8)], 1))
    with pytest.raises(UnfitError, match="the adapter's name is"):
        write_set(tmp_path / "one", made, {name: tmp_path}, BASE)
