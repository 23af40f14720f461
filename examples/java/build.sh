#!/bin/sh
# Debian: default-jdk-headless libgrpc-java libprotobuf-java libnetty-java libgoogle-gson-java
#   libgoogle-common-protos-java libperfmark-java libgeronimo-annotation-1.3-spec-java
#   protobuf-compiler protobuf-compiler-grpc-java-plugin
# Usage: build.sh FOLDER; then java -cp "FOLDER:$(cat FOLDER/classpath)" Frontend …
set -eu
here=$(dirname "$(realpath "$0")")
google=${GOOGLE_PROTOS:-$here/../../node_modules/google-proto-files}
# Debian's google.rpc is older than ErrorInfo, so the error details are generated too.
protoc -I "$here/../../proto" -I "$google" --java_out="$1" --grpc_java_out="$1" \
  --plugin=protoc-gen-grpc_java="$(command -v grpc_java_plugin)" \
  layercache/v1/layer_cache.proto google/rpc/error_details.proto
jars=
for jar in grpc-api grpc-context grpc-core grpc-netty grpc-protobuf grpc-protobuf-lite grpc-stub protobuf \
  netty-buffer netty-codec netty-codec-http netty-codec-http2 netty-codec-socks netty-common netty-handler \
  netty-handler-proxy netty-resolver netty-transport netty-transport-native-unix-common guava gson \
  perfmark-api proto-google-common-protos geronimo-annotation-1.3-spec; do
  jars="$jars:/usr/share/java/$jar.jar"
done
echo "${jars#:}" > "$1/classpath"
find "$1" -name '*.java' > "$1/sources"
javac -nowarn -proc:none -cp "${jars#:}" -d "$1" "@$1/sources" "$here/Frontend.java"
