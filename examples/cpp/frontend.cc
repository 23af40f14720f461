// What a registry's frontend asks of layercache, in C++.
//
// Usage: frontend ADDRESS[,ADDRESS...] REPOSITORY FILE DIGEST...
#include <grpcpp/grpcpp.h>
#include <openssl/evp.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "layercache/v1/layer_cache.grpc.pb.h"

using layercache::v1::LayerCacheService;
using Stub = LayerCacheService::Stub;

const char *const kServiceConfig = R"({
  "loadBalancingConfig": [{"round_robin": {}}],
  "methodConfig": [{
    "name": [{"service": "layercache.v1.LayerCacheService"}],
    "retryPolicy": {
      "maxAttempts": 4, "initialBackoff": "0.1s", "maxBackoff": "2s", "backoffMultiplier": 2,
      "retryableStatusCodes": ["UNAVAILABLE"]
    }
  }]
})";

// For a call, its retries included.
void set_deadline(grpc::ClientContext &context) {
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
}

void check(const grpc::Status &status) {
  if (!status.ok()) throw std::runtime_error(status.error_message());
}

// What layercache says beside the status: the reason, and the field of the request that is wrong.
std::string reason_of(const grpc::Status &status) {
  google::rpc::Status said;
  said.ParseFromString(status.error_details());
  std::string text;
  for (const auto &detail : said.details()) {
    google::rpc::ErrorInfo info;
    google::rpc::BadRequest bad;
    if (detail.UnpackTo(&info)) {
      text += (text.empty() ? "" : " ") + info.reason();
    } else if (detail.UnpackTo(&bad)) {
      for (const auto &violation : bad.field_violations()) text += " " + violation.field();
    }
  }
  return text;
}

class Sha256 {
 public:
  Sha256() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
    EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr);
  }
  void update(const std::string &bytes) { EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()); }
  std::string digest() {
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned int length = 0;
    EVP_DigestFinal_ex(context_.get(), bytes, &length);
    std::string text = "sha256:";
    char pair[3];
    for (unsigned int i = 0; i < length; i++) {
      std::snprintf(pair, sizeof pair, "%02x", bytes[i]);
      text += pair;
    }
    return text;
  }

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

// Writes the layer into the file, going on where a broken stream ended; returns its length.
int64_t fetch(Stub &stub, const std::string &repository, const std::string &digest, const std::string &path) {
  std::ofstream file(path, std::ios::binary);
  Sha256 hashed;
  int64_t received = 0;
  for (int attempts = 5;; attempts--) {
    layercache::v1::FetchRequest request;
    request.set_repository(repository);
    request.set_digest(digest);
    request.set_offset(received);
    grpc::ClientContext context;
    auto stream = stub.Fetch(&context, request);
    layercache::v1::FetchResponse response;
    while (stream->Read(&response)) {
      file << response.chunk();
      hashed.update(response.chunk());
      received += static_cast<int64_t>(response.chunk().size());
    }
    const grpc::Status status = stream->Finish();
    if (status.ok()) break;
    if (status.error_code() != grpc::StatusCode::UNAVAILABLE || attempts == 1) check(status);
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
  file.close();
  if (hashed.digest() == digest) return received;
  std::remove(path.c_str());
  throw std::runtime_error("the layer does not hash to its digest");
}

grpc::Status stat(Stub &stub, const std::string &repository, const std::string &digest,
                  layercache::v1::StatResponse &response) {
  layercache::v1::StatRequest request;
  request.set_repository(repository);
  request.set_digest(digest);
  grpc::ClientContext context;
  set_deadline(context);
  return stub.Stat(&context, request, &response);
}

int main(int argc, char **argv) try {
  if (argc < 5) throw std::runtime_error("too few arguments");
  const std::string repository = argv[2], path = argv[3], first = argv[4];
  grpc::ChannelArguments arguments;
  arguments.SetServiceConfigJSON(kServiceConfig);
  auto channel = grpc::CreateCustomChannel("ipv4:" + std::string(argv[1]), grpc::InsecureChannelCredentials(), arguments);
  auto stub = LayerCacheService::NewStub(channel);

  // A push asks what it has to upload: max_age 0, so storage itself answers.
  layercache::v1::FindMissingRequest asked;
  asked.set_repository(repository);
  asked.mutable_max_age();
  for (int i = 4; i < argc; i++) asked.add_digests(argv[i]);
  layercache::v1::FindMissingResponse missing;
  grpc::ClientContext context;
  set_deadline(context);
  check(stub->FindMissing(&context, asked, &missing));
  for (const auto &digest : missing.missing_digests()) std::cout << "missing " << digest << "\n";

  layercache::v1::StatResponse found;
  check(stat(*stub, repository, first, found));
  std::cout << "length " << found.length() << "\n";
  std::cout << "fetched " << fetch(*stub, repository, first, path) << "\n";
  std::cout << "unknown: " << reason_of(stat(*stub, repository, "sha256:" + std::string(64, '0'), found)) << "\n";
  std::cout << "wrong: " << reason_of(stat(*stub, repository, "sha256:42", found)) << "\n";
} catch (const std::exception &error) {
  std::cerr << error.what() << "\n";
  return 1;
}
