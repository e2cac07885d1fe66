"""config.json -> what llama.cpp's converter would write: metadata and tensors, family by family."""
