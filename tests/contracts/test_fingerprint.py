"""A base's fingerprint: what it notices, what it costs, and that its older form is still compared as it was."""

import hashlib
import json
from pathlib import Path

import pytest

from wardrobe_contracts.base_files import JSON_LIMIT, base_files, read_json
from wardrobe_contracts.digests import (
    HEADER_LIMIT,
    SAMPLE_BYTES,
    SAMPLES,
    WHOLE_BYTES,
    fingerprint,
    fingerprint_like,
    is_sampled,
)

LARGE = WHOLE_BYTES + 12_345


def write_weights(path: Path, size: int, tensor: str = "w", header: int | None = None) -> None:
    """A sparse safetensors file of `size` bytes."""
    text = json.dumps({tensor: {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}).encode()
    with path.open("wb") as file:
        file.write((len(text) if header is None else header).to_bytes(8, "little") + text)
        file.truncate(size)


def change(path: Path, place: int) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        file.write(b"changed")


def model(folder: Path, size: int) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    write_weights(folder / "model.safetensors", size)
    return folder


@pytest.mark.parametrize("place", [0, 1, SAMPLES // 2, SAMPLES - 1])
def test_other_weights_are_another_model(tmp_path: Path, place: int) -> None:
    folder = model(tmp_path / "base", LARGE)
    before = fingerprint(folder, base_files(folder))
    change(folder / "model.safetensors", place * (LARGE - SAMPLE_BYTES) // (SAMPLES - 1) + SAMPLE_BYTES - 7)
    assert fingerprint(folder, base_files(folder)) != before


def test_small_weights_are_read_whole(tmp_path: Path) -> None:
    folder = model(tmp_path / "base", 2_000_000)
    before = fingerprint(folder, base_files(folder))
    change(folder / "model.safetensors", 1_234_567)
    assert fingerprint(folder, base_files(folder)) != before


@pytest.mark.parametrize("changed", ["size", "header", "config", "name"])
def test_what_else_makes_another_model(tmp_path: Path, changed: str) -> None:
    folder = model(tmp_path / "base", LARGE)
    before = fingerprint(folder, base_files(folder))
    weights = folder / "model.safetensors"
    if changed == "size":
        write_weights(weights, LARGE + 1)
    elif changed == "header":
        write_weights(weights, LARGE, tensor="v")
    elif changed == "config":
        (folder / "config.json").write_text('{"a": 1}')
    else:
        (folder / "config.json").rename(folder / "other.json")
    assert fingerprint(folder, base_files(folder)) != before


def bytes_read() -> int:
    """By this process, in all."""
    return int(Path("/proc/self/io").read_text().split("rchar: ")[1].split()[0])


def test_a_model_of_140_gigabytes_costs_a_look_at_16_megabytes(tmp_path: Path) -> None:
    folder = tmp_path / "base"
    folder.mkdir()
    shards = [f"model-{number:05}-of-00030.safetensors" for number in range(1, 31)]
    for shard in shards:
        write_weights(folder / shard, 140 * 10**9 // 30)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {name: name for name in shards}}))
    before = bytes_read()
    fingerprint(folder, base_files(folder))
    assert bytes_read() - before < 30 * (SAMPLES + 2) * SAMPLE_BYTES < 17 * 10**6


def test_a_header_that_claims_the_whole_file_is_read_to_the_formats_limit(tmp_path: Path) -> None:
    write_weights(tmp_path / "model.safetensors", 10**12, header=2**63)
    before = bytes_read()
    fingerprint(tmp_path, ["model.safetensors"])
    assert bytes_read() - before < HEADER_LIMIT + (SAMPLES + 2) * SAMPLE_BYTES


def test_the_older_form_is_compared_as_it_was_made(tmp_path: Path) -> None:
    """As First light made it, from sizes, headers and small files: an order that carries it is still good."""
    folder = model(tmp_path / "base", 10_000)
    weights = (folder / "model.safetensors").read_bytes()
    header = weights[: 8 + int.from_bytes(weights[:8], "little")]
    facts = {
        "config.json": [2, f"sha256:{hashlib.sha256(b'{}').hexdigest()}"],
        "model.safetensors": [10_000, f"sha256:{hashlib.sha256(header).hexdigest()}"],
    }
    older = f"sha256:{hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()}"
    assert not is_sampled(older)
    assert fingerprint_like(older, folder, base_files(folder)) == older
    newer = fingerprint(folder, base_files(folder))
    assert is_sampled(newer)
    assert fingerprint_like(newer, folder, base_files(folder)) == newer


def test_a_file_that_is_too_large_is_not_parsed(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    with path.open("wb") as file:
        file.truncate(10**12)
    before = bytes_read()
    with pytest.raises(ValueError, match=f"more than {JSON_LIMIT} bytes"):
        read_json(path)
    assert bytes_read() - before < 2 * JSON_LIMIT


def test_brackets_without_end_are_no_json_object(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match="nested too deep"):
        read_json(tmp_path / "config.json")
