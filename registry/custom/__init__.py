"""Kinds that are made at run time, by a CustomResourceDefinition."""
