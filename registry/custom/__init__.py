"""Kinds that arrive at run time, in a CustomResourceDefinition."""
