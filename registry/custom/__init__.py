"""Kinds that are defined while the server runs: their schemas, their rules, and what makes kinds of them."""
