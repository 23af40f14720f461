# A client of Debian's ruby-grpc without generated code: requests come in files, answers go as JSON.
require 'digest'
require 'grpc'
require 'json'

address = ARGV[0]
exists, fetch, missing = ARGV[1..3].map { |path| File.binread(path) }
SERVICE = '/layercache.v1.LayerCacheService/'
AS_IS = proc { |message| message }
gzip = GRPC::Core::CompressionOptions.new(default_algorithm: :gzip).to_channel_arg_hash
PLAIN = GRPC::ClientStub.new(address, :this_channel_is_insecure)
# A subchannel of its own, or it would share the plain one's settings.
ZIPPED = GRPC::ClientStub.new(address, :this_channel_is_insecure, channel_args: gzip.merge('grpc.use_local_subchannel_pool' => 1))

def ask(stub, name, request)
  stub.request_response("#{SERVICE}#{name}", request, AS_IS, AS_IS, deadline: Time.now + 10)
end

def stream(request, seconds)
  PLAIN.server_streamer("#{SERVICE}Fetch", request, AS_IS, AS_IS, deadline: Time.now + seconds, return_op: true)
end

# FetchResponse: the chunk is field 2; its length is a varint.
def chunk(message)
  return '' unless message.getbyte(0) == 0x12
  at = 1
  length = 0
  shift = 0
  loop do
    byte = message.getbyte(at)
    length |= (byte & 0x7f) << shift
    shift += 7
    at += 1
    return message.byteslice(at, length) if byte < 0x80
  end
end

def status_of
  yield
  'OK'
rescue GRPC::BadStatus => error
  GRPC::Core::StatusCodes.constants.find { |name| GRPC::Core::StatusCodes.const_get(name) == error.code }.to_s
end

digest = Digest::SHA256.new
stream(fetch, 60).execute.each { |message| digest.update(chunk(message)) }
cancelled = status_of do
  operation = stream(fetch, 60)
  operation.execute.each { operation.cancel }
end
overdue = status_of do
  stream(fetch, 0.1).execute.each { sleep 0.3 }
end
puts JSON.generate(
  exists: ask(PLAIN, 'Exists', exists).unpack1('H*'),
  fetch: "sha256:#{digest.hexdigest}",
  cancelled: cancelled,
  overdue: overdue,
  missing: Digest::SHA256.hexdigest(ask(PLAIN, 'FindMissing', missing)),
  compressed: Digest::SHA256.hexdigest(ask(ZIPPED, 'FindMissing', missing)),
  unknown: status_of { ask(PLAIN, 'Nothing', '') },
  again: ask(PLAIN, 'Exists', exists).unpack1('H*'),
)
