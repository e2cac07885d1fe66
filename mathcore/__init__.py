"""Does this model fit on that hardware, how fast, for how much? Pure arithmetic, compiled by mypyc.

    from mathcore.api import Query, find_model, plan

    spec = find_model("llama-3.1-8b")
    answer = plan(Query(model=spec, batch=4, context=8192), devices)
    answer.placements[0].footprint  # bytes, term by term
    answer.refusals[0].text  # why not there

Low to high: units band price device < model < quant architectures convert hardware
             < gguf < formats < catalogue | engines | speed < planner
"""

# True when running from the extension modules: their names do not end in .py.
COMPILED: bool = not __file__.endswith((".py", ".pyc"))
