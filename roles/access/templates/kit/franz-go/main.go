// Read alerts with franz-go: go build -C franz-go -o ../read_franz_go . && ./read_franz_go --end
//
// The built program reads librdkafka.properties and topics.txt in its own directory.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// With --end, a silence of this length means that everything has been read.
const idle = 10 * time.Second

func main() {
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "read_franz_go: %v\n", err)
		os.Exit(1)
	}
}

// lines returns the lines of a file of the kit that are neither empty nor comments.
func lines(path string) ([]string, error) {
	text, err := os.ReadFile(path)
	var found []string
	for _, line := range strings.Split(string(text), "\n") {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			found = append(found, line)
		}
	}
	return found, err
}

func run() error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	here := filepath.Dir(program)
	properties, err := lines(filepath.Join(here, "librdkafka.properties"))
	if err != nil {
		return err
	}
	settings := map[string]string{}
	for _, line := range properties {
		name, value, _ := strings.Cut(line, "=")
		settings[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	user := settings["sasl.username"]
	group := flag.String("group", user+"-franz-go", "the consumer group")
	end := flag.Bool("end", false, "stop at the end of what is there now, else wait for more")
	save := flag.String("save", "", "write each packet to this directory")
	flag.Parse()
	topics := flag.Args()
	if len(topics) == 0 {
		if topics, err = lines(filepath.Join(here, "topics.txt")); err != nil {
			return err
		}
	}
	if len(topics) == 0 {
		return fmt.Errorf("nothing is granted to %s: ask the operators", user)
	}
	if *save != "" {
		if err := os.MkdirAll(*save, 0o755); err != nil {
			return err
		}
	}
	client, err := connect(here, settings, *group, topics)
	if err != nil {
		return err
	}
	defer client.Close()
	stop, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	// The client would retry for ever: find an error that waiting does not end first.
	asking, done := context.WithTimeout(stop, 30*time.Second)
	defer done()
	if err := client.Ping(asking); err != nil {
		return explain(err, user, *group)
	}
	fmt.Fprintf(os.Stderr, "group %s: %s; goes on where it was, a new group begins with the oldest alert\n",
		*group, strings.Join(topics, ", "))
	read, err := follow(stop, client, *end, *save)
	fmt.Fprintf(os.Stderr, "%d alerts read\n", read)
	if err != nil {
		return explain(err, user, *group)
	}
	return nil
}

// connect makes a client with the kit's settings, by this library's names.
func connect(here string, settings map[string]string, group string, topics []string) (*kgo.Client, error) {
	authority, err := os.ReadFile(filepath.Join(here, settings["ssl.ca.location"]))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(authority) {
		return nil, errors.New("ca.pem holds no certificate")
	}
	wanted := make([]string, len(topics))
	for i, topic := range topics {
		if wanted[i] = topic; !strings.HasPrefix(topic, "^") {
			wanted[i] = "^" + regexp.QuoteMeta(topic) + "$"
		}
	}
	mechanism := scram.Auth{User: settings["sasl.username"], Pass: settings["sasl.password"]}.AsSha512Mechanism()
	return kgo.NewClient(
		kgo.SeedBrokers(strings.Split(settings["bootstrap.servers"], ",")...),
		kgo.DialTLSConfig(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}),
		kgo.SASL(mechanism),
		kgo.ConsumerGroup(group),
		kgo.ConsumeTopics(wanted...),
		kgo.ConsumeRegex(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.MetadataMaxAge(10*time.Second),
		kgo.DisableAutoCommit(),
	)
}

// follow reads until Ctrl-C, or with end until nothing more comes. It commits what it has read: at least once.
func follow(stop context.Context, client *kgo.Client, end bool, save string) (int, error) {
	read := 0
	last := time.Now()
	for {
		waiting, cancel := context.WithTimeout(stop, time.Second)
		fetches := client.PollFetches(waiting)
		cancel()
		if stop.Err() != nil && fetches.Empty() {
			return read, nil
		}
		for _, problem := range fetches.Errors() {
			if !errors.Is(problem.Err, context.DeadlineExceeded) && !errors.Is(problem.Err, context.Canceled) {
				return read, problem.Err
			}
		}
		for _, record := range fetches.Records() {
			fmt.Printf("%s %d bytes, %s %d %d\n", record.Key, len(record.Value), record.Topic, record.Partition, record.Offset)
			if save != "" {
				name := fmt.Sprintf("%s-%d-%d.avro", record.Topic, record.Partition, record.Offset)
				if err := os.WriteFile(filepath.Join(save, name), record.Value, 0o644); err != nil {
					return read, err
				}
			}
			read++
			last = time.Now()
		}
		if !fetches.Empty() {
			// What has been printed is committed, even after Ctrl-C.
			committing, done := context.WithTimeout(context.Background(), 10*time.Second)
			err := client.CommitUncommittedOffsets(committing)
			done()
			if err != nil {
				return read, err
			}
		}
		if end && time.Since(last) > idle {
			return read, nil
		}
	}
}

// explain says what an error means.
func explain(err error, user, group string) error {
	switch {
	case errors.Is(err, kerr.SaslAuthenticationFailed):
		return fmt.Errorf("the brokers refuse the password of %s: ask the operators for the newest kit", user)
	case errors.Is(err, kerr.GroupAuthorizationFailed):
		return fmt.Errorf("the group %s is not yours: name it %s, or %s- and anything", group, user, user)
	case errors.Is(err, kerr.TopicAuthorizationFailed):
		return fmt.Errorf("a topic is not granted to %s, or not there yet (see topics.txt)", user)
	}
	return err
}
