"""All that decides whether a request may go on: who asks (`identity`, `authentication`), whether they may (`authorizer`), and
what a plugin's handlers say of the object (`chain`). It sees an identity, an address and an object, not where they came from, nor
what is stored.
"""
