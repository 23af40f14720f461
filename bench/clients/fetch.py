"""A Python grpcio client: fetches a layer once to warm its channel, then so often.

Arguments: port, request (base64 of a FetchRequest), bytes of the layer, times.
Prints the bytes a second. Chunks are counted, not decoded: what is measured is
the transport, the same for every server.
"""
import base64
import sys
import time

import grpc

port, request, length, times = sys.argv[1], base64.b64decode(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])


def payload(message):
    """Bytes of the chunk that is the message's one field; 0 for the header."""
    if message[0] != 0x12:
        return 0
    varint = 1
    while message[varint] >= 0x80:
        varint += 1
    return len(message) - 1 - varint


with grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.enable_http_proxy", 0)]) as channel:
    fetch = channel.unary_stream(
        "/layercache.v1.LayerCacheService/Fetch",
        request_serializer=lambda message: message,
        response_deserializer=lambda message: message,
    )

    def once():
        got = sum(payload(message) for message in fetch(request, timeout=60))
        if got != length:
            raise SystemExit(f"{got} bytes, not {length}")

    once()
    begun = time.perf_counter()
    for _ in range(times):
        once()
    print(length * times / (time.perf_counter() - begun))
