"""Hardware described by hand: what is said counts, what is not said stays unknown."""

import pytest

from mathcore.units import GIB
from mesh.api.errors import RequestError
from mesh.api.hardware import described_hardware, notes_of, parse_device
from mesh.cli.machines.describe import as_described


def payload(**given: object) -> dict[str, object]:
    return parse_device({"name": "rig", **given})[1]


def refusal(**given: object) -> RequestError:
    with pytest.raises(RequestError) as caught:
        parse_device({"name": "rig", **given})
    assert caught.value.code == "BadRequest"
    assert caught.value.text.isprintable()
    return caught.value


def test_what_a_description_leaves_out_is_unknown_not_invented() -> None:
    found = payload(gpu="banana 24GB")
    assert (found["price_nusd"], found["watts"], found["flops"]) == (0, 0, 0)
    assert found["bandwidth_basis"] == "prior"
    assert not {"ram_bytes", "ram_free_bytes", "hourly_nusd", "disk_free_bytes"} & set(found)


def test_makers_gb_means_gib_here_too() -> None:
    found = payload(gpu="A100", memory="40GB")
    assert (found["model"], found["memory_bytes"]) == ("A100 40GB", 40 * GIB)
    assert found["bandwidth_bytes_per_s"] == 1555 * 10**9


def test_count_and_size_may_stand_in_the_name() -> None:
    found = payload(gpu="2x A100 40GB")
    assert (found["count"], found["memory_bytes"]) == (2, 40 * GIB)
    assert payload(gpu="RTX 4090", count=4)["count"] == 4
    assert "say it once" in refusal(gpu="2x RTX 4090", count=3).hint


def test_the_name_may_be_the_hardware() -> None:
    device_id, found = parse_device({"name": "M3 Max 36GB"})
    assert device_id == "dev-m3-max-36gb"
    assert (found["name"], found["model"], found["kind"]) == (
        "M3 Max 36GB",
        "Apple M3 Max 30-core",
        "apple",
    )


def test_a_rented_machine_has_a_price_an_hour_and_stands_in_a_cloud() -> None:
    for rate in ("0.45/h", "$0.45", "0.45 USD/h", 0.45):
        found = payload(gpu="A100 80GB", rate=rate)
        assert (found["hourly_nusd"], found["price_nusd"]) == (450_000_000, 0)
        assert found["location"] == "cloud"
    assert payload(gpu="A100 80GB", rate="1", location="lan")["location"] == "lan"


def test_a_purchase_price_of_a_cloud_machine_is_a_mistake() -> None:
    error = refusal(gpu="A100 80GB", price="0.40", location="cloud")
    assert "rented by the hour" in error.text
    assert "--rate" in error.hint
    assert "rented was not bought" in refusal(gpu="A100", price="9000", rate="1").text


def test_a_price_may_be_a_number() -> None:
    assert payload(gpu="RTX 4090", price=1600)["price_nusd"] == 1_600_000_000_000
    assert payload(gpu="RTX 4090", lifetime=36)["lifetime_months"] == 36


def test_ram_of_the_host_is_free_until_something_says_otherwise() -> None:
    found = payload(gpu="RTX 4090", ram="128GB")
    assert (found["ram_bytes"], found["ram_free_bytes"]) == (128 * GIB, 128 * GIB)
    assert "ram_bandwidth_bytes_per_s" not in found  # nobody measured it: the planner's prior


@pytest.mark.parametrize("gpu", ["Strix Halo 128GB", "M3 Ultra 512GB", "EPYC 9654 768GB"])
def test_shared_memory_is_counted_once(gpu: str) -> None:
    assert "ram_bytes" not in payload(gpu=gpu, ram="128GB")


def test_a_processor_s_memory_is_its_ram_however_it_is_said() -> None:
    by_ram, by_name = payload(gpu="EPYC 9654", ram="768GB"), payload(gpu="EPYC 9654 768GB")
    assert by_ram == by_name
    assert (by_ram["kind"], by_ram["memory_bytes"]) == ("cpu", 768 * GIB)
    error = refusal(gpu="EPYC 9654")
    assert "how much RAM" in error.text
    assert payload(gpu=error.hint.removeprefix("say "))["kind"] == "cpu"


