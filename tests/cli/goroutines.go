// SPDX-License-Identifier: MIT OR GPL-2.0

// goroutines ROUNDS - a Go program with work for its threads and its garbage
// collector, a mapping to be seen in each round, and a child at the end; with 0
// rounds it goes on until its input ends
package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
)

type node struct {
	left, right *node
	value       int
}

func grow(depth int) *node {
	if depth == 0 {
		return &node{value: 1}
	}
	return &node{grow(depth - 1), grow(depth - 1), 0}
}

func (n *node) sum() int {
	if n == nil {
		return 0
	}
	return n.value + n.left.sum() + n.right.sum()
}

func work(rounds int, wrong chan<- string, group *sync.WaitGroup) {
	defer group.Done()
	runtime.LockOSThread()
	for i := 0; i < rounds; i++ {
		if got := grow(10).sum(); got != 1<<10 {
			wrong <- fmt.Sprint("a tree of ", got, " leaves")
		}
	}
}

func mapping() error {
	memory, err := syscall.Mmap(-1, 0, 1<<20,
		syscall.PROT_READ|syscall.PROT_WRITE,
		syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		return err
	}
	for i := range memory {
		memory[i] = 1
	}
	time.Sleep(200 * time.Millisecond)
	return syscall.Munmap(memory)
}

func untilInputEnds(ended chan<- bool) {
	io.Copy(io.Discard, os.Stdin)
	close(ended)
}

func goesOn(round int, rounds int, ended <-chan bool) bool {
	select {
	case <-ended:
		return false
	default:
		return rounds == 0 || round < rounds
	}
}

func main() {
	rounds, _ := strconv.Atoi(os.Args[1])
	wrong := make(chan string, 1000)
	ended := make(chan bool)
	if rounds == 0 {
		go untilInputEnds(ended)
	}
	for i := 0; goesOn(i, rounds, ended); i++ {
		var group sync.WaitGroup
		for j := 0; j < 4; j++ {
			group.Add(1)
			go work(8, wrong, &group)
		}
		if err := mapping(); err != nil {
			wrong <- err.Error()
		}
		group.Wait()
		runtime.GC()
	}
	if err := exec.Command("sh", "-c", "exit 3").Run(); err == nil ||
		err.Error() != "exit status 3" {
		wrong <- fmt.Sprint("the child: ", err)
	}
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	if int(stats.NumGC) < rounds {
		wrong <- "no garbage was collected"
	}
	close(wrong)
	for text := range wrong {
		fmt.Println(text)
		defer os.Exit(1)
	}
	fmt.Println("done")
}
