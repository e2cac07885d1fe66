"""Models that keep a state: Granite 4, LFM2, Nemotron, Falcon H1, Jamba, Mamba, Kimi Linear.

Rows of the catalogue, as JSON: {"repeat": n, "of": [...]} stands for a list, {"join": [...]} for
a text, and "like" for another row's config with the fields given here instead.
"""

ROWS = """[

]"""
