package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

func main() {
	answer, err := http.Post(os.Args[1], "text/plain", strings.NewReader("hello"))
	if err != nil {
		panic(err)
	}
	text, err := io.ReadAll(answer.Body)
	fmt.Println(string(text), err)
}
