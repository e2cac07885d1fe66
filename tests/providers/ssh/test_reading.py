# ruff: noqa: E501 (lines as makers' tools print them)
"""What hosts print, as facts: shapes seen in the wild (values invented), each with what must come of it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.ssh.reading.amd import read_amd
from providers.ssh.reading.apple import free_bytes, read_apple
from providers.ssh.reading.host import read_host
from providers.ssh.reading.nvidia import read_nvidia
from providers.ssh.reading.sections import Section, bus_address, number, split
from providers.ssh.reading.software import engines, python
from providers.ssh.reading.system import memory, processor, undriven

MIB, GIB = 1 << 20, 1 << 30
HEAD = (
    "index, uuid, pci.bus_id, name, memory.total [MiB], memory.used [MiB], memory.free [MiB], "
    "utilization.gpu [%], power.draw [W], power.limit [W], temperature.gpu, driver_version"
)
NEW = HEAD + ", compute_cap, mig.mode.current\n"
TWO = (
    NEW
    + "0, GPU-1f2e, 00000000:01:00.0, NVIDIA GeForce RTX 4090, 24564, 6211, 17958, 97, 381.20, 450.00, 71, 570.124.06, 8.9, [N/A]\n"
    + "1, GPU-9a8b, 00000000:41:00.0, NVIDIA GeForce RTX 3090, 24576, 18, 24136, 0, 21.07, 350.00, 38, 570.124.06, 8.6, [N/A]\n"
)
USERS = "gpu_uuid, pid, process_name, used_gpu_memory [MiB]\nGPU-1f2e, 4242, /usr/bin/ollama, 6100\nGPU-9a8b, 77, python, [N/A]\n"


def nv(text: str, status: int | None = 0) -> Section:
    return Section(text, status)


def test_two_cards_with_their_processes() -> None:
    first, second = read_nvidia(nv(TWO), nv(USERS)).found
    assert (first.name, first.memory_bytes, first.used_bytes) == (
        "NVIDIA GeForce RTX 4090",
        24564 * MIB,
        6211 * MIB,
    )
    assert (first.bus, first.select, first.lock) == ("0000:01:00.0", "GPU-1f2e", "0000:01:00.0")
    assert (first.watts, first.watts_limit, first.temperature_c) == (381.2, 450, 71)
    assert [(p.pid, p.name, p.memory_bytes) for p in first.processes] == [
        (4242, "ollama", 6100 * MIB)
    ]
    assert second.utilisation_percent == 0
    assert second.processes[0].memory_bytes is None


@pytest.mark.parametrize(
    ("header", "row", "used"),
    [
        ("index, name, memory.total [MiB], memory.used [MiB]", "0, L4, 23034, 700", 700 * MIB),
        (
            "name, index, memory.used, memory.total, fan.speed [%]",
            "L4, 0, 700, 23034, 30",
            700 * MIB,
        ),
        ("index, name, memory.total [MiB]", "0, L4, 23034", None),
    ],
)
def test_columns_are_read_by_name_and_what_is_missing_is_unknown(
    header: str, row: str, used: int | None
) -> None:
    (card,) = read_nvidia(nv(f"{header}\n{row}\n")).found
    assert (card.memory_bytes, card.used_bytes) == (23034 * MIB, used)
    assert (card.utilisation_percent, card.watts) == (None, None)


def test_a_driver_that_was_updated_under_its_module_is_a_state_and_no_missing_card() -> None:
    text = (
        "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 550.144"
    )
    cards = read_nvidia(nv(text, 18))
    assert cards.state == "driver_mismatch"
    assert "550.144" in cards.text
    assert "reboot the host, or reload" in cards.text


@pytest.mark.parametrize("status", [None, 124, 137])
def test_a_driver_that_hangs_is_unresponsive(status: int | None) -> None:
    assert read_nvidia(nv("", status)).state == "unresponsive"


def test_a_driver_that_is_not_loaded_says_so() -> None:
    text = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."
    cards = read_nvidia(nv(text, 9))
    assert (cards.state, cards.found) == ("driver_error", ())
    assert "couldn't communicate" in cards.text


def test_a_card_that_fell_off_the_bus_is_lost_and_the_others_stand() -> None:
    text = TWO + "Unable to determine the device handle for GPU2: 0000:81:00.0: Unknown Error\n"
    cards = read_nvidia(nv(text, 15))
    assert (cards.state, len(cards.found)) == ("lost", 2)


@pytest.mark.parametrize(
    ("name", "memory", "arch"),
    [
        ("NVIDIA GB10", "[N/A], [N/A], [N/A]", "aarch64"),
        ("Orin (nvgpu)", "[N/A], [N/A], [N/A]", "aarch64"),
        ("NVIDIA N1X", "8128, 100, 8028", "aarch64"),
        ("NVIDIA Graphics Device", "8128, 100, 8028", "aarch64"),
    ],
)
def test_a_gpu_without_memory_of_its_own_has_the_hosts(name: str, memory: str, arch: str) -> None:
    row = (
        f"0, GPU-aa, 0000000F:01:00.0, {name}, {memory}, 3, 11.5, [N/A], 44, 580.95, 12.1, [N/A]\n"
    )
    body = said(
        id=f"Linux spark 6.11 {arch}\nuser bob",
        files="/proc/meminfo:MemTotal:       127600748 kB\n/proc/meminfo:MemAvailable:   120000000 kB",
        nv=NEW + row,
    )
    (card,) = read_host(body, "n0", everything=False).cards
    assert card.shares_ram
    assert (card.memory_bytes, card.free_bytes) == (127600748 * 1024, 120000000 * 1024)
    assert card.bus == "000f:01:00.0"


def test_a_small_server_card_on_an_arm_host_keeps_its_own_memory() -> None:
    row = "0, GPU-a, 00000000:01:00.0, Tesla T4, 15360, 0, 15360, 0, 9, 70, 30, 550.1, 7.5, [N/A]\n"
    files = "/proc/meminfo:MemTotal: 127600748 kB\n/proc/meminfo:MemAvailable: 120000000 kB"
    body = said(id="Linux a 6 aarch64\nuser b", files=files, nv=NEW + row)
    (card,) = read_host(body, "n0", everything=False).cards
    assert (card.shares_ram, card.memory_bytes) == (False, 15360 * MIB)


MIG = (
    NEW
    + "0, GPU-bb, 00000000:81:00.0, NVIDIA H100 80GB HBM3, 81559, 1200, 79800, [N/A], 88.1, 700.00, 35, 570.1, 9.0, Enabled\n"
)
LISTED = (
    "GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-bb)\n"
    "  MIG 2g.20gb     Device  0: (UUID: MIG-11)\n  MIG 1g.10gb     Device  1: (UUID: MIG-22)\n"
)


def test_a_divided_card_is_its_slices_with_unknown_load() -> None:
    slices = read_nvidia(nv(MIG), None, nv(LISTED)).found
    assert [(s.uuid, s.memory_bytes, s.utilisation_percent) for s in slices] == [
        ("MIG-11", 20 * GIB, None),
        ("MIG-22", 10 * GIB, None),
    ]
    assert [s.lock for s in slices] == ["0000:81:00.0/MIG-11", "0000:81:00.0/MIG-22"]
    assert slices[0].select == "MIG-11"


def test_a_card_divided_in_mode_but_not_yet_in_parts_is_no_device() -> None:
    assert read_nvidia(nv(MIG), None, nv("GPU 0: NVIDIA H100 (UUID: GPU-bb)\n")).found == ()


def unit(value: int, unit: str = "MB") -> dict[str, object]:
    return {"value": value, "unit": unit}


def test_amd_smi_6_prints_a_list_and_7_an_object() -> None:
    usage = {"gfx_activity": unit(42, "%")}
    sizes = {"total_vram": unit(20464), "used_vram": unit(2027), "total_gtt": unit(31990)}
    row = {
        "gpu": 0,
        "usage": usage,
        "power": {"socket_power": unit(120, "W")},
        "temperature": {"edge": unit(51)},
        "mem_usage": sizes,
    }
    for value in ([row], {"gpu_data": [row]}):
        (card,) = read_amd(nv(json.dumps(value))).found
        assert (card.memory_bytes, card.used_bytes) == (20464 * MIB, 2027 * MIB)
        assert (card.utilisation_percent, card.watts, card.shares_ram) == (42, 120.0, False)


def test_an_apu_has_the_pool_of_the_host_and_its_boards_name() -> None:
    metric = {
        "gpu_data": [
            {
                "gpu": 0,
                "usage": "N/A",
                "power": {"socket_power": "N/A"},
                "temperature": {"edge": "N/A"},
                "mem_usage": {
                    "total_vram": unit(4096),
                    "used_vram": unit(190),
                    "total_gtt": unit(112640),
                },
            }
        ]
    }
    static = {
        "gpu_data": [
            {
                "gpu": 0,
                "asic": {"market_name": "AMD Radeon Graphics"},
                "bus": {"bdf": "0000:C5:00.0"},
                "board": {"product_name": "Radeon 8060S"},
            }
        ]
    }
    (card,) = read_amd(nv(json.dumps(metric)), nv(json.dumps(static))).found
    assert (card.name, card.shares_ram, card.memory_bytes) == ("Radeon 8060S", True, 112640 * MIB)
    assert (card.utilisation_percent, card.bus) == (None, "0000:c5:00.0")


ROCM = {
    "card0": {"Unique ID": "0x6a1b", "PCI Bus": "0000:0B:00.0", "GPU use (%)": "7", "VRAM Total Memory (B)": "21458059264", "VRAM Total Used Memory (B)": "27856896", "Card Series": "Radeon RX 7900 XT", "Average Graphics Package Power (W)": "17.0", "Temperature (Sensor edge) (C)": "36.0"},
    "system": {"Driver version": "6.8.5"},
}  # fmt: skip


def test_rocm_smis_warnings_stand_before_its_json() -> None:
    text = (
        "WARNING: AMD GPU device(s) is/are in a low-power state. Check power control\n\n"
        + json.dumps(ROCM)
    )
    (card,) = read_amd(None, None, nv(text)).found
    assert (card.name, card.memory_bytes) == ("Radeon RX 7900 XT", 21458059264)
    assert (card.utilisation_percent, card.temperature_c) == (7, 36)


SYSFS = {
    "/sys/class/drm/card1/device/vendor": "0x1002",
    "/sys/class/drm/card1/device/device": "0x1586",
    "/sys/class/drm/card1/device/uevent": "DRIVER=amdgpu\nPCI_SLOT_NAME=0000:c5:00.0",
    "/sys/class/drm/card1/device/mem_info_vram_total": "4294967296",
    "/sys/class/drm/card1/device/mem_info_vram_used": "199000000",
    "/sys/class/drm/card1/device/mem_info_gtt_total": "118111600640",
    "/sys/class/drm/card1/device/hwmon/hwmon3/power1_average": "17000000",
    "/sys/class/drm/card1/device/hwmon/hwmon3/temp1_input": "41000",
}


def test_tools_that_refuse_leave_the_kernels_own_files() -> None:
    refused = "usage: rocm-smi\nrocm-smi: error: argument -d/--device: invalid int value: '0-255'"
    (card,) = read_amd(None, None, nv(refused, 2), SYSFS).found
    assert (card.memory_bytes, card.shares_ram, card.bus) == (118111600640, True, "0000:c5:00.0")
    assert (card.watts, card.temperature_c) == (17.0, 41)


SP = {
    "SPHardwareDataType": [{"chip_type": "Apple M3 Ultra", "physical_memory": "512 GB"}],
    "SPDisplaysDataType": [
        {
            "_name": "Apple M3 Ultra",
            "spdisplays_vendor": "sppci_vendor_Apple",
            "sppci_cores": "80",
            "sppci_model": "Apple M3 Ultra",
        }
    ],
}
INTEL = {
    "SPDisplaysDataType": [
        {"_name": "Intel UHD 630", "sppci_model": "Intel UHD Graphics 630"},
        {"_name": "AMD", "spdisplays_vendor": "sppci_vendor_amd", "spdisplays_vram": "8 GB"},
    ]
}
SYSCTL = "hw.memsize: 549755813888\niogpu.wired_limit_mb: 0\nhw.physicalcpu: 32\nhw.logicalcpu: 32\nmachdep.cpu.brand_string: Apple M3 Ultra\n"
VM = "Mach Virtual Memory Statistics: (page size of 16384 bytes)\nPages free:      902113.\nPages inactive:   700000.\nPages speculative: 10000.\nPages wired down: 300000.\nPages purgeable:  5000.\n"


def test_a_mac_has_three_quarters_of_its_memory_for_its_gpu() -> None:
    (card,) = read_apple(nv(json.dumps(SP)), SYSCTL)
    assert (card.name, card.memory_bytes, card.shares_ram) == (
        "Apple M3 Ultra",
        549755813888 * 3 // 4,
        True,
    )
    assert free_bytes(VM) == 16384 * 1617113
    raised = SYSCTL.replace("limit_mb: 0", "limit_mb: 480000")
    assert read_apple(nv(json.dumps(SP)), raised)[0].memory_bytes == 480000 * MIB


def test_an_intel_mac_has_no_card_an_engine_would_use() -> None:
    assert read_apple(nv(json.dumps(INTEL)), "hw.memsize: 17179869184\n") == ()


def test_a_card_without_a_driver_is_warned_of_and_one_with_is_not() -> None:
    (line,) = undriven(
        "0000:01:00.0 0x10de 0x2684 0x030000 none\n0000:00:02.0 0x8086 0x4680 0x030000 none"
    )
    assert "an NVIDIA GPU on PCI bus at 0000:01:00.0, no driver" in line
    assert undriven("0000:01:00.0 0x10de 0x2684 0x030000 bound") == []
    body = said(id="Linux a 6 x86_64\nuser b", pci="0000:01:00.0 0x10de 0x2684 0x030000 none")
    assert "no driver" in read_host(body, "n0", everything=True).warnings[0]


def test_cards_this_account_may_not_open_are_named() -> None:
    body = said(
        id="Linux a 6 x86_64\nuser b", pci="no /dev/kfd\nno /dev/dri/renderD128\nrw /dev/nvidia0"
    )
    (warning,) = read_host(body, "n0", everything=True).warnings
    assert "/dev/kfd, /dev/dri/renderD128" in warning


def test_what_sudo_would_have_asked_is_never_asked() -> None:
    from importlib.resources import files

    folder = files("providers.ssh").joinpath("host")
    assert all("sudo" not in one.read_text() for one in folder.iterdir() if one.is_file())


def test_memory_is_the_cgroups_where_that_is_less_and_frees_where_proc_is_silent() -> None:
    files = {"/proc/meminfo": "MemTotal:  1000 kB\nMemAvailable:   800 kB"}
    assert memory(files) == (1000 * 1024, 800 * 1024)
    assert memory({**files, "/sys/fs/cgroup/memory.max": "102400"}) == (102400, 102400)
    assert memory({**files, "/sys/fs/cgroup/memory.max": "max"}) == (1000 * 1024, 800 * 1024)
    free = "              total        used        free      shared  buff/cache   available\nMem:    1000    400    100   0   500   550\n"
    assert memory({}, free) == (1000, 550)
    assert memory({}) == (None, None)


def test_cores_are_counted_without_their_threads() -> None:
    lscpu = "Architecture: x86_64\nCPU(s):  64\nModel name: AMD EPYC 9354\nThread(s) per core: 2\nCore(s) per socket: 32\nSocket(s): 1\n"
    assert processor(lscpu) == ("AMD EPYC 9354", 32, 64)
    one = "model name\t: Xeon\nphysical id\t: 0\ncore id\t: {}\n"
    assert processor("".join(one.format(i % 2) for i in range(4))) == ("Xeon", 2, 4)
    assert processor("") == ("", None, None)


def test_engines_are_found_on_path_and_in_environments_with_their_versions() -> None:
    tools = "/usr/bin/setsid\n/usr/local/bin/ollama\n"
    environments = (
        "program /home/a b/miniconda3/envs/serve/bin/vllm\n"
        "module /home/a b/miniconda3/envs/serve/lib/python3.12/site-packages/vllm-0.11.2.dist-info\n"
        "module /home/x/proj/.venv/lib/python3.11/site-packages/xllamacpp-2026.10.dist-info\n"
        "program /home/x/.local/share/uv/tools/mlx-lm/bin/mlx_lm.server\n"
        "module /home/x/.venv/lib/python3.11/site-packages/requests-2.0.dist-info\n"
    )
    found = {(one.engine, one.where, one.version) for one in engines(tools, environments)}
    assert found == {
        ("ollama", "/usr/local/bin/ollama", ""),
        ("vllm", "/home/a b/miniconda3/envs/serve", "0.11.2"),
        ("llama.cpp", "/home/x/proj/.venv", "2026.10"),
        ("mlx", "/home/x/.local/share/uv/tools/mlx-lm/bin/mlx_lm.server", ""),
    }


def test_only_a_python_the_supervisor_can_run_in_counts() -> None:
    assert python(nv("3.11 /usr/bin/python3")) == ("/usr/bin/python3", "3.11")
    assert python(nv("3.5 /usr/bin/python3")) == python(nv("", 137)) == python(None) == ("", "")
    assert python(nv("3.8 /usr/bin/python3\n3.12 /opt/py\n")) == ("/opt/py", "3.12")


def said(**sections: str) -> str:
    """A probe's answer of these sections, each with status 0."""
    return "".join(f"\n@@n0 {k}\n{v}\n@@n0 rc 0\n" for k, v in sections.items()) + "\n@@n0 end\n"


