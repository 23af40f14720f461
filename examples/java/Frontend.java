// What a registry's frontend asks of layercache, in Java.
//
// Usage: Frontend ADDRESS[,ADDRESS...] REPOSITORY FILE DIGEST...
import com.google.protobuf.Any;
import com.google.protobuf.Duration;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import io.grpc.EquivalentAddressGroup;
import io.grpc.ManagedChannel;
import io.grpc.NameResolver;
import io.grpc.NameResolverProvider;
import io.grpc.NameResolverRegistry;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.NettyChannelBuilder;
import io.grpc.protobuf.StatusProto;
import layercache.v1.FetchRequest;
import layercache.v1.FetchResponse;
import layercache.v1.FindMissingRequest;
import layercache.v1.LayerCacheServiceGrpc;
import layercache.v1.LayerCacheServiceGrpc.LayerCacheServiceBlockingStub;
import layercache.v1.StatRequest;
import java.io.OutputStream;
import java.net.InetSocketAddress;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

public class Frontend {
  /** For a call, its retries included. */
  static final long DEADLINE_SECONDS = 10;

  static final Map<String, ?> SERVICE_CONFIG =
      Map.of(
          "loadBalancingConfig", List.of(Map.of("round_robin", Map.of())),
          "methodConfig",
              List.of(
                  Map.of(
                      "name", List.of(Map.of("service", "layercache.v1.LayerCacheService")),
                      "retryPolicy",
                          Map.of(
                              "maxAttempts", 4.0,
                              "initialBackoff", "0.1s",
                              "maxBackoff", "2s",
                              "backoffMultiplier", 2.0,
                              "retryableStatusCodes", List.of("UNAVAILABLE")))));

  /** Resolves to all of the addresses; a DNS name of several does the same with dns:///name:port. */
  static class Replicas extends NameResolverProvider {
    final List<EquivalentAddressGroup> groups = new ArrayList<>();

    Replicas(String addresses) {
      for (String address : addresses.split(",")) {
        URI uri = URI.create("tcp://" + address);
        groups.add(new EquivalentAddressGroup(new InetSocketAddress(uri.getHost(), uri.getPort())));
      }
    }

    @Override
    public NameResolver newNameResolver(URI uri, NameResolver.Args args) {
      if (!getDefaultScheme().equals(uri.getScheme())) return null;
      return new NameResolver() {
        @Override
        public String getServiceAuthority() {
          return "layercache";
        }

        @Override
        public void start(Listener2 listener) {
          listener.onResult(ResolutionResult.newBuilder().setAddresses(groups).build());
        }

        @Override
        public void shutdown() {}
      };
    }

    @Override
    public String getDefaultScheme() {
      return "replicas";
    }

    @Override
    protected boolean isAvailable() {
      return true;
    }

    @Override
    protected int priority() {
      return 5;
    }
  }

  /** What layercache says beside the status: the reason, and the field of the request that is wrong. */
  static String reasonOf(StatusRuntimeException error) throws Exception {
    List<String> said = new ArrayList<>();
    for (Any detail : StatusProto.fromThrowable(error).getDetailsList()) {
      if (detail.is(ErrorInfo.class)) said.add(detail.unpack(ErrorInfo.class).getReason());
      if (detail.is(BadRequest.class)) {
        detail.unpack(BadRequest.class).getFieldViolationsList().forEach(each -> said.add(each.getField()));
      }
    }
    return String.join(" ", said);
  }

  static String refused(Runnable call) throws Exception {
    try {
      call.run();
      return "nothing";
    } catch (StatusRuntimeException error) {
      return reasonOf(error);
    }
  }

  /** Writes the layer into the file, going on where a broken stream ended; returns its length. */
  static long fetch(LayerCacheServiceBlockingStub stub, String repository, String digest, Path path)
      throws Exception {
    MessageDigest hashed = MessageDigest.getInstance("SHA-256");
    long received = 0;
    try (OutputStream file = Files.newOutputStream(path)) {
      for (int attempts = 5; ; attempts--) {
        FetchRequest request =
            FetchRequest.newBuilder().setRepository(repository).setDigest(digest).setOffset(received).build();
        try {
          for (Iterator<FetchResponse> stream = stub.fetch(request); stream.hasNext(); ) {
            byte[] chunk = stream.next().getChunk().toByteArray();
            file.write(chunk);
            hashed.update(chunk);
            received += chunk.length;
          }
          break;
        } catch (StatusRuntimeException error) {
          if (error.getStatus().getCode() != Status.Code.UNAVAILABLE || attempts == 1) throw error;
          Thread.sleep(200);
        }
      }
    }
    if (digest.equals("sha256:" + HexFormat.of().formatHex(hashed.digest()))) return received;
    Files.delete(path);
    throw new IllegalStateException("the layer does not hash to its digest");
  }

  public static void main(String[] args) throws Exception {
    String repository = args[1];
    List<String> digests = Arrays.asList(args).subList(3, args.length);
    Replicas replicas = new Replicas(args[0]);
    NameResolverRegistry.getDefaultRegistry().register(replicas);
    ManagedChannel channel =
        NettyChannelBuilder.forTarget(replicas.getDefaultScheme() + ":///layercache")
            .usePlaintext()
            .enableRetry()
            .defaultServiceConfig(SERVICE_CONFIG)
            .build();
    try {
      LayerCacheServiceBlockingStub stub = LayerCacheServiceGrpc.newBlockingStub(channel);
      // A push asks what it has to upload: max_age 0, so storage itself answers.
      FindMissingRequest asked =
          FindMissingRequest.newBuilder()
              .setRepository(repository)
              .addAllDigests(digests)
              .setMaxAge(Duration.getDefaultInstance())
              .build();
      timely(stub).findMissing(asked).getMissingDigestsList().forEach(each -> System.out.println("missing " + each));
      System.out.println("length " + timely(stub).stat(stat(repository, digests.get(0))).getLength());
      System.out.println("fetched " + fetch(stub, repository, digests.get(0), Path.of(args[2])));
      StatRequest unknown = stat(repository, "sha256:" + "0".repeat(64));
      System.out.println("unknown: " + refused(() -> timely(stub).stat(unknown)));
      System.out.println("wrong: " + refused(() -> timely(stub).stat(stat(repository, "sha256:42"))));
    } finally {
      channel.shutdownNow().awaitTermination(1, TimeUnit.SECONDS);
    }
  }

  static LayerCacheServiceBlockingStub timely(LayerCacheServiceBlockingStub stub) {
    return stub.withDeadlineAfter(DEADLINE_SECONDS, TimeUnit.SECONDS);
  }

  static StatRequest stat(String repository, String digest) {
    return StatRequest.newBuilder().setRepository(repository).setDigest(digest).build();
  }
}
