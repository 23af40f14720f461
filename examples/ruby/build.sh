#!/bin/sh
# Debian: protobuf-compiler protobuf-compiler-grpc ruby-grpc ruby-googleapis-common-protos-types
# Usage: build.sh FOLDER; then ruby -I FOLDER frontend.rb …
set -eu
here=$(dirname "$(realpath "$0")")
protoc -I "$here/../../proto" --ruby_out="$1" --grpc_ruby_out="$1" \
  --plugin=protoc-gen-grpc_ruby="$(command -v grpc_ruby_plugin)" layercache/v1/layer_cache.proto
