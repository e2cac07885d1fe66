"""config.json -> what llama.cpp's converter would write: metadata and tensors, family by family.

Where is a family? Files bear the names of llama.cpp's conversion/ (its conversion/<family>.py);
`registry` knows every model_type. A family stands in the first room that fits one of its layers:

    encoder/    text in one pass: BERT's kin, T5
    recurrent/  a layer keeps a state of fixed size: Mamba, RWKV, delta nets, hybrids
    latent/     a layer keeps a compressed row: DeepSeek and those that took its attention
    experts/    a layer has experts
    dense/      everything else

Where several makers share a mechanism, the file bears its name and the families are its rows or
functions: dense/llama, dense/fused, dense/legacy, experts/moe, experts/moe_shared,
recurrent/hybrid; likewise latent/mla, latent/hyper_connections, recurrent/kda and recurrent/ssm.
Rooms use the modules of this folder and not each other, except recurrent, which uses latent.

Parameters of every converter:

    f    `Fields` of the config, in which every fault names its field
    s    `Sizes` of the decoder: widths and counts
    b    `Build`, the conversion in the making; b.s are its sizes
    i    number of the layer, from 0
    e    `Experts` of a layer            lat  `Latent`, ranks and head parts of MLA
    m    `Ssm`, the sizes of a state     v, t  vision_config and tower of a projector
"""
