"""Kinds in the forms that other tools read: made of descriptions (`registry.description`), whether they come from plugins or from a
server. Pure: equal descriptions make equal texts, byte for byte, so that what is made can be kept beside other code and compared.
"""
