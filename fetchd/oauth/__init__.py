"""OAuth 2: how an account gets its tokens, keeps them and has them renewed.

::

    providers.py  endpoints and habits     ┐
    replies.py    what a provider answers  ├ pure
    tokens.py     what is kept of it       ┘
    wire.py       a request with a deadline       files.py    the token files: locked, atomic, durable
    client.py     the requests of RFC 6749, 7636 and 8628, over wire.py
    device.py, browser.py   the two ways to log in     reader.py   fills ports.Secrets from the files, and renews
"""