def test_an_answer_that_broke_off_keeps_what_came_before() -> None:
    body = said(id="Linux box 6 x86_64\nuser b").replace("@@n0 end", "@@n0 nv\nindex, na")
    facts = read_host(body, "n0", everything=True)
    assert facts.hostname == "box"
    assert facts.states["nvidia"][0] == "unresponsive"


@given(st.text(alphabet="@n0 rcend:,\n[]{}\"'0123456789GPUMIB-/x", max_size=400))
def test_no_answer_however_odd_breaks_a_reader(text: str) -> None:
    for name in (
        "id",
        "files",
        "disk",
        "mac",
        "macsp",
        "cpu",
        "pci",
        "tools",
        "amdm",
        "rocm",
        "nv",
        "nvl",
    ):
        read_host(f"\n@@n0 {name}\n{text}\n@@n0 rc 0\n", "n0", everything=True)


def test_another_nonce_is_only_text() -> None:
    assert split("\n@@n0 id\n@@n1 nv\n@@n0 rc 0\n", "n0") == {"id": Section("@@n1 nv", 0)}


def test_numbers_are_numbers_and_nothing_else_is() -> None:
    assert [number(x) for x in ("1.5", " 7 ", 3, "-2")] == [1.5, 7.0, 3.0, -2.0]
    assert {number(x) for x in ("[N/A]", "", "1e9", "nan", True, None, "0x1", "9" * 40)} == {None}
    assert bus_address("1:2") == ""
