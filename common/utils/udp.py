"""Datagrams to one receiver that may be there or not."""

import socket

from common.utils.errors import UserError

LOOPBACK = "127.0.0.1"


class UdpSender:
    """Sends datagrams, and never waits or fails for the receiver."""

    def __init__(self, address: str):
        """address: PORT, of this machine, or HOST:PORT; UserError if it is none."""
        family, self.target = parse_address(address)
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.sent, self.lost = 0, 0  # lost: not even sent

    def send(self, content: bytes) -> None:
        """What cannot be sent now is dropped: the next frame is worth more."""
        try:
            self.socket.sendto(content, self.target)
            self.sent += 1
        except OSError:  # nobody listens, no route, a full buffer
            self.lost += 1

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> "UdpSender":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def parse_address(text: str) -> tuple[socket.AddressFamily, tuple]:
    """PORT, HOST:PORT or [IPv6]:PORT -> address family and socket address; without a host, this machine."""
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise UserError(f"--udp {text}: give PORT, or HOST:PORT, with a port from 1 to 65535")
    host = host.removeprefix("[").removesuffix("]") or LOOPBACK
    try:
        family, _, _, _, target = socket.getaddrinfo(host, int(port), type=socket.SOCK_DGRAM)[0]
    except (OSError, UnicodeError):
        raise UserError(f"--udp {text}: there is no host {host}") from None
    return family, target
