"""What a registry's frontend asks of layercache, in Python.

Usage: frontend.py ADDRESS[,ADDRESS...] REPOSITORY FILE DIGEST...
"""
import hashlib
import json
import os
import sys
import time

import google
import grpc

# The generated google.rpc lies beside this program; the rest of the package is protobuf's own.
google.__path__.append(os.path.join(os.environ['PROTOS'], 'google'))
from google.rpc import error_details_pb2, status_pb2
from layercache.v1 import layer_cache_pb2 as messages
from layercache.v1 import layer_cache_pb2_grpc

DEADLINE = 10  # seconds for a call, its retries included
SERVICE_CONFIG = {
    'loadBalancingConfig': [{'round_robin': {}}],
    'methodConfig': [{
        'name': [{'service': 'layercache.v1.LayerCacheService'}],
        'retryPolicy': {
            'maxAttempts': 4, 'initialBackoff': '0.1s', 'maxBackoff': '2s', 'backoffMultiplier': 2,
            'retryableStatusCodes': ['UNAVAILABLE'],
        },
    }],
}


def reason_of(error):
    """What layercache says beside the status: the reason, and the field of the request that is wrong."""
    said = []
    for key, value in error.trailing_metadata() or ():
        if key != 'grpc-status-details-bin':
            continue
        for detail in status_pb2.Status.FromString(value).details:
            info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
            if detail.Unpack(info):
                said.append(info.reason)
            elif detail.Unpack(bad):
                said += [violation.field for violation in bad.field_violations]
    return ' '.join(said)


def refused(call):
    try:
        call()
        return 'nothing'
    except grpc.RpcError as error:
        return reason_of(error)


def fetch(stub, repository, digest, path):
    """Writes the layer into the file, going on where a broken stream ended; returns its length."""
    algorithm, expected = digest.split(':')
    hashed, received, attempts = hashlib.new(algorithm), 0, 5
    with open(path, 'wb') as file:
        while True:
            try:
                request = messages.FetchRequest(repository=repository, digest=digest, offset=received)
                for response in stub.Fetch(request):
                    file.write(response.chunk)
                    hashed.update(response.chunk)
                    received += len(response.chunk)
                break
            except grpc.RpcError as error:
                attempts -= 1
                if error.code() != grpc.StatusCode.UNAVAILABLE or attempts == 0:
                    raise
                time.sleep(0.2)
    if hashed.hexdigest() != expected:
        os.remove(path)
        raise ValueError('the layer does not hash to its digest')
    return received


def main():
    addresses, repository, path, *digests = sys.argv[1:]
    options = [('grpc.service_config', json.dumps(SERVICE_CONFIG))]
    with grpc.insecure_channel(f'ipv4:{addresses}', options) as channel:
        stub = layer_cache_pb2_grpc.LayerCacheServiceStub(channel)
        # A push asks what it has to upload: max_age 0, so storage itself answers.
        asked = messages.FindMissingRequest(repository=repository, digests=digests)
        asked.max_age.SetInParent()
        for digest in stub.FindMissing(asked, timeout=DEADLINE).missing_digests:
            print('missing', digest)
        stat = messages.StatRequest(repository=repository, digest=digests[0])
        print('length', stub.Stat(stat, timeout=DEADLINE).length)
        print('fetched', fetch(stub, repository, digests[0], path))
        unknown = messages.StatRequest(repository=repository, digest='sha256:' + '0' * 64)
        print('unknown:', refused(lambda: stub.Stat(unknown, timeout=DEADLINE)))
        wrong = messages.StatRequest(repository=repository, digest='sha256:42')
        print('wrong:', refused(lambda: stub.Stat(wrong, timeout=DEADLINE)))


main()
