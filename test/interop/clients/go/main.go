// A client of grpc-go without generated code: requests come in files, answers go as JSON.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"io/ioutil"
	"log"
	"os"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
)

const service = "/layercache.v1.LayerCacheService/"

// rawCodec hands messages through as the bytes they are.
type rawCodec struct{}

func (rawCodec) Marshal(v interface{}) ([]byte, error) { return *v.(*[]byte), nil }
func (rawCodec) Unmarshal(data []byte, v interface{}) error {
	*v.(*[]byte) = append([]byte(nil), data...)
	return nil
}
func (rawCodec) Name() string { return "proto" }

func sha(bytes []byte) string {
	sum := sha256.Sum256(bytes)
	return hex.EncodeToString(sum[:])
}

func read(path string) []byte {
	bytes, err := ioutil.ReadFile(path)
	if err != nil {
		log.Fatal(err)
	}
	return bytes
}

// chunk is field 2 of a FetchResponse.
func chunk(message []byte) []byte {
	field, _, n := protowire.ConsumeTag(message)
	if field != 2 {
		return nil
	}
	bytes, _ := protowire.ConsumeBytes(message[n:])
	return bytes
}

func main() {
	exists, fetch, missing := read(os.Args[2]), read(os.Args[3]), read(os.Args[4])
	connection, err := grpc.Dial(os.Args[1], grpc.WithInsecure(), grpc.WithDefaultCallOptions(grpc.ForceCodec(rawCodec{})))
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()

	ask := func(method string, request []byte, options ...grpc.CallOption) ([]byte, error) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		var answer []byte
		err := connection.Invoke(ctx, service+method, &request, &answer, options...)
		return answer, err
	}
	asked := func(method string, request []byte, options ...grpc.CallOption) []byte {
		answer, err := ask(method, request, options...)
		if err != nil {
			log.Fatal(err)
		}
		return answer
	}
	// Reads the stream to its end; `onFirst` is called after the first message.
	stream := func(ctx context.Context, onFirst func()) (string, error) {
		hashed := sha256.New()
		opened, err := connection.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, service+"Fetch")
		if err != nil {
			return "", err
		}
		if err := opened.SendMsg(&fetch); err != nil {
			return "", err
		}
		opened.CloseSend()
		for first := true; ; first = false {
			var message []byte
			if err := opened.RecvMsg(&message); err == io.EOF {
				return "sha256:" + hex.EncodeToString(hashed.Sum(nil)), nil
			} else if err != nil {
				return "", err
			}
			hashed.Write(chunk(message))
			if first {
				onFirst()
			}
		}
	}
	name := func(err error) string { return code.Code_name[int32(status.Code(err))] }

	fetched, err := stream(context.Background(), func() {})
	if err != nil {
		log.Fatal(err)
	}
	cancelling, cancel := context.WithCancel(context.Background())
	_, cancelled := stream(cancelling, cancel)
	short, end := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer end()
	_, overdue := stream(short, func() { time.Sleep(300 * time.Millisecond) })
	_, unknown := ask("Nothing", nil)
	json.NewEncoder(os.Stdout).Encode(map[string]string{
		"exists":     hex.EncodeToString(asked("Exists", exists)),
		"fetch":      fetched,
		"cancelled":  name(cancelled),
		"overdue":    name(overdue),
		"missing":    sha(asked("FindMissing", missing)),
		"compressed": sha(asked("FindMissing", missing, grpc.UseCompressor(gzip.Name))),
		"unknown":    name(unknown),
		"again":      hex.EncodeToString(asked("Exists", exists)),
	})
}
