"""The two lines of a feed: sockets and datagram endpoints."""

import asyncio
import socket

RECEIVE_BUFFER_BYTES = 64 << 20
SO_RCVBUFFORCE = 33


class Line(asyncio.DatagramProtocol):
    """Hands each datagram over with the name of its line."""

    def __init__(self, name, take):
        self.name = name
        self.take = take

    def datagram_received(self, data, _address):
        self.take(self.name, data)


def open_socket(text):
    """ADDRESS:PORT, or GROUP:PORT@INTERFACE_ADDRESS for a multicast group."""
    destination, _, interface = text.partition("@")
    address, port = destination.rsplit(":", 1)
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    # Past the system's limit where that is allowed, else up to it.
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
    except OSError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
    sock.bind((address, int(port)))
    if interface:
        member = socket.inet_aton(address) + socket.inet_aton(interface)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
    sock.setblocking(False)
    return sock
