"""What the modules for servers share, whatever the framework.

============= ====================================================================
`_requests`   the code that answers one request: cancelled from elsewhere, sending
`_signals`    what tells a server to end
`_lifetime`   what an application owns from its start to its end
`_bodies`     the body of an answer, made and sent piece by piece
`_clients`    the client of an ASGI server, whose going away is noticed
`_middleware` an ASGI application around another
============= ====================================================================

Each imports only from those above it.
"""
