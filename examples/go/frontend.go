// What a registry's frontend asks of layercache, in Go.
//
// Usage: frontend ADDRESS[,ADDRESS...] REPOSITORY FILE DIGEST...
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "layercachev1"
)

// For a call, its retries included.
const deadline = 10 * time.Second

// Before grpc-go 1.40 retries need GRPC_GO_RETRY=on in the environment.
const serviceConfig = `{
  "loadBalancingConfig": [{"round_robin": {}}],
  "methodConfig": [{
    "name": [{"service": "layercache.v1.LayerCacheService"}],
    "retryPolicy": {
      "maxAttempts": 4, "initialBackoff": "0.1s", "maxBackoff": "2s", "backoffMultiplier": 2,
      "retryableStatusCodes": ["UNAVAILABLE"]
    }
  }]
}`

// dial connects to all of the addresses; a DNS name of several does the same with dns:///name:port.
func dial(addresses []string) (*grpc.ClientConn, error) {
	replicas, _ := manual.GenerateAndRegisterManualResolver()
	state := resolver.State{}
	for _, address := range addresses {
		state.Addresses = append(state.Addresses, resolver.Address{Addr: address})
	}
	replicas.InitialState(state)
	return grpc.Dial(replicas.Scheme()+":///layercache", grpc.WithInsecure(), grpc.WithResolvers(replicas),
		grpc.WithDefaultServiceConfig(serviceConfig))
}

// reasonOf is what layercache says beside the status: the reason, and the field of the request that is wrong.
func reasonOf(err error) string {
	var said []string
	for _, detail := range status.Convert(err).Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			said = append(said, detail.Reason)
		case *errdetails.BadRequest:
			for _, violation := range detail.FieldViolations {
				said = append(said, violation.Field)
			}
		}
	}
	return strings.Join(said, " ")
}

// fetch writes the layer into the file, going on where a broken stream ended; it returns its length.
func fetch(client pb.LayerCacheServiceClient, repository, digest, path string) (int64, error) {
	file, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	hashed := sha256.New()
	into := io.MultiWriter(file, hashed)
	var received int64
	for attempts := 5; ; attempts-- {
		err := fetchFrom(client, repository, digest, &received, into)
		if err == nil {
			break
		}
		if status.Code(err) != codes.Unavailable || attempts == 1 {
			return 0, err
		}
		time.Sleep(200 * time.Millisecond)
	}
	if "sha256:"+hex.EncodeToString(hashed.Sum(nil)) != digest {
		os.Remove(path)
		return 0, fmt.Errorf("the layer does not hash to its digest")
	}
	return received, nil
}

func fetchFrom(client pb.LayerCacheServiceClient, repository, digest string, received *int64, into io.Writer) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stream, err := client.Fetch(ctx, &pb.FetchRequest{Repository: repository, Digest: digest, Offset: *received})
	if err != nil {
		return err
	}
	for {
		response, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := into.Write(response.GetChunk()); err != nil {
			return err
		}
		*received += int64(len(response.GetChunk()))
	}
}

func main() {
	repository, path, digests := os.Args[2], os.Args[3], os.Args[4:]
	connection, err := dial(strings.Split(os.Args[1], ","))
	check(err)
	defer connection.Close()
	client := pb.NewLayerCacheServiceClient(connection)

	stat := func(digest string) (*pb.StatResponse, error) {
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		defer cancel()
		return client.Stat(ctx, &pb.StatRequest{Repository: repository, Digest: digest})
	}

	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	// A push asks what it has to upload: max_age 0, so storage itself answers.
	missing, err := client.FindMissing(ctx, &pb.FindMissingRequest{
		Repository: repository, Digests: digests, MaxAge: &durationpb.Duration{},
	})
	check(err)
	for _, digest := range missing.MissingDigests {
		fmt.Println("missing", digest)
	}
	found, err := stat(digests[0])
	check(err)
	fmt.Println("length", found.Length)
	fetched, err := fetch(client, repository, digests[0], path)
	check(err)
	fmt.Println("fetched", fetched)
	_, err = stat("sha256:" + strings.Repeat("0", 64))
	fmt.Println("unknown:", reasonOf(err))
	_, err = stat("sha256:42")
	fmt.Println("wrong:", reasonOf(err))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
