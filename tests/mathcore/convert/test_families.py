"""A family is found under the name llama.cpp gives its file, and every model_type has a config."""

from importlib import import_module
from pathlib import Path
from types import ModuleType

from mathcore.convert.registry import find_draft_converter, model_types
from tests.mathcore.convert.attention_configs import CONFIGS as ATTENTION
from tests.mathcore.engines.memory_configs import CONFIGS as MEMORY

# File names of conversion/ in ggml-org/llama.cpp: those of its __init__.py at 00bdaa105cb0, and
# laguna (b472d39916e3), glm5next (e972e2ca0b48), kimi_k3 (3f99a416f263).
UPSTREAM = frozenset(
    "afmoe arctic baichuan bailingmoe bert bitnet bloom chameleon chatglm codeshell cogvlm "
    "command_r dbrx deci deepseek dots1 dream ernie exaone falcon falcon_h1 gemma glm glm5next "
    "gpt2 gpt_oss gptneox granite grok grovemoe hunyuan internlm jais jamba kimi_k3 kimi_linear "
    "laguna lfm2 llada llama llama4 maincoder mamba mellum mimo minicpm minimax mistral3 mpt "
    "nemotron olmo openelm orion pangu phi plamo plm qwen qwenvl qwen3vl refact rwkv smallthinker "
    "stablelm starcoder step3 t5 talkie xverse".split()
)
# Mechanisms that several makers share; their families have no file of their own.
SHARED = frozenset("fused legacy moe moe_shared hybrid hyper_connections kda mla ssm".split())
# Two files upstream, one family here.
MERGED = {"kimi": ("kimi_k3", "kimi_linear")}
# Other names of a family that has a config.
ALIASES = frozenset(
    "bailing_moe_v3 bailing_moe_v3_vl camembert gemma4_unified_text glm5_next hunyuan kimi_k2 "
    "kimi_k3 llama4 mimo_v2 minimax_m1 minimax_m3_text minimax_m3_vl minimax_m3_vl_text mt5 "
    "phi3_v phi4mm qwen2_5_vl qwen2_vl_text qwen3_5_moe_text qwen3_5_text qwen3_omni_moe_text "
    "qwen4_exp roberta stablelm_epoch step3p7".split()
)
UNLOADED = frozenset({"gptj"})  # llama.cpp names it but does not load it
ROOT = Path(__file__).parents[3] / "mathcore" / "convert"
ROOMS = ("dense", "encoder", "experts", "latent", "recurrent")


def files() -> list[Path]:
    return [p for room in ROOMS for p in sorted((ROOT / room).glob("*.py")) if p.stem[0] != "_"]


def modules() -> list[ModuleType]:
    return [import_module(f"mathcore.convert.{p.parent.name}.{p.stem}") for p in files()]


def upstreams(family: str) -> set[str]:
    """Upstream's files a family's name stands for: its own, or its maker's for a generation."""
    return {
        name
        for name in UPSTREAM
        if family == name or family.startswith(name + "_") or name in MERGED.get(family, ())
    }


def test_every_family_bears_upstreams_name() -> None:
    families = {path.stem for path in files()} - SHARED
    assert [family for family in sorted(families) if not upstreams(family)] == []


def test_a_shared_mechanism_is_a_file_and_no_family_of_upstream() -> None:
    assert {path.stem for path in files()} >= SHARED
    assert not SHARED & UPSTREAM


def test_no_two_families_bear_one_name() -> None:
    names = [path.stem for path in files()]
    assert len(names) == len(set(names))


def test_every_converter_is_registered_once() -> None:
    tables = [module.CONVERTERS for module in modules() if hasattr(module, "CONVERTERS")]
    assert sorted(name for table in tables for name in table) == model_types()
    drafts = [m.DRAFT_CONVERTERS for m in modules() if hasattr(m, "DRAFT_CONVERTERS")]
    for table in drafts:
        assert all(find_draft_converter(name) is table[name] for name in table)


def test_every_model_type_has_a_config_or_shares_one() -> None:
    proven = {str(config["model_type"]) for config in (*ATTENTION.values(), *MEMORY.values())}
    assert set(model_types()) == proven | ALIASES | UNLOADED
    assert not proven & (ALIASES | UNLOADED)
