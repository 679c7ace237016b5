// Command cristop stops and removes every pod sandbox of a container runtime, through CRI, within a time limit.
//
// usage: cristop unix:///path/containerd.sock 5s
//
// crictl does the same and more, but would be another module tree; cri-api is part of this one already.
package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func main() {
	if len(os.Args) != 3 {
		fail(fmt.Errorf("usage: cristop ENDPOINT TIMEOUT"))
	}
	limit, err := time.ParseDuration(os.Args[2])
	if err != nil {
		fail(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if err := stopAll(ctx, os.Args[1]); err != nil {
		fail(err)
	}
}

func stopAll(ctx context.Context, endpoint string) error {
	connection, err := grpc.NewClient(endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	runtime := cri.NewRuntimeServiceClient(connection)
	list, err := runtime.ListPodSandbox(ctx, &cri.ListPodSandboxRequest{})
	if err != nil {
		return err
	}
	failures := make(chan error, len(list.Items))
	var group sync.WaitGroup
	for _, sandbox := range list.Items {
		group.Add(1)
		go func() {
			defer group.Done()
			if err := stop(ctx, runtime, sandbox.Id); err != nil {
				failures <- err
			}
		}()
	}
	group.Wait()
	close(failures)
	fmt.Printf("sandboxes: %d, failed: %d\n", len(list.Items), len(failures))
	return <-failures // nil once closed and empty
}

func stop(ctx context.Context, runtime cri.RuntimeServiceClient, id string) error {
	if _, err := runtime.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: id}); err != nil {
		return err
	}
	_, err := runtime.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: id})
	return err
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
