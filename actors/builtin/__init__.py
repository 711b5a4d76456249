"""The actors that every server runs: they empty namespaces, collect what nobody owns any more, and delete what has expired.

They see the metadata of all objects of all kinds (`actors.builtin.objects`), in one stream that is in the order of commits, and
they write under identities of their own like every other actor.
"""
