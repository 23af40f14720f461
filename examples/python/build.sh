#!/bin/sh
# Debian: protobuf-compiler protobuf-compiler-grpc python3-grpcio python3-protobuf
# Usage: build.sh FOLDER; then PROTOS=FOLDER PYTHONPATH=FOLDER python3 frontend.py …
set -eu
here=$(dirname "$(realpath "$0")")
google=${GOOGLE_PROTOS:-$here/../../node_modules/google-proto-files}
protoc -I "$here/../../proto" -I "$google" --python_out="$1" --grpc_python_out="$1" \
  --plugin=protoc-gen-grpc_python="$(command -v grpc_python_plugin)" \
  layercache/v1/layer_cache.proto google/rpc/status.proto google/rpc/error_details.proto
