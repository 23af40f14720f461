#!/bin/sh
# Debian: golang-go golang-google-grpc-dev golang-goprotobuf-dev protobuf-compiler
# Usage: build.sh FOLDER; then GRPC_GO_RETRY=on FOLDER/frontend …
# (With modules of today: protoc-gen-go and protoc-gen-go-grpc, and import what go_package names.)
set -eu
here=$(dirname "$(realpath "$0")")
mkdir -p "$1/src/layercachev1"
protoc -I "$here/../../proto" layercache/v1/layer_cache.proto \
  --go_out=plugins=grpc,paths=source_relative,Mlayercache/v1/layer_cache.proto=layercachev1:"$1"
mv "$1/layercache/v1/layer_cache.pb.go" "$1/src/layercachev1/"
GO111MODULE=off GOPATH="$1:/usr/share/gocode" go build -o "$1/frontend" "$here/frontend.go"
