"""A config of every attention family: sizes of published models, fewer layers.

Fields a family needs are those a test may remove one by one (`NEEDED`).
"""

LAYERS = 8
Config = dict[str, object]


def base(model_type: str, **changes: object) -> Config:
    config: Config = {
        "model_type": model_type, "vocab_size": 32000, "hidden_size": 2048,
        "num_hidden_layers": LAYERS, "num_attention_heads": 16, "num_key_value_heads": 4,
        "head_dim": 128, "intermediate_size": 5632, "max_position_embeddings": 8192,
    }  # fmt: skip
    config.update(changes)
    return {key: value for key, value in config.items() if value is not None}


def legacy(model_type: str, **changes: object) -> Config:
    config: Config = {"model_type": model_type, "vocab_size": 50257, "n_embd": 768, "n_head": 12,
                  "n_layer": LAYERS, "n_positions": 1024}  # fmt: skip
    config.update(changes)
    return config


def experts(model_type: str, count: str = "num_experts", **changes: object) -> Config:
    return base(
        model_type, **{count: 16}, num_experts_per_tok=2, moe_intermediate_size=1024, **changes
    )


def types(pattern: str) -> list[str]:
    """ "SSSF" repeated over the layers."""
    names = {"S": "sliding_attention", "F": "full_attention"}
    return [names[pattern[i % len(pattern)]] for i in range(LAYERS)]


LLAMA3 = {"rope_type": "llama3", "factor": 8.0}
_DECI = [
    {"attention": {"n_heads_in_group": 4, "no_op": False}, "ffn": {"ffn_mult": 2.625}},
    {"attention": {"n_heads_in_group": None, "no_op": True}, "ffn": {"ffn_mult": 1.3125}},
    {"attention": {"n_heads_in_group": 8, "no_op": False},
     "ffn": {"ffn_mult": None, "no_op": True}},
    {"attention": {"n_heads_in_group": None, "replace_with_linear": True},
     "ffn": {"ffn_mult": 0.5}},
]  # fmt: skip

