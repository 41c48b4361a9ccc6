// Pion's TURN client against a server: TRANSPORT SERVER PEER USER PASSWORD.
//
// PEER is the address of an echo, or "pair": two allocations then talk to each other. Prints "echoed N".
package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/pion/turn/v2"
)

const (
	count    = 20
	patience = 5 * time.Second
)

// An end has an allocation; what is written to relay goes to peers.
type end struct {
	client *turn.Client
	relay  net.PacketConn
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func open(transport, server string) (net.PacketConn, error) {
	if transport == "udp" {
		return net.ListenPacket("udp4", "127.0.0.1:0")
	}
	stream, err := net.Dial("tcp4", server)
	if err != nil {
		return nil, err
	}
	return turn.NewSTUNConn(stream), nil
}

func allocate(transport, server, user, password string) end {
	conn, err := open(transport, server)
	check(err)
	client, err := turn.NewClient(&turn.ClientConfig{
		STUNServerAddr: server, TURNServerAddr: server, Conn: conn, Username: user, Password: password,
	})
	check(err)
	check(client.Listen())
	mapped, err := client.SendBindingRequest()
	check(err)
	if mapped.String() != conn.LocalAddr().String() {
		check(fmt.Errorf("we are %v, and the server sees %v", conn.LocalAddr(), mapped))
	}
	relay, err := client.Allocate()
	check(err)
	return end{client, relay}
}

// Sends, and wants the same at the other end, from there.
func exchange(from end, to net.Addr, at end, source net.Addr) {
	buffer := make([]byte, 2000)
	for i := 1; i <= count; i++ {
		data := bytes.Repeat([]byte{byte(i)}, i*60)
		_, err := from.relay.WriteTo(data, to)
		check(err)
		check(at.relay.SetReadDeadline(time.Now().Add(patience)))
		n, sender, err := at.relay.ReadFrom(buffer)
		check(err)
		if !bytes.Equal(buffer[:n], data) || sender.String() != source.String() {
			check(fmt.Errorf("packet %d: %d bytes from %v", i, n, sender))
		}
	}
}

func main() {
	transport, server, peer, user, password := os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5]
	one := allocate(transport, server, user, password)
	if peer != "pair" {
		echo, err := net.ResolveUDPAddr("udp4", peer)
		check(err)
		exchange(one, echo, one, echo)
	} else {
		other := allocate(transport, server, user, password)
		here, there := one.relay.LocalAddr(), other.relay.LocalAddr()
		// Nobody is heard whom the other has not named.
		check(one.client.CreatePermission(there))
		check(other.client.CreatePermission(here))
		exchange(one, there, other, here)
		exchange(other, here, one, there)
		check(other.relay.Close())
	}
	check(one.relay.Close())
	fmt.Println("echoed", count)
}
