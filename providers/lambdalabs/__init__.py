"""Lambda Cloud: virtual machines by the hour, on its public API version 1.10.0 (OpenAPI).

It has no spot market, no stopped machines, no charges to ask for, and no key that can do nothing
but end one machine: so no dead-man. Without a second peer that holds the account's key, a machine
runs until a peer that does is back.
"""
