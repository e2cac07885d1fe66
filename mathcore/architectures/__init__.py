"""GGUF metadata -> what each layer keeps, per llama.cpp architecture; `registry` asks the readers.

`h` is always `Hparams`, what every architecture shares; `i` is the number of a layer, from 0.
"""
