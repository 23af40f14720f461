# What a registry's frontend asks of layercache, in Ruby.
#
# Usage: frontend.rb ADDRESS[,ADDRESS...] REPOSITORY FILE DIGEST...
require 'digest'
require 'json'
require 'grpc'
require 'google/protobuf/well_known_types'
require 'google/rpc/error_details_pb'
require 'google/rpc/status_pb'
require 'layercache/v1/layer_cache_services_pb'

include Layercache::V1

DEADLINE = 10 # seconds for a call, its retries included
SERVICE_CONFIG = {
  loadBalancingConfig: [{ round_robin: {} }],
  methodConfig: [{
    name: [{ service: 'layercache.v1.LayerCacheService' }],
    retryPolicy: {
      maxAttempts: 4, initialBackoff: '0.1s', maxBackoff: '2s', backoffMultiplier: 2,
      retryableStatusCodes: ['UNAVAILABLE']
    }
  }]
}.freeze

def deadline = Time.now + DEADLINE

# What layercache says beside the status: the reason, and the field of the request that is wrong.
def reason_of(error)
  details = Google::Rpc::Status.decode(error.metadata['grpc-status-details-bin'] || '').details
  details.flat_map do |detail|
    if detail.is(Google::Rpc::ErrorInfo) then [detail.unpack(Google::Rpc::ErrorInfo).reason]
    elsif detail.is(Google::Rpc::BadRequest)
      detail.unpack(Google::Rpc::BadRequest).field_violations.map(&:field)
    else []
    end
  end.join(' ')
end

def refused
  yield
  'nothing'
rescue GRPC::BadStatus => e
  reason_of(e)
end

# Writes the layer into the file, going on where a broken stream ended; returns its length.
def fetch(stub, repository, digest, path)
  expected = digest.split(':').last
  hashed = Digest::SHA256.new
  received = 0
  attempts = 5
  File.open(path, 'wb') do |file|
    begin
      request = FetchRequest.new(repository: repository, digest: digest, offset: received)
      stub.fetch(request).each do |response|
        file.write(response.chunk)
        hashed << response.chunk
        received += response.chunk.bytesize
      end
    rescue GRPC::Unavailable
      attempts -= 1
      raise if attempts.zero?
      sleep 0.2
      retry
    end
  end
  return received if hashed.hexdigest == expected

  File.delete(path)
  raise 'the layer does not hash to its digest'
end

addresses, repository, path, *digests = ARGV
stub = LayerCacheService::Stub.new("ipv4:#{addresses}", :this_channel_is_insecure,
                                   channel_args: { 'grpc.service_config' => JSON.generate(SERVICE_CONFIG) })
# A push asks what it has to upload: max_age 0, so storage itself answers.
asked = FindMissingRequest.new(repository: repository, digests: digests, max_age: Google::Protobuf::Duration.new)
stub.find_missing(asked, deadline: deadline).missing_digests.each { |digest| puts "missing #{digest}" }
stat = StatRequest.new(repository: repository, digest: digests.first)
puts "length #{stub.stat(stat, deadline: deadline).length}"
puts "fetched #{fetch(stub, repository, digests.first, path)}"
unknown = StatRequest.new(repository: repository, digest: "sha256:#{'0' * 64}")
puts "unknown: #{refused { stub.stat(unknown, deadline: deadline) }}"
wrong = StatRequest.new(repository: repository, digest: 'sha256:42')
puts "wrong: #{refused { stub.stat(wrong, deadline: deadline) }}"
