#!/bin/sh
# Debian: g++ pkg-config libgrpc++-dev libssl-dev protobuf-compiler protobuf-compiler-grpc
# Usage: build.sh FOLDER; then FOLDER/frontend …
set -eu
here=$(dirname "$(realpath "$0")")
google=${GOOGLE_PROTOS:-$here/../../node_modules/google-proto-files}
protoc -I "$here/../../proto" -I "$google" --cpp_out="$1" --grpc_cpp_out="$1" \
  --plugin=protoc-gen-grpc_cpp="$(command -v grpc_cpp_plugin)" \
  layercache/v1/layer_cache.proto google/rpc/status.proto google/rpc/error_details.proto
g++ -std=c++17 -O0 -I "$1" -o "$1/frontend" "$here/frontend.cc" "$1"/layercache/v1/*.cc \
  "$1/google/rpc/status.pb.cc" "$1/google/rpc/error_details.pb.cc" $(pkg-config --cflags --libs grpc++ protobuf libcrypto)
