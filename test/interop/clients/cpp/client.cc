// A client of grpc++: requests come in files, answers go as JSON.
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/codegen/client_unary_call.h>
#include <openssl/evp.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <functional>
#include <iostream>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>

#include "layercache/v1/layer_cache.grpc.pb.h"

using namespace layercache::v1;

std::string hex(const std::string &bytes) {
  std::string text;
  char pair[3];
  for (unsigned char byte : bytes) {
    std::snprintf(pair, sizeof pair, "%02x", byte);
    text += pair;
  }
  return text;
}

class Sha256 {
 public:
  Sha256() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) { EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr); }
  void update(const std::string &bytes) { EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()); }
  std::string text() {
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned int length = 0;
    EVP_DigestFinal_ex(context_.get(), bytes, &length);
    return hex(std::string(reinterpret_cast<char *>(bytes), length));
  }

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

template <typename Message>
Message read(const char *path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream bytes;
  bytes << file.rdbuf();
  Message message;
  if (!message.ParseFromString(bytes.str())) throw std::runtime_error("a request cannot be read");
  return message;
}

const char *name_of(const grpc::Status &status) {
  switch (status.error_code()) {
    case grpc::OK: return "OK";
    case grpc::CANCELLED: return "CANCELLED";
    case grpc::DEADLINE_EXCEEDED: return "DEADLINE_EXCEEDED";
    case grpc::UNIMPLEMENTED: return "UNIMPLEMENTED";
    default: return "another";
  }
}

void timely(grpc::ClientContext &context, int milliseconds) {
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(milliseconds));
}

int main(int, char **argv) try {
  const auto exists = read<ExistsRequest>(argv[2]);
  const auto fetch = read<FetchRequest>(argv[3]);
  const auto missing = read<FindMissingRequest>(argv[4]);
  auto channel = grpc::CreateChannel(argv[1], grpc::InsecureChannelCredentials());
  auto stub = LayerCacheService::NewStub(channel);

  auto asked = [&] {
    grpc::ClientContext context;
    timely(context, 10000);
    ExistsResponse answer;
    const grpc::Status status = stub->Exists(&context, exists, &answer);
    if (!status.ok()) throw std::runtime_error(status.error_message());
    return hex(answer.SerializeAsString());
  };
  auto found = [&](grpc_compression_algorithm compression) {
    grpc::ClientContext context;
    timely(context, 10000);
    context.set_compression_algorithm(compression);
    FindMissingResponse answer;
    const grpc::Status status = stub->FindMissing(&context, missing, &answer);
    if (!status.ok()) throw std::runtime_error(status.error_message());
    Sha256 hashed;
    hashed.update(answer.SerializeAsString());
    return hashed.text();
  };
  // Reads a stream to its end; `on_first` is called after the first message.
  auto stream = [&](int milliseconds, std::string *digest, const std::function<void(grpc::ClientContext &)> &on_first) {
    grpc::ClientContext context;
    timely(context, milliseconds);
    auto reader = stub->Fetch(&context, fetch);
    FetchResponse response;
    Sha256 hashed;
    for (bool is_first = true; reader->Read(&response); is_first = false) {
      hashed.update(response.chunk());
      if (is_first) on_first(context);
    }
    *digest = "sha256:" + hashed.text();
    return reader->Finish();
  };
  auto unknown = [&] {
    grpc::ClientContext context;
    timely(context, 10000);
    const grpc::internal::RpcMethod nothing("/layercache.v1.LayerCacheService/Nothing",
                                            grpc::internal::RpcMethod::NORMAL_RPC, channel);
    ExistsResponse answer;
    return grpc::internal::BlockingUnaryCall(channel.get(), nothing, &context, exists, &answer);
  };

  std::string fetched, ignored;
  const std::string first = asked();
  const grpc::Status whole = stream(60000, &fetched, [](grpc::ClientContext &) {});
  if (!whole.ok()) throw std::runtime_error(whole.error_message());
  const grpc::Status cancelled = stream(30000, &ignored, [](grpc::ClientContext &context) { context.TryCancel(); });
  const grpc::Status overdue = stream(100, &ignored, [](grpc::ClientContext &) {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
  });
  const std::string plain = found(GRPC_COMPRESS_NONE), zipped = found(GRPC_COMPRESS_GZIP);
  std::cout << "{\"exists\":\"" << first << "\",\"fetch\":\"" << fetched << "\",\"cancelled\":\"" << name_of(cancelled)
            << "\",\"overdue\":\"" << name_of(overdue) << "\",\"missing\":\"" << plain << "\",\"compressed\":\"" << zipped
            << "\",\"unknown\":\"" << name_of(unknown()) << "\",\"again\":\"" << asked() << "\"}\n";
} catch (const std::exception &error) {
  std::cerr << error.what() << "\n";
  return 1;
}
