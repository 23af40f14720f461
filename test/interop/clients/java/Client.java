// A client of grpc-java without generated code: requests come in files, answers go as JSON.
import io.grpc.CallOptions;
import io.grpc.ClientCall;
import io.grpc.Context;
import io.grpc.ManagedChannel;
import io.grpc.MethodDescriptor;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.NettyChannelBuilder;
import io.grpc.stub.ClientCalls;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.Iterator;
import java.util.concurrent.TimeUnit;

public class Client {
  /** Hands messages through as the bytes they are. */
  static final MethodDescriptor.Marshaller<byte[]> RAW =
      new MethodDescriptor.Marshaller<>() {
        @Override
        public InputStream stream(byte[] message) {
          return new ByteArrayInputStream(message);
        }

        @Override
        public byte[] parse(InputStream stream) {
          try {
            return stream.readAllBytes();
          } catch (IOException error) {
            throw new IllegalStateException(error);
          }
        }
      };

  static MethodDescriptor<byte[], byte[]> method(String name, MethodDescriptor.MethodType type) {
    return MethodDescriptor.<byte[], byte[]>newBuilder()
        .setType(type)
        .setFullMethodName("layercache.v1.LayerCacheService/" + name)
        .setRequestMarshaller(RAW)
        .setResponseMarshaller(RAW)
        .build();
  }

  static ManagedChannel channel;

  static byte[] ask(String name, byte[] request, String compressor) {
    CallOptions options = CallOptions.DEFAULT.withDeadlineAfter(10, TimeUnit.SECONDS).withCompression(compressor);
    return ClientCalls.blockingUnaryCall(channel, method(name, MethodDescriptor.MethodType.UNARY), options, request);
  }

  /** Hashes the chunks of a Fetch; `onFirst` runs after the first message. */
  static String fetched(byte[] request, CallOptions options, Runnable onFirst) throws Exception {
    ClientCall<byte[], byte[]> call =
        channel.newCall(method("Fetch", MethodDescriptor.MethodType.SERVER_STREAMING), options);
    MessageDigest hashed = MessageDigest.getInstance("SHA-256");
    boolean isFirst = true;
    for (Iterator<byte[]> stream = blocking(call, request); stream.hasNext(); isFirst = false) {
      byte[] message = stream.next();
      // FetchResponse: the chunk is field 2; its length is a varint.
      int at = 1;
      if (message[0] == 0x12) {
        while (message[at++] < 0) {}
        hashed.update(message, at, message.length - at);
      }
      if (isFirst) onFirst.run();
    }
    return "sha256:" + HexFormat.of().formatHex(hashed.digest());
  }

  static Iterator<byte[]> blocking(ClientCall<byte[], byte[]> call, byte[] request) {
    return ClientCalls.blockingServerStreamingCall(call, request);
  }

  interface Work {
    Object run() throws Exception;
  }

  static String statusOf(Work work) throws Exception {
    try {
      work.run();
      return "OK";
    } catch (StatusRuntimeException error) {
      return error.getStatus().getCode().name();
    }
  }

  static String sha(byte[] bytes) throws Exception {
    return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
  }

  static void sleep() {
    try {
      Thread.sleep(300);
    } catch (InterruptedException error) {
      throw new IllegalStateException(error);
    }
  }

  public static void main(String[] args) throws Exception {
    byte[] exists = Files.readAllBytes(Path.of(args[1]));
    byte[] fetch = Files.readAllBytes(Path.of(args[2]));
    byte[] missing = Files.readAllBytes(Path.of(args[3]));
    channel = NettyChannelBuilder.forTarget(args[0]).usePlaintext().build();
    try {
      HexFormat hex = HexFormat.of();
      Context.CancellableContext context = Context.current().withCancellation();
      CallOptions shortly = CallOptions.DEFAULT.withDeadlineAfter(100, TimeUnit.MILLISECONDS);
      String[][] answers = {
        {"exists", hex.formatHex(ask("Exists", exists, "identity"))},
        {"fetch", fetched(fetch, CallOptions.DEFAULT, () -> {})},
        {"cancelled", statusOf(() -> context.call(() -> fetched(fetch, CallOptions.DEFAULT, () -> context.cancel(null))))},
        {"overdue", statusOf(() -> fetched(fetch, shortly, Client::sleep))},
        {"missing", sha(ask("FindMissing", missing, "identity"))},
        {"compressed", sha(ask("FindMissing", missing, "gzip"))},
        {"unknown", statusOf(() -> ask("Nothing", new byte[0], "identity"))},
        {"again", hex.formatHex(ask("Exists", exists, "identity"))},
      };
      StringBuilder json = new StringBuilder();
      for (String[] answer : answers) {
        json.append(json.isEmpty() ? "{" : ",").append('"' + answer[0] + "\":\"" + answer[1] + '"');
      }
      System.out.println(json.append("}"));
    } finally {
      channel.shutdownNow().awaitTermination(1, TimeUnit.SECONDS);
    }
  }
}
