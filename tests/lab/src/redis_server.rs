//! A private `redis-server` on a unix socket.