CONFIGS: dict[str, Config] = {
    "llama": base("llama", rope_scaling=LLAMA3),
    "llama-biased": base("llama", attention_bias=True, mlp_bias=True, tie_word_embeddings=True),
    "mistral": base("mistral", sliding_window=4096),
    "ministral3": base("ministral3"),
    "qwen2": base("qwen2", use_sliding_window=False, sliding_window=4096),
    "qwen3": base("qwen3"),
    "mimo": base("mimo"),
    "internlm": base("internlm", bias=True),
    "internlm2": base("internlm2", bias=False),
    "internlm3": base("internlm3", bias=False, qkv_bias=False),
    "baichuan": base("baichuan", num_key_value_heads=None),
    "xverse": base("xverse", num_key_value_heads=None),
    "smollm3": base("smollm3"),
    "arcee": base("arcee"),
    "granite": base("granite"),
    "hunyuan_v1_dense": base("hunyuan_v1_dense"),
    "ernie4_5": base("ernie4_5"),
    "PanguEmbedded": base("PanguEmbedded"),
    "apertus": base("apertus", rope_scaling=LLAMA3),
    "exaone4": base("exaone4", sliding_window=None),
    "exaone4-32b": base("exaone4", num_hidden_layers=64, sliding_window=4096,
                        sliding_window_pattern="LLLG"),
    "olmo": base("olmo"),
    "plamo": base("plamo", num_key_value_heads=None, n_shared_head=8),
    "qwen2_vl": base("qwen2_vl"),
    "qwen2_5_vl_text": base("qwen2_5_vl_text"),
    "qwen3_vl_text": base("qwen3_vl_text"),
    "olmo2": base("olmo2"),
    "olmo3": base("olmo3", sliding_window=4096, layer_types=types("SSSF")),
    "seed_oss": base("seed_oss"),
    "exaone": {**base("exaone", num_hidden_layers=None), "num_layers": LAYERS},
    "minicpm": base("minicpm"),
    "minicpm-moe": base("minicpm", num_experts=8, num_experts_per_tok=2),
    "glm": base("glm"),
    "glm4": base("glm4"),
    "phi3": base("phi3", rope_scaling={"type": "longrope", "long_factor": [1.0] * 64,
                                       "short_factor": [1.0] * 64}),
    "phi": base("phi"),
    "phi-msft": legacy("phi-msft", rotary_dim=32),
    "gpt2": legacy("gpt2"),
    "gpt_bigcode": legacy("gpt_bigcode", multi_query=True),
    "gpt_neox": base("gpt_neox", num_key_value_heads=None, rotary_pct=0.25),
    "starcoder2": base("starcoder2"),
    "stablelm": base("stablelm", partial_rotary_factor=0.25),
    "stablelm-12b": base("stablelm", use_parallel_residual=True, qk_layernorm=True),
    "orion": base("orion"),
    "nemotron": base("nemotron"),
    "cohere": base("cohere"),
    "cohere-plus": base("cohere", num_hidden_layers=64, use_qk_norm=True),
    "cohere2": base("cohere2", sliding_window=4096, sliding_window_pattern=4),
    "falcon": base("falcon", multi_query=True),
    "falcon-40b": base("falcon", new_decoder_architecture=True, num_kv_heads=4),
    "bloom": {"model_type": "bloom", "vocab_size": 250880, "n_embed": 1024, "n_layer": LAYERS,
              "n_head": 16},
    "mpt": {"model_type": "mpt", "vocab_size": 50432, "d_model": 1024, "n_heads": 16,
            "n_layers": LAYERS, "max_seq_len": 2048, "attn_config": {"alibi": True}},
    "chatglm": {"model_type": "chatglm", "padded_vocab_size": 65024, "hidden_size": 2048,
                "num_layers": LAYERS, "num_attention_heads": 16, "kv_channels": 128,
                "ffn_hidden_size": 5504, "multi_query_attention": True,
                "multi_query_group_num": 2, "add_qkv_bias": True},
    "qwen": base("qwen", num_key_value_heads=None),
    "jais": legacy("jais", n_inner=2048),
    "gemma": base("gemma"),
    "gemma2": base("gemma2", sliding_window=4096),
    "gemma3": base("gemma3_text", sliding_window=1024),
    "gemma3n": base("gemma3n_text", num_hidden_layers=30, sliding_window=512,
                    hidden_size_per_layer_input=256, altup_num_inputs=4, num_kv_shared_layers=10,
                    laurel_rank=64),
    "gemma4": base("gemma4_text", sliding_window=1024, layer_types=types("SSSF"),
                   global_head_dim=512, num_global_key_value_heads=2, num_kv_shared_layers=0,
                   attention_k_eq_v=True),
    "gemma4-moe": experts("gemma4_text", sliding_window=1024, layer_types=types("SSSF"),
                          global_head_dim=512, num_kv_shared_layers=0, enable_moe_block=True,
                          top_k_experts=2),
    "gemma4-e2b": base("gemma4_text", sliding_window=512, layer_types=types("SSSF"),
                       global_head_dim=512, num_kv_shared_layers=4, use_double_wide_mlp=True,
                       hidden_size_per_layer_input=256),
    "mixtral": base("mixtral", num_local_experts=8, num_experts_per_tok=2),
    "qwen2_moe": experts("qwen2_moe", shared_expert_intermediate_size=5632),
    "qwen3_moe": experts("qwen3_moe"),
    "qwen3_vl_moe_text": experts("qwen3_vl_moe_text"),
    "olmoe": base("olmoe", num_key_value_heads=16, num_experts=16, num_experts_per_tok=2),
    "phimoe": base("phimoe", num_local_experts=16, num_experts_per_tok=2, attention_bias=True,
                   lm_head_bias=True),
    "granitemoe": base("granitemoe", num_local_experts=16, num_experts_per_tok=2),
    "granitemoeshared": base("granitemoeshared", num_local_experts=16, num_experts_per_tok=2,
                             shared_intermediate_size=1024),
    "minimax_m2": base("minimax_m2", num_local_experts=16, num_experts_per_tok=2, rotary_dim=64),
    "glm4_moe": experts("glm4_moe", "n_routed_experts", n_shared_experts=1,
                        first_k_dense_replace=1, use_qk_norm=True),
    "dots1": experts("dots1", "n_routed_experts", n_shared_experts=2, first_k_dense_replace=1,
                     num_key_value_heads=16),
    "deepseek": experts("deepseek", "n_routed_experts", n_shared_experts=2,
                        first_k_dense_replace=1),
    "bailing_moe": experts("bailing_moe", num_shared_experts=2),
    "bailing-2": experts("bailing_moe", num_shared_experts=1, first_k_dense_replace=1,
                         architectures=["BailingMoeV2ForCausalLM"]),
    "bailing_moe_v2": experts("bailing_moe_v2", num_shared_experts=1, first_k_dense_replace=1),
    "gpt_oss": base("gpt_oss", num_local_experts=16, num_experts_per_tok=4, sliding_window=128,
                    layer_types=types("SF")),
    "llama4": base("llama4_text", intermediate_size_mlp=8192, num_local_experts=16,
                   num_experts_per_tok=1, interleave_moe_layer_step=2, attention_chunk_size=8192),
    "hunyuan_v1_moe": base("hunyuan_v1_moe", num_experts=16, moe_topk=[2] * LAYERS,
                           moe_intermediate_size=[5632] * LAYERS,
                           num_shared_expert=[1] * LAYERS),
    "ernie4_5_moe": base("ernie4_5_moe", moe_num_experts=16, moe_k=2, moe_intermediate_size=1024,
                         moe_num_shared_experts=2, moe_layer_start_index=1),
    "exaone_moe": experts("exaone_moe", num_shared_experts=1, first_k_dense_replace=1,
                          sliding_window=128, layer_types=types("SSSF")),
    "afmoe": experts("afmoe", num_shared_experts=1, num_dense_layers=2, sliding_window=2048,
                     layer_types=types("SSSF")),
    "smallthinker": base("smallthinker", moe_num_primary_experts=16,
                         moe_num_active_primary_experts=4, moe_ffn_hidden_size=768,
                         sliding_window_size=4096,
                         sliding_window_layout=[0, 1, 1, 1, 0, 1, 1, 1]),
    "dbrx": {"model_type": "dbrx", "vocab_size": 32000, "d_model": 2048, "n_heads": 16,
             "n_layers": LAYERS, "attn_config": {"kv_n_heads": 4},
             "ffn_config": {"ffn_hidden_size": 3584, "moe_num_experts": 16, "moe_top_k": 4}},
    "arctic": base("arctic", num_local_experts=16, num_experts_per_tok=2),
    "mimo_v2_flash": experts(
        "mimo_v2_flash", "n_routed_experts", head_dim=192, v_head_dim=128, swa_head_dim=192,
        swa_v_head_dim=128, swa_num_attention_heads=16, swa_num_key_value_heads=8,
        sliding_window=128, hybrid_layer_pattern=[0, 1, 1, 1, 0, 1, 1, 0],
        moe_layer_freq=[0, 1, 1, 1, 1, 1, 1, 1], add_swa_attention_sink_bias=True,
        partial_rotary_factor=0.334),
    "step3p5": base(
        "step3p5", num_key_value_heads=None, num_attention_groups=8, moe_num_experts=16,
        moe_top_k=4, moe_intermediate_size=1280, share_expert_dim=1280, sliding_window=512,
        layer_types=types("FSSS"), moe_layers_enum="3,4,5,6,7", use_moe_router_bias=True,
        use_head_wise_attn_gate=True,
        attention_other_setting={"num_attention_heads": 24, "num_attention_groups": 8}),
    "deci": base("deci", num_key_value_heads=None,
                 num_key_value_heads_per_layer=[4, 4, 2, 1, 1, 2, 4, 4]),
    "nemotron-nas": base("nemotron-nas", num_key_value_heads=None, intermediate_size=None,
                         block_configs=_DECI * 2, rope_scaling=LLAMA3),
    "glm4v_text": base("glm4v_text", head_dim=None),
    "glm4v_moe_text": experts("glm4v_moe_text", "n_routed_experts", n_shared_experts=1,
                              first_k_dense_replace=1),
    "qwen2_5_omni_text": base("qwen2_5_omni_text"),
    "dots_ocr": base("dots_ocr", use_sliding_window=False),
    "hunyuan_vl_text": base("hunyuan_vl_text"),
    "gpt_refact": legacy("gpt_refact"),
    "codeshell": legacy("codeshell", num_query_groups=4),
    "openelm": {"model_type": "openelm", "vocab_size": 32000, "model_dim": 1280, "head_dim": 64,
                "num_transformer_layers": 4, "num_query_heads": [12, 12, 16, 20],
                "num_kv_heads": [3, 3, 4, 5], "ffn_multipliers": [0.5, 1.0, 2.5, 4.0],
                "ffn_dim_divisor": 256, "max_context_length": 2048},
    "bitnet": base("bitnet"),
    "jais2": base("jais2"),
    "cohere2_moe": experts("cohere2_moe", num_shared_experts=1, first_k_dense_replace=1,
                           sliding_window=4096, layer_types=types("FSSS")),
    "mellum": experts("mellum", sliding_window=1024, layer_types=types("SSSF")),
    "hy_v3": experts("hy_v3", num_shared_experts=1, first_k_dense_replace=1),
    "grove_moe": experts("grove_moe"),
    "laguna": experts("laguna", shared_expert_intermediate_size=1024, sliding_window=512,
                      layer_types=types("FSSS"), gating=True,
                      mlp_layer_types=["dense"] + ["sparse"] * (LAYERS - 1),
                      num_attention_heads_per_layer=[16, 24, 24, 24, 16, 24, 24, 24]),
}  # fmt: skip
