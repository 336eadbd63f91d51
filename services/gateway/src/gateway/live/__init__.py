"""The live stream: changes pushed to clients as they appear on the bus.

`feed` reads a topic into memory, `subscriber` is one client with its filters and its bounded queue, `catch_up` brings a client
that was away to where the feed is, `websocket` and `sse` speak to it. A position names an offset in every partition of a topic.
"""
