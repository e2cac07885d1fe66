"""Large mixtures of experts: DeepSeek, Kimi, GLM, gpt-oss, MiniMax and others.

Rows of the catalogue, as JSON: {"repeat": n, "of": [...]} stands for a list, {"join": [...]} for
a text, and "like" for another row's config with the fields given here instead.
"""

ROWS = """[

]"""