def test_every_engine_the_hardware_could_run_is_planned_unless_some_are_named() -> None:
    assert payload(gpu="H100")["engines"] == ["llama.cpp", "ollama", "sglang", "tgi", "vllm"]
    assert payload(gpu="M4 Max")["engines"] == ["llama.cpp", "mlx", "ollama"]
    assert payload(gpu="H100", engines="vllm, LLAMA.CPP")["engines"] == ["llama.cpp", "vllm"]
    assert payload(gpu="H100", engines=["vllm"])["engines"] == ["vllm"]
    assert payload(gpu="H100", backends="vllm")["engines"] == ["vllm"]
    assert refusal(gpu="H100", engines="vlm").text == "engines: unknown 'vlm'"


def test_an_unknown_card_without_memory_is_asked_what_was_meant() -> None:
    error = refusal(gpu="RTX 4900")
    assert "not in the catalogue" in error.text
    assert error.hint.startswith('did you mean "RTX 4090"?')
    assert payload(gpu="RTX 4900 24GB")["memory_bytes"] == 24 * GIB


def test_what_is_odd_about_a_description_is_noted() -> None:
    def notes(gpu: str) -> list[str]:
        return notes_of(described_hardware({"name": "rig", "gpu": gpu}))

    assert notes("RTX 4090") == []
    assert "not a size the RTX 4090 is sold with" in notes("RTX 4090 48GB")[0]
    assert notes("RTX 4900 24GB") == [
        "'RTX 4900' is not in the catalogue: its speed is a guess; did you mean \"RTX 4090\"?"
    ]


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("ram", "128", "ram: '128' has no unit"),
        ("rate", "soon", "rate: 'soon' is not a price of an hour"),
        ("memory", "big", "memory: 'big' is not a size of memory"),
        ("price", "cheap", "price: 'cheap' is not an amount of dollars"),
        ("lifetime", "long", "lifetime: 'long' is not a number of months"),
        ("network", "fast", "network: 'fast' is not the speed of a link"),
        ("disk", "2", "disk: '2' has no unit"),
        ("count", 0, "count: 0 is not a whole number from 1 to 1024"),
        ("watts", "450", "watts: '450' is not a whole number of watts"),
        ("location", "moon", "location: 'moon' is not lan, tailnet or cloud"),
        ("host", "../x", "host: takes letters, digits"),
        ("rent", "1", "rent: no such field"),
    ],
)
def test_a_wrong_field_is_one_line_with_a_way_out(field: str, value: object, says: str) -> None:
    error = refusal(**{"gpu": "RTX 4090", field: value})
    assert error.text.startswith(says)
    assert error.hint
    assert len(error.hint) < 80


def test_the_name_a_wrong_field_may_mean_is_said() -> None:
    assert refusal(gpu="RTX 4090", engine="vllm").hint == "engines"
    assert refusal(gpu="RTX 4090", foo=1).hint == "fleet devices add --help"


def test_what_its_owner_says_the_gpu_may_use_counts_without_a_range() -> None:
    _, rule = parse_device({"name": "mac", "gpu": "M4 Max 64GB"})
    assert (rule["free_bytes"], rule["free_low_bytes"]) == (64 * GIB * 81 // 100, 48 * GIB)
    _, said = parse_device({"name": "mac", "gpu": "M4 Max 64GB", "usable": "58GB"})
    assert (said["free_bytes"], said.get("free_low_bytes", 0)) == (58 * GIB, 0)
    error = refusal(gpu="M4 Max 64GB", usable="70GB")
    assert error.text == "usable: 70.0 GiB of 64.0 GiB"


def test_a_described_device_keeps_what_was_said_when_something_else_changes() -> None:
    _, said = parse_device({"name": "mac", "gpu": "M4 Max 64GB", "usable": "58GB"})
    again = {"name": "mac", **as_described(said), "watts": 100}
    assert parse_device(again)[1]["free_bytes"] == 58 * GIB
    _, usual = parse_device({"name": "mac", "gpu": "M4 Max 64GB"})
    assert "usable" not in as_described(usual)
