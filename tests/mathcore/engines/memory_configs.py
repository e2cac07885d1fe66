"""Configs of models that remember otherwise than by plain K and V: only what is read of them.

Sizes are those of the model named, from its public config.json; `OPTIONAL` fields have a value the
library itself defines when they are absent.
"""

_LLAMA_LIKE = {"max_position_embeddings": 32768, "tie_word_embeddings": False}


def _pattern(count: int, every: int, usual: str, other: str, first: int = 0) -> list[str]:
    return [other if i % every == first else usual for i in range(count)]


CONFIGS: dict[str, dict[str, object]] = {
    # deepseek-ai/DeepSeek-V3
    "deepseek_v3": {
        **_LLAMA_LIKE, "model_type": "deepseek_v3", "hidden_size": 7168, "num_hidden_layers": 61,
        "num_attention_heads": 128, "q_lora_rank": 1536, "kv_lora_rank": 512,
        "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
        "intermediate_size": 18432, "moe_intermediate_size": 2048, "n_routed_experts": 256,
        "n_shared_experts": 1, "num_experts_per_tok": 8, "first_k_dense_replace": 3,
        "vocab_size": 129280,
    },
    # deepseek-ai/DeepSeek-V2-Lite
    "deepseek_v2": {
        **_LLAMA_LIKE, "model_type": "deepseek_v2", "hidden_size": 2048, "num_hidden_layers": 27,
        "num_attention_heads": 16, "q_lora_rank": None, "kv_lora_rank": 512,
        "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
        "intermediate_size": 10944, "moe_intermediate_size": 1408, "n_routed_experts": 64,
        "n_shared_experts": 2, "num_experts_per_tok": 6, "first_k_dense_replace": 1,
        "vocab_size": 102400,
    },
    # zai-org/GLM-4.7-Flash
    "glm4_moe_lite": {
        **_LLAMA_LIKE, "model_type": "glm4_moe_lite", "hidden_size": 2048, "num_hidden_layers": 47,
        "num_attention_heads": 20, "q_lora_rank": 768, "kv_lora_rank": 512,
        "qk_nope_head_dim": 192, "qk_rope_head_dim": 64, "v_head_dim": 256,
        "intermediate_size": 10240, "moe_intermediate_size": 1536, "n_routed_experts": 64,
        "n_shared_experts": 1, "num_experts_per_tok": 4, "first_k_dense_replace": 1,
        "vocab_size": 154880, "num_nextn_predict_layers": 1,
    },
    # the shapes of DeepSeek-V2-Lite in Mistral 4's file: gate and up of the experts fused
    "mistral4": {
        **_LLAMA_LIKE, "model_type": "mistral4", "hidden_size": 2048, "num_hidden_layers": 36,
        "num_attention_heads": 32, "q_lora_rank": 1024, "kv_lora_rank": 256,
        "qk_nope_head_dim": 64, "qk_rope_head_dim": 64, "v_head_dim": 128,
        "intermediate_size": 12288, "moe_intermediate_size": 2048, "n_routed_experts": 128,
        "n_shared_experts": 1, "num_experts_per_tok": 4, "first_k_dense_replace": 0,
        "vocab_size": 131072,
    },
    # tencent/Youtu-LLM-2B
    "youtu": {
        **_LLAMA_LIKE, "model_type": "youtu", "hidden_size": 2048, "num_hidden_layers": 32,
        "num_attention_heads": 16, "q_lora_rank": 1536, "kv_lora_rank": 512,
        "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
        "intermediate_size": 6144, "vocab_size": 128256, "tie_word_embeddings": True,
    },
    # openbmb/MiniCPM3-4B
    "minicpm3": {
        **_LLAMA_LIKE, "model_type": "minicpm3", "hidden_size": 2560, "num_hidden_layers": 62,
        "num_attention_heads": 40, "q_lora_rank": 768, "kv_lora_rank": 256,
        "qk_nope_head_dim": 64, "qk_rope_head_dim": 32, "intermediate_size": 6400,
        "vocab_size": 73448, "tie_word_embeddings": True,
    },
    # PLM-Team/PLM-1.8B-Instruct
    "plm": {
        **_LLAMA_LIKE, "model_type": "plm", "hidden_size": 2048, "num_hidden_layers": 32,
        "num_attention_heads": 16, "q_lora_rank": None, "kv_lora_rank": 512,
        "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
        "intermediate_size": 8192, "vocab_size": 151936,
    },
    # zai-org/GLM-5.2
    "glm_moe_dsa": {
        **_LLAMA_LIKE, "model_type": "glm_moe_dsa", "hidden_size": 6144, "num_hidden_layers": 78,
        "num_attention_heads": 64, "q_lora_rank": 2048, "kv_lora_rank": 512,
        "qk_nope_head_dim": 192, "qk_rope_head_dim": 64, "v_head_dim": 256,
        "intermediate_size": 12288, "moe_intermediate_size": 2048, "n_routed_experts": 256,
        "n_shared_experts": 1, "num_experts_per_tok": 8, "first_k_dense_replace": 3,
        "vocab_size": 154880, "index_n_heads": 32, "index_head_dim": 128, "index_topk": 2048,
        "max_position_embeddings": 1048576, "num_nextn_predict_layers": 1,
        "indexer_types": ["full", "full", *_pattern(76, 4, "shared", "full")],
    },
    # deepseek-ai/DeepSeek-V3.2
    "deepseek_v32": {
        **_LLAMA_LIKE, "model_type": "deepseek_v32", "hidden_size": 7168, "num_hidden_layers": 61,
        "num_attention_heads": 128, "q_lora_rank": 1536, "kv_lora_rank": 512,
        "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
        "intermediate_size": 18432, "moe_intermediate_size": 2048, "n_routed_experts": 256,
        "n_shared_experts": 1, "num_experts_per_tok": 8, "first_k_dense_replace": 3,
        "vocab_size": 129280, "index_n_heads": 64, "index_head_dim": 128, "index_topk": 2048,
        "num_nextn_predict_layers": 1,
    },
    # deepseek-ai/DeepSeek-V4-Flash
    "deepseek_v4": {
        "model_type": "deepseek_v4", "hidden_size": 4096, "num_hidden_layers": 43,
        "num_attention_heads": 64, "num_key_value_heads": 1, "head_dim": 512, "q_lora_rank": 1024,
        "qk_rope_head_dim": 64, "o_groups": 8, "o_lora_rank": 1024, "hc_mult": 4, "hc_eps": 1e-6,
        "hc_sinkhorn_iters": 20, "index_head_dim": 128, "index_n_heads": 64, "index_topk": 512,
        "moe_intermediate_size": 2048, "n_routed_experts": 256, "n_shared_experts": 1,
        "num_experts_per_tok": 6, "num_hash_layers": 3, "sliding_window": 128,
        "scoring_func": "sqrtsoftplus", "swiglu_limit": 10.0, "routed_scaling_factor": 1.5,
        "compress_rope_theta": 160000, "compress_ratios": [0, 0, *([4, 128] * 20), 4, 0],
        "vocab_size": 129280, "max_position_embeddings": 1048576, "norm_topk_prob": True,
        "tie_word_embeddings": False,
    },
    # MiniMaxAI/MiniMax-M3
    "minimax_m3": {
        **_LLAMA_LIKE, "model_type": "minimax_m3", "hidden_size": 6144, "num_hidden_layers": 60,
        "num_attention_heads": 64, "num_key_value_heads": 4, "head_dim": 128,
        "dense_intermediate_size": 12288, "intermediate_size": 3072, "num_local_experts": 128,
        "num_experts_per_tok": 4, "n_shared_experts": 1, "rotary_dim": 64,
        "scoring_func": "sigmoid", "moe_layer_freq": [0] * 3 + [1] * 57,
        "sparse_attention_config": {
            "sparse_num_index_heads": 4, "sparse_index_dim": 128, "sparse_topk_blocks": 16,
            "sparse_block_size": 128, "sparse_local_block": 1,
            "sparse_attention_freq": [0] * 3 + [1] * 57,
        },
        "vocab_size": 200064,
    },
    # moonshotai/Kimi-Linear-48B-A3B-Instruct
    "kimi_linear": {
        "model_type": "kimi_linear", "hidden_size": 2304, "num_hidden_layers": 27,
        "num_attention_heads": 32, "q_lora_rank": None, "kv_lora_rank": 512,
        "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
        "intermediate_size": 9216, "moe_intermediate_size": 1024, "num_experts": 256,
        "num_shared_experts": 1, "num_experts_per_token": 8, "first_k_dense_replace": 1,
        "linear_attn_config": {
            "full_attn_layers": [4, 8, 12, 16, 20, 24, 27], "head_dim": 128, "num_heads": 32,
            "short_conv_kernel_size": 4,
        },
        "model_max_length": 1048576, "tie_word_embeddings": False, "vocab_size": 163840,
    },
    # moonshotai/Kimi-K3, whose card calls its language model kimi_linear
    "kimi_linear k3": {
        "model_type": "kimi_linear", "hidden_size": 7168, "num_hidden_layers": 93,
        "num_attention_heads": 96, "q_lora_rank": 1536, "kv_lora_rank": 512,
        "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
        "intermediate_size": 33792, "moe_intermediate_size": 3072, "num_experts": 896,
        "num_shared_experts": 2, "num_experts_per_token": 16, "first_k_dense_replace": 1,
        "linear_attn_config": {
            "full_attn_layers": [*range(4, 93, 4), 93], "head_dim": 128, "num_heads": 96,
            "short_conv_kernel_size": 4,
        },
        "routed_expert_hidden_size": 3584, "attn_res_block_size": 12,
        "activation_situ_beta": 1.0, "activation_situ_linear_beta": 1.0,
        "model_max_length": 1048576, "tie_word_embeddings": False, "vocab_size": 163840,
    },
    # inclusionAI/Ling-3.0-flash's shape
    "bailing_hybrid": {
        "model_type": "bailing_hybrid", "hidden_size": 2560, "num_hidden_layers": 42,
        "intermediate_size": 6144, "vocab_size": 157184, "num_attention_heads": 32,
        "head_dim": 128, "layer_group_size": 6, "short_conv_kernel_size": 4,
        "first_k_dense_replace": 2, "num_experts": 512, "num_experts_per_tok": 8,
        "moe_intermediate_size": 768, "kv_lora_rank": 512, "q_lora_rank": None,
        "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
        "kda_safe_gate": True, "no_kda_lora": True, "max_position_embeddings": 262144,
        "tie_word_embeddings": False,
    },
    # Qwen/Qwen3.8-Flash-Next's shape
    "qwen4_exp": {
        "model_type": "qwen4_exp_text", "hidden_size": 2560, "num_hidden_layers": 48,
        "num_attention_heads": 24, "num_key_value_heads": 2, "head_dim": 256,
        "vocab_size": 248320, "max_position_embeddings": 262144, "full_attention_interval": 4,
        "linear_num_key_heads": 16, "linear_num_value_heads": 48, "linear_key_head_dim": 128,
        "linear_value_head_dim": 128, "linear_conv_kernel_dim": 4, "num_experts": 512,
        "num_experts_per_tok": 10, "moe_intermediate_size": 640,
        "shared_expert_intermediate_size": 640, "hc_count": 4, "hc_lowrank": 320,
        "indexer_n_heads": 4, "indexer_head_dim": 128,
        "indexer_budget": 2048, "indexer_compress_ratio": 4, "ple_layer_ids": [2],
        "ngram_size": 3, "heads_per_ngram": 8, "ngram_vocab_size_base": 20000000,
        "ple_embed_dim": 2560, "ple_conv_kernel_size": 4, "tie_word_embeddings": False,
    },
    # tencent/Hy4-preview's shape, from transformers' own class
    "hy_v4": {
        **_LLAMA_LIKE, "model_type": "hy_v4", "hidden_size": 2816, "num_hidden_layers": 34,
        "num_attention_heads": 32, "q_lora_rank": 1536, "kv_lora_rank": 512,
        "qk_nope_head_dim": 192, "qk_rope_head_dim": 64, "v_head_dim": 256,
        "intermediate_size": 6912, "moe_intermediate_size": 768, "n_routed_experts": 256,
        "n_shared_experts": 1, "num_experts_per_tok": 8, "index_n_heads": 16,
        "index_head_dim": 128, "index_topk": 2048, "hc_mult": 4, "hc_eps": 1e-6,
        "hc_magnitude": 2.0, "mlp_layer_types": ["dense"] + ["sparse"] * 33,
        "indexer_types": ["full", *_pattern(33, 4, "shared", "full")], "vocab_size": 120832,
    },
    # zai-org/GLM-5.3-Flash's shape, from transformers' own class
    "glm5_next": {
        **_LLAMA_LIKE, "model_type": "glm5_next_text", "hidden_size": 4096,
        "num_hidden_layers": 45, "num_attention_heads": 64, "q_lora_rank": 1536,
        "kv_lora_rank": 512, "qk_nope_head_dim": 256, "qk_rope_head_dim": 0, "v_head_dim": 256,
        "intermediate_size": 12288, "moe_intermediate_size": 2048, "n_routed_experts": 288,
        "n_shared_experts": 1, "num_experts_per_tok": 8, "first_k_dense_replace": 3,
        "index_n_heads": 32, "index_head_dim": 128, "index_topk": 2048, "index_kpool": 16,
        "hc_mult": 4, "hc_eps": 1e-6, "hc_sinkhorn_iters": 20, "linear_conv_kernel_dim": 4,
        "linear_head_dim": 128, "linear_num_heads": 64, "vocab_size": 154880,
        "layer_types": _pattern(45, 4, "linear_attention", "indexed_attention", 3),
    },
    # MiniMaxAI/MiniMax-Text-01
    "minimax_text_01": {
        "model_type": "minimax_text_01", "hidden_size": 6144, "num_hidden_layers": 80,
        "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 128,
        "intermediate_size": 9216, "num_local_experts": 32, "num_experts_per_tok": 2,
        "rotary_dim": 64, "attn_type_list": ([0] * 7 + [1]) * 10,
        "layernorm_full_attention_alpha": 3.5565588200778455, "vocab_size": 200064,
        "max_position_embeddings": 10240000, "tie_word_embeddings": False,
    },
    # state-spaces/mamba-2.8b-hf
    "mamba": {
        "model_type": "mamba", "hidden_size": 2560, "num_hidden_layers": 64, "state_size": 16,
        "conv_kernel": 4, "time_step_rank": 160, "intermediate_size": 5120, "vocab_size": 50280,
        "tie_word_embeddings": True, "use_conv_bias": True, "use_bias": False,
    },
    # tiiuae/falcon-mamba-7b
    "falcon_mamba": {
        "model_type": "falcon_mamba", "hidden_size": 4096, "num_hidden_layers": 64,
        "state_size": 16, "conv_kernel": 4, "time_step_rank": 256, "intermediate_size": 8192,
        "vocab_size": 65024, "tie_word_embeddings": False,
    },
    # mistralai/Mamba-Codestral-7B-v0.1
    "mamba2": {
        "model_type": "mamba2", "hidden_size": 4096, "num_hidden_layers": 64, "state_size": 128,
        "conv_kernel": 4, "expand": 2, "head_dim": 64, "num_heads": 128, "n_groups": 8,
        "vocab_size": 32768, "tie_word_embeddings": False,
    },
    # ai21labs/Jamba-v0.1
    "jamba": {
        "model_type": "jamba", "hidden_size": 4096, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 14336,
        "attn_layer_period": 8, "attn_layer_offset": 4, "expert_layer_period": 2,
        "expert_layer_offset": 1, "num_experts": 16, "num_experts_per_tok": 2, "mamba_d_conv": 4,
        "mamba_d_state": 16, "mamba_dt_rank": 256, "mamba_expand": 2, "vocab_size": 65536,
        "max_position_embeddings": 262144, "tie_word_embeddings": False,
    },
    # ibm-granite/granite-4.0-h-small
    "granitemoehybrid": {
        "model_type": "granitemoehybrid", "hidden_size": 4096, "num_hidden_layers": 40,
        "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 768,
        "shared_intermediate_size": 1536, "num_local_experts": 72, "num_experts_per_tok": 10,
        "layer_types": _pattern(40, 10, "mamba", "attention", 5), "mamba_d_conv": 4,
        "mamba_d_head": 64, "mamba_d_state": 128, "mamba_expand": 2, "mamba_n_groups": 1,
        "mamba_n_heads": 128, "vocab_size": 100352, "max_position_embeddings": 131072,
        "tie_word_embeddings": True,
    },
    # ibm-ai-platform/Bamba-9B-v2
    "bamba": {
        "model_type": "bamba", "hidden_size": 4096, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 14336,
        "attn_layer_indices": [9, 18, 27], "mamba_d_conv": 4, "mamba_d_head": 64,
        "mamba_d_state": 128, "mamba_expand": 2, "mamba_n_groups": 1, "mamba_n_heads": 128,
        "vocab_size": 128256, "max_position_embeddings": 262144, "tie_word_embeddings": False,
    },
    # tiiuae/Falcon-H1-7B-Instruct
    "falcon_h1": {
        "model_type": "falcon_h1", "hidden_size": 3072, "num_hidden_layers": 44,
        "num_attention_heads": 12, "num_key_value_heads": 2, "head_dim": 128,
        "intermediate_size": 12288, "mamba_d_conv": 4, "mamba_d_head": 128, "mamba_d_ssm": 3072,
        "mamba_d_state": 256, "mamba_n_groups": 1, "mamba_n_heads": 24, "vocab_size": 130048,
        "max_position_embeddings": 262144, "tie_word_embeddings": False,
    },
    # nvidia/Nemotron-H-8B-Base-8K
    "nemotron_h": {
        "model_type": "nemotron_h", "hidden_size": 4096, "num_hidden_layers": 52,
        "hybrid_override_pattern": "M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M-",
        "num_attention_heads": 32, "num_key_value_heads": 8, "attention_head_dim": 128,
        "intermediate_size": 21504, "mamba_num_heads": 128, "mamba_head_dim": 64, "n_groups": 8,
        "ssm_state_size": 128, "conv_kernel": 4, "vocab_size": 131072,
        "max_position_embeddings": 8192, "tie_word_embeddings": False,
    },
    # nvidia/NVIDIA-Nemotron-3-Super-120B-A12B
    "nemotron_h moe": {
        "model_type": "nemotron_h", "hidden_size": 4096, "num_hidden_layers": 88,
        "hybrid_override_pattern": "MEMEMEM*EMEMEMEM*EMEMEMEM*EMEMEMEMEM*EMEMEMEMEM*EMEMEMEMEM*"
        "EMEMEMEMEM*EMEMEMEM*EMEMEMEME",
        "num_attention_heads": 32, "num_key_value_heads": 2, "head_dim": 128,
        "moe_intermediate_size": 2688, "moe_latent_size": 1024, "n_routed_experts": 512,
        "moe_shared_expert_intermediate_size": 5376, "n_shared_experts": 1,
        "num_experts_per_tok": 22, "mamba_num_heads": 128, "mamba_head_dim": 64, "n_groups": 8,
        "ssm_state_size": 128, "conv_kernel": 4, "vocab_size": 131072,
        "max_position_embeddings": 262144, "tie_word_embeddings": False,
        "num_nextn_predict_layers": 1,
    },
    # Qwen/Qwen3-Next-80B-A3B-Instruct
    "qwen3_next": {
        **_LLAMA_LIKE, "model_type": "qwen3_next", "hidden_size": 2048, "num_hidden_layers": 48,
        "num_attention_heads": 16, "num_key_value_heads": 2, "head_dim": 256,
        "linear_conv_kernel_dim": 4, "linear_key_head_dim": 128, "linear_value_head_dim": 128,
        "linear_num_key_heads": 16, "linear_num_value_heads": 32, "moe_intermediate_size": 512,
        "num_experts": 512, "num_experts_per_tok": 10, "shared_expert_intermediate_size": 512,
        "layer_types": _pattern(48, 4, "linear_attention", "full_attention", 3),
        "vocab_size": 151936,
    },
    # Qwen/Qwen3.5-27B
    "qwen3_5": {
        **_LLAMA_LIKE, "model_type": "qwen3_5", "hidden_size": 5120, "num_hidden_layers": 64,
        "num_attention_heads": 24, "num_key_value_heads": 4, "head_dim": 256,
        "linear_conv_kernel_dim": 4, "linear_key_head_dim": 128, "linear_value_head_dim": 128,
        "linear_num_key_heads": 16, "linear_num_value_heads": 48, "intermediate_size": 17408,
        "layer_types": _pattern(64, 4, "linear_attention", "full_attention", 3),
        "vocab_size": 248320, "mtp_num_hidden_layers": 1,
    },
    # Qwen/Qwen3.6-35B-A3B
    "qwen3_5_moe": {
        **_LLAMA_LIKE, "model_type": "qwen3_5_moe", "hidden_size": 2048, "num_hidden_layers": 40,
        "num_attention_heads": 16, "num_key_value_heads": 2, "head_dim": 256,
        "linear_conv_kernel_dim": 4, "linear_key_head_dim": 128, "linear_value_head_dim": 128,
        "linear_num_key_heads": 16, "linear_num_value_heads": 32, "moe_intermediate_size": 512,
        "num_experts": 256, "num_experts_per_tok": 8, "shared_expert_intermediate_size": 512,
        "full_attention_interval": 4, "vocab_size": 248320, "mtp_num_hidden_layers": 1,
    },
    # LiquidAI/LFM2-1.2B
    "lfm2": {
        "model_type": "lfm2", "hidden_size": 2048, "num_hidden_layers": 16,
        "num_attention_heads": 32, "num_key_value_heads": 8, "block_ff_dim": 12288,
        "block_auto_adjust_ff_dim": True, "block_ffn_dim_multiplier": 1.0,
        "block_multiple_of": 256, "conv_L_cache": 3, "full_attn_idxs": [2, 5, 8, 10, 12, 14],
        "vocab_size": 65536, "max_position_embeddings": 128000, "tie_embedding": True,
    },
    # LiquidAI/LFM2-8B-A1B
    "lfm2_moe": {
        "model_type": "lfm2_moe", "hidden_size": 2048, "num_hidden_layers": 24,
        "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 7168,
        "moe_intermediate_size": 1792, "num_experts": 32, "num_experts_per_tok": 4,
        "num_dense_layers": 2, "conv_L_cache": 3,
        "layer_types": [
            "full_attention" if i in (2, 6, 10, 14, 18, 21) else "conv" for i in range(24)
        ],
        "vocab_size": 65536, "max_position_embeddings": 128000, "tie_embedding": True,
    },
    # RWKV/v6-Finch-1B6-HF
    "rwkv6": {
        "model_type": "rwkv6", "hidden_size": 2048, "num_hidden_layers": 24, "head_size": 64,
        "rescale_every": 6, "vocab_size": 65536, "intermediate_size": None,
    },
    # fla-hub/rwkv7-1.5B-world
    "rwkv7": {
        "model_type": "rwkv7", "hidden_size": 2048, "num_hidden_layers": 24, "head_dim": 64,
        "decay_low_rank_dim": 96, "a_low_rank_dim": 96, "v_low_rank_dim": 64,
        "gate_low_rank_dim": 256, "intermediate_size": 8192, "vocab_size": 65536,
    },
    # recursal/QRWKV6-32B-Instruct-Preview-v0.1
    "rwkv6qwen2": {
        "model_type": "rwkv6qwen2", "hidden_size": 5120, "num_hidden_layers": 64,
        "num_attention_heads": 40, "num_key_value_heads": 8, "intermediate_size": 27648,
        "vocab_size": 152064, "lora_rank_tokenshift": 64, "lora_rank_decay": 128,
    },
    # RWKV-Red-Team/ARWKV-7B-Preview-0.1
    "rwkv_hybrid": {
        "model_type": "rwkv_hybrid", "hidden_size": 3584, "num_hidden_layers": 28,
        "head_size": 64, "intermediate_size": 18944, "vocab_size": 152064, "wkv_version": 7,
        "wkv_has_gate": True, "wkv_has_group_norm": True,
    },
    # pfnet/plamo-2-1b
    "plamo2": {
        "model_type": "plamo2", "hidden_size": 2048, "num_hidden_layers": 16,
        "num_attention_heads": 16, "num_key_value_heads": 1, "hidden_size_per_head": 128,
        "intermediate_size": 8192, "mamba_step": 2, "mamba_d_conv": 4, "mamba_d_state": 64,
        "mamba_num_heads": 32, "vocab_size": 100000, "max_position_embeddings": 10485760,
        "tie_word_embeddings": True,
    },
    # google-t5/t5-small
    "t5": {
        "model_type": "t5", "d_model": 512, "d_kv": 64, "d_ff": 2048, "num_layers": 6,
        "num_decoder_layers": 6, "num_heads": 8, "relative_attention_num_buckets": 32,
        "feed_forward_proj": "relu", "vocab_size": 32128, "n_positions": 512,
        "tie_word_embeddings": True,
    },
    # google/umt5-small
    "umt5": {
        "model_type": "umt5", "d_model": 512, "d_kv": 64, "d_ff": 1024, "num_layers": 8,
        "num_decoder_layers": 8, "num_heads": 6, "relative_attention_num_buckets": 32,
        "feed_forward_proj": "gated-gelu", "vocab_size": 256384, "tie_word_embeddings": False,
    },
    # BAAI/bge-small-en-v1.5
    "bert": {
        "model_type": "bert", "hidden_size": 384, "num_hidden_layers": 12,
        "num_attention_heads": 12, "intermediate_size": 1536, "max_position_embeddings": 512,
        "type_vocab_size": 2, "vocab_size": 30522,
    },
    # BAAI/bge-m3
    "xlm-roberta": {
        "model_type": "xlm-roberta", "hidden_size": 1024, "num_hidden_layers": 24,
        "num_attention_heads": 16, "intermediate_size": 4096, "max_position_embeddings": 8194,
        "pad_token_id": 1, "type_vocab_size": 1, "vocab_size": 250002,
    },
    # jinaai/jina-embeddings-v2-base-en
    "bert jina v2": {
        "model_type": "bert", "hidden_size": 768, "num_hidden_layers": 12,
        "num_attention_heads": 12, "intermediate_size": 3072, "max_position_embeddings": 8192,
        "type_vocab_size": 2, "vocab_size": 30528, "position_embedding_type": "alibi",
        "feed_forward_type": "geglu",
    },
    # jinaai/jina-embeddings-v3
    "xlm-roberta jina v3": {
        "model_type": "xlm-roberta", "hidden_size": 1024, "num_hidden_layers": 24,
        "num_attention_heads": 16, "intermediate_size": 4096, "max_position_embeddings": 8194,
        "type_vocab_size": 1, "vocab_size": 250002, "position_embedding_type": "rotary",
        "lora_adaptations": ["retrieval.query", "text-matching"],
    },
    # distilbert/distilbert-base-uncased
    "distilbert": {
        "model_type": "distilbert", "dim": 768, "n_layers": 6, "n_heads": 12, "hidden_dim": 3072,
        "max_position_embeddings": 512, "vocab_size": 30522,
    },
    # nomic-ai/nomic-embed-text-v1.5
    "nomic_bert": {
        "model_type": "nomic_bert", "n_embd": 768, "n_head": 12, "n_inner": 3072, "n_layer": 12,
        "n_positions": 8192, "type_vocab_size": 2, "vocab_size": 30528,
        "qkv_proj_bias": False, "mlp_fc1_bias": False, "mlp_fc2_bias": False,
    },
    # nomic-ai/nomic-embed-text-v2-moe
    "nomic_bert moe": {
        "model_type": "nomic_bert", "n_embd": 768, "n_head": 12, "n_inner": 3072, "n_layer": 12,
        "n_positions": 2048, "type_vocab_size": 1, "vocab_size": 250048, "num_experts": 8,
        "moe_top_k": 2, "moe_every_n_layers": 2, "qkv_proj_bias": True, "mlp_fc1_bias": True,
        "mlp_fc2_bias": True,
    },
    # answerdotai/ModernBERT-base
    "modernbert": {
        "model_type": "modernbert", "hidden_size": 768, "num_hidden_layers": 22,
        "num_attention_heads": 12, "intermediate_size": 1152, "max_position_embeddings": 8192,
        "local_attention": 128, "global_attn_every_n_layers": 3, "vocab_size": 50368,
    },
    # EuroBERT/EuroBERT-210m
    "eurobert": {
        "model_type": "eurobert", "hidden_size": 768, "num_hidden_layers": 12,
        "num_attention_heads": 12, "num_key_value_heads": 12, "intermediate_size": 3072,
        "max_position_embeddings": 8192, "vocab_size": 128256,
    },
}  # fmt: skip

# Absent, these have the value the library (or, where none says so, llama.cpp's converter) defines.
OPTIONAL: frozenset[str] = frozenset(
    {
        "max_position_embeddings", "model_max_length", "n_positions", "tie_word_embeddings",
        "tie_embedding", "num_nextn_predict_layers", "mtp_num_hidden_layers", "use_conv_bias",
        "use_bias", "norm_topk_prob", "layer_types", "full_attention_interval", "indexer_types",
        "num_decoder_layers", "block_auto_adjust_ff_dim", "block_ffn_dim_multiplier",
        "type_vocab_size", "wkv_has_gate", "wkv_has_group_norm", "lora_rank_tokenshift",
        "lora_rank_decay", "moe_latent_size", "scoring_func",
        "activation_situ_beta", "activation_situ_linear_beta", "layernorm_full_attention_alpha",
        "ple_layer_ids",
    }
)  # fmt: skip
