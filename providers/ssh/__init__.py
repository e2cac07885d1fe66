"""Hosts reached by SSH alone: what they are, and attempts that run there without anything of
ours."""
