"""The server: socket, request path, documents, command line. The only package that sees all the others, and the only one with HTTP.

`serve` puts everything together, `asgi` reads requests, `manager` carries them out, `cli` is the command `skep`.
"""
