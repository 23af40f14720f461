// Exists, Stat and Fetch of layercache.v1 in grpc-go, as plainly as they can be
// written: Exists is one SISMEMBER through redigo's pool, Stat is that and an
// HMGET in one round trip, Fetch reads the blob and sends it chunk by chunk. The
// messages are few, so they are read and written by hand instead of by generated
// code.
//
// Arguments: the layout's root, the port of Redis; for TLS the files of its
// certificate and key. Prints its port.
package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/gomodule/redigo/redis"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/encoding/protowire"

	"context"
)

// rawCodec hands messages through as the bytes they are.
type rawCodec struct{}

func (rawCodec) Marshal(v interface{}) ([]byte, error) { return *v.(*[]byte), nil }
func (rawCodec) Unmarshal(data []byte, v interface{}) error {
	*v.(*[]byte) = data
	return nil
}
func (rawCodec) String() string { return "proto" }

type request struct {
	repository, digest string
	chunkSize          int
}

func parse(data []byte) (request, error) {
	var r request
	for len(data) > 0 {
		field, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return r, protowire.ParseError(n)
		}
		data = data[n:]
		switch {
		case field <= 2 && kind == protowire.BytesType:
			value, n := protowire.ConsumeString(data)
			if n < 0 {
				return r, protowire.ParseError(n)
			}
			if field == 1 {
				r.repository = value
			} else {
				r.digest = value
			}
			data = data[n:]
		case field == 5 && kind == protowire.VarintType:
			value, n := protowire.ConsumeVarint(data)
			if n < 0 {
				return r, protowire.ParseError(n)
			}
			r.chunkSize = int(value)
			data = data[n:]
		default:
			n := protowire.ConsumeFieldValue(field, kind, data)
			if n < 0 {
				return r, protowire.ParseError(n)
			}
			data = data[n:]
		}
	}
	if !strings.HasPrefix(r.digest, "sha256:") || len(r.digest) != 71 {
		return r, errors.New("no digest")
	}
	return r, nil
}

type service struct {
	root string
	pool *redis.Pool
}

func (s *service) exists(r request) ([]byte, error) {
	connection := s.pool.Get()
	defer connection.Close()
	member, err := redis.Bool(connection.Do("SISMEMBER", "repository::"+r.repository+"::blobs", r.digest))
	if err != nil {
		return nil, err
	}
	if !member {
		return []byte{0x10, 2}, nil
	}
	return []byte{0x08, 1, 0x10, 1}, nil
}

func (s *service) stat(r request) ([]byte, error) {
	connection := s.pool.Get()
	defer connection.Close()
	connection.Send("SISMEMBER", "repository::"+r.repository+"::blobs", r.digest)
	connection.Send("HMGET", "blobs::"+r.digest, "path", "length")
	if err := connection.Flush(); err != nil {
		return nil, err
	}
	member, err := redis.Bool(connection.Receive())
	if err != nil {
		return nil, err
	}
	fields, err := redis.Values(connection.Receive())
	if err != nil {
		return nil, err
	}
	var path string
	var length uint64
	if _, err := redis.Scan(fields, &path, &length); err != nil {
		return nil, err
	}
	if !member || path == "" {
		return nil, errors.New("no such layer")
	}
	var answer []byte
	answer = protowire.AppendTag(answer, 1, protowire.BytesType)
	answer = protowire.AppendString(answer, r.digest)
	answer = protowire.AppendTag(answer, 2, protowire.VarintType)
	answer = protowire.AppendVarint(answer, length)
	answer = protowire.AppendTag(answer, 3, protowire.VarintType)
	return protowire.AppendVarint(answer, 1), nil
}

// unary answers a call whose answer is one message.
func unary(name string, answer func(request) ([]byte, error)) grpc.MethodDesc {
	return grpc.MethodDesc{
		MethodName: name,
		Handler: func(_ interface{}, _ context.Context, decode func(interface{}) error, _ grpc.UnaryServerInterceptor) (interface{}, error) {
			var in []byte
			if err := decode(&in); err != nil {
				return nil, err
			}
			r, err := parse(in)
			if err != nil {
				return nil, err
			}
			out, err := answer(r)
			return &out, err
		},
	}
}

func (s *service) fetch(r request, stream grpc.ServerStream) error {
	hex := strings.TrimPrefix(r.digest, "sha256:")
	file, err := os.Open(filepath.Join(s.root, "docker/registry/v2/blobs/sha256", hex[:2], hex, "data"))
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	var header []byte
	header = protowire.AppendTag(header, 1, protowire.BytesType)
	header = protowire.AppendString(header, r.digest)
	header = protowire.AppendTag(header, 2, protowire.VarintType)
	header = protowire.AppendVarint(header, uint64(info.Size()))
	header = protowire.AppendTag(header, 4, protowire.VarintType)
	header = protowire.AppendVarint(header, 1)
	message := protowire.AppendTag(nil, 1, protowire.BytesType)
	message = protowire.AppendBytes(message, header)
	if err := stream.SendMsg(&message); err != nil {
		return err
	}
	if r.chunkSize == 0 {
		r.chunkSize = 64 << 10
	}
	for left := int(info.Size()); left > 0; {
		size := r.chunkSize
		if size > left {
			size = left
		}
		// The transport keeps the message until it is sent: a buffer for each, as generated code has.
		chunk := make([]byte, 0, size+8)
		chunk = protowire.AppendTag(chunk, 2, protowire.BytesType)
		chunk = protowire.AppendVarint(chunk, uint64(size))
		head := len(chunk)
		chunk = chunk[:head+size]
		if _, err := io.ReadFull(file, chunk[head:]); err != nil {
			return err
		}
		if err := stream.SendMsg(&chunk); err != nil {
			return err
		}
		left -= size
	}
	return nil
}

func main() {
	if len(os.Args) != 3 && len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: grpc-go <root> <redis port> [<certificate> <key>]")
		os.Exit(2)
	}
	options := []grpc.ServerOption{grpc.CustomCodec(rawCodec{})}
	if len(os.Args) == 5 {
		tls, err := credentials.NewServerTLSFromFile(os.Args[3], os.Args[4])
		if err != nil {
			panic(err)
		}
		options = append(options, grpc.Creds(tls))
	}
	s := &service{root: os.Args[1], pool: &redis.Pool{
		MaxIdle: 256,
		Dial:    func() (redis.Conn, error) { return redis.Dial("tcp", "127.0.0.1:"+os.Args[2]) },
	}}
	server := grpc.NewServer(options...)
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "layercache.v1.LayerCacheService",
		HandlerType: (*interface{})(nil),
		Methods:     []grpc.MethodDesc{unary("Exists", s.exists), unary("Stat", s.stat)},
		Streams: []grpc.StreamDesc{{
			StreamName:    "Fetch",
			ServerStreams: true,
			Handler: func(_ interface{}, stream grpc.ServerStream) error {
				var in []byte
				if err := stream.RecvMsg(&in); err != nil {
					return err
				}
				r, err := parse(in)
				if err != nil {
					return err
				}
				return s.fetch(r, stream)
			},
		}},
	}, s)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	if err := server.Serve(listener); err != nil {
		panic(err)
	}
}
