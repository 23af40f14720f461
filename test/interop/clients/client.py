# A client of Debian's python3-grpcio without generated code: requests come in files, answers go as JSON.
import hashlib, json, sys, time
import grpc

address, exists, fetch, missing = sys.argv[1], *(open(path, 'rb').read() for path in sys.argv[2:5])
service = '/layercache.v1.LayerCacheService/'
raw = dict(request_serializer=lambda message: message, response_deserializer=lambda message: message)
channel = grpc.insecure_channel(address, [('grpc.max_receive_message_length', 4 << 20)])
ask = lambda name: channel.unary_unary(service + name, **raw)
stream = channel.unary_stream(service + 'Fetch', **raw)

def chunk(message):
    # FetchResponse: the chunk is field 2; its length is a varint.
    if message[:1] != b'\x12': return b''
    at, shift, length = 1, 0, 0
    while True:
        length |= (message[at] & 0x7f) << shift
        shift += 7
        at += 1
        if message[at - 1] < 0x80: return message[at:at + length]

def status_of(work):
    try:
        work()
        return 'OK'
    except grpc.RpcError as error:
        return error.code().name

def fetched():
    digest = hashlib.sha256()
    for message in stream(fetch, timeout=60): digest.update(chunk(message))
    return 'sha256:' + digest.hexdigest()

def cancelled():
    call = stream(fetch)
    next(call)
    call.cancel()
    for _ in call: pass

def overdue():
    call = stream(fetch, timeout=0.1)
    next(call)
    time.sleep(0.3)
    for _ in call: pass

answers = {
    'exists': ask('Exists')(exists, timeout=10).hex(),
    'fetch': fetched(),
    'cancelled': status_of(cancelled),
    'overdue': status_of(overdue),
    'missing': hashlib.sha256(ask('FindMissing')(missing, timeout=10)).hexdigest(),
    'compressed': hashlib.sha256(ask('FindMissing')(missing, timeout=10, compression=grpc.Compression.Gzip)).hexdigest(),
    'unknown': status_of(lambda: ask('Nothing')(b'', timeout=10)),
    'again': ask('Exists')(exists, timeout=10).hex(),
}
print(json.dumps(answers))
