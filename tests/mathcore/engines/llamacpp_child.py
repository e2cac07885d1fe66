"""Asks real llama.cpp what a model needs; run as a child, because llama.cpp aborts on errors.

argv: model, tokens in all. Prints its log to standard error; verbosity 4 names every buffer.
"""

import sys

import xllamacpp


def main() -> None:
    params = xllamacpp.CommonParams()
    params.model.path = sys.argv[1]
    params.n_ctx = int(sys.argv[2])
    params.n_parallel = int(sys.argv[3])
    params.port = 0
    params.verbosity = 4
    params.warmup = False
    params.fit_params = False
    xllamacpp.Server(params)


if __name__ == "__main__":
    main()
