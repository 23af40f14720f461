// The reflection of Go's own gRPC, from both sides. With an address it asks that
// server the questions on stdin, one JSON object a line, on one stream, and
// prints each answer as JSON. Without, it serves health and reflection on a free
// port, prints the port and ends with its stdin.
package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"time"

	"github.com/golang/protobuf/jsonpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
	pb "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
)

func main() {
	if len(os.Args) > 1 {
		ask(os.Args[1])
		return
	}
	server := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	reflection.Register(server)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	check(server.Serve(listener))
}

func ask(address string) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	connection, err := grpc.DialContext(ctx, address, grpc.WithInsecure(), grpc.WithBlock())
	check(err)
	stream, err := pb.NewServerReflectionClient(connection).ServerReflectionInfo(ctx)
	check(err)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		question := &pb.ServerReflectionRequest{}
		check(jsonpb.UnmarshalString(lines.Text(), question))
		check(stream.Send(question))
		answer, err := stream.Recv()
		check(err)
		text, err := (&jsonpb.Marshaler{}).MarshalToString(answer)
		check(err)
		fmt.Println(text)
	}
	check(stream.CloseSend())
	_, err = stream.Recv()
	if err != io.EOF {
		check(err)
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
